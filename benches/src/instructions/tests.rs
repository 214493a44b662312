//! The comparison with what is committed, what is read of callgrind, and each scenario once.

use super::baseline::{Baseline, Counts, TOLERANCE_PERCENT, Verdict};
use super::callgrind::{Count, operations_line, parse_instructions, parse_operations};
use super::scenarios;

fn counts(instructions: &[(&str, f64)]) -> Counts {
    let instructions = instructions.iter().map(|(name, count)| ((*name).to_owned(), *count));
    Counts { rustc: "1.95.0".to_owned(), instructions: instructions.collect() }
}

fn baseline(instructions: &[(&str, f64)]) -> Baseline {
    let targets = [("here".to_owned(), counts(instructions))].into();
    Baseline { targets, ..Baseline::default() }
}

#[test]
fn a_count_is_the_same_within_the_tolerance_and_not_beyond() {
    let baseline = baseline(&[("at", 100.0), ("better", 100.0), ("same", 100.0), ("worse", 100.0)]);
    assert!((baseline.tolerance_percent - TOLERANCE_PERCENT).abs() < f64::EPSILON);
    let now = counts(&[("at", 102.9), ("better", 96.9), ("same", 97.1), ("worse", 103.1)]);
    let comparison = baseline.compare("here", &now);
    let expected = [
        ("at", Verdict::Same),
        ("better", Verdict::Better),
        ("same", Verdict::Same),
        ("worse", Verdict::Worse),
    ];
    assert_eq!(comparison.verdicts(), expected);
    let fault = comparison.fault().expect("one is worse");
    assert!(fault.contains("worse") && fault.contains("+3.1 %"), "{fault}");
    assert!(fault.contains("--update"), "{fault}");
    assert!(!fault.contains("better ") && !fault.contains("compiler"), "{fault}");
    let praise = comparison.praise().expect("one is better");
    assert!(praise.contains("better") && !praise.contains("worse"), "{praise}");
}

#[test]
fn fewer_instructions_are_no_fault() {
    let comparison = baseline(&[("a", 100.0)]).compare("here", &counts(&[("a", 50.0)]));
    assert_eq!(comparison.fault(), None);
    assert!(comparison.praise().is_some());
}

#[test]
fn scenarios_and_counts_have_to_be_of_each_other() {
    let now = counts(&[("both", 1.0), ("new", 1.0)]);
    let comparison = baseline(&[("both", 1.0), ("gone", 1.0)]).compare("here", &now);
    let expected = [("both", Verdict::Same), ("gone", Verdict::Gone), ("new", Verdict::New)];
    assert_eq!(comparison.verdicts(), expected);
    let fault = comparison.fault().expect("neither may stay");
    assert!(fault.contains("gone") && fault.contains("new"), "{fault}");
}

#[test]
fn a_machine_of_another_kind_has_no_counts_yet() {
    let comparison = baseline(&[("a", 1.0)]).compare("elsewhere", &counts(&[("a", 1.0)]));
    assert_eq!(comparison.verdicts(), [("a", Verdict::New)]);
    assert!(comparison.fault().expect("nothing to compare with").contains("elsewhere"));
}

#[test]
fn another_compiler_is_told_of_where_counts_have_grown() {
    let now = Counts { rustc: "1.96.0".to_owned(), ..counts(&[("a", 200.0)]) };
    let fault = baseline(&[("a", 100.0)]).compare("here", &now).fault();
    assert!(fault.expect("worse").contains("another compiler: 1.95.0"));
}

#[test]
fn what_is_committed_is_read_as_it_was_written() {
    let mut baseline = baseline(&[("core/fan-in-qos0", 1234.5), ("topics/match", 77.0)]);
    baseline.targets.insert("elsewhere".to_owned(), counts(&[("a", 0.1)]));
    let text = baseline.to_text().expect("it can be written");
    assert!(text.starts_with("# "), "{text}");
    assert_eq!(Baseline::parse(&text).expect("it can be read"), baseline);
    assert!(Baseline::parse("tolerance_percent = 3.0\nsomething = 1").is_err());
}

#[test]
fn what_callgrind_has_written_is_read() {
    let profile = "version: 1\nevents: Ir\nsummary: 7\n\nfn=(1)\n+1 7\n\ntotals: 123456\n";
    assert_eq!(parse_instructions(profile), Some(123_456));
    // The function that counts was never called, or has another name.
    assert_eq!(parse_instructions("totals: 0\n"), None);
    assert_eq!(parse_instructions("summary: 1\n"), None);
    assert_eq!(parse_operations(&format!("{}\n", operations_line(500))), Some(500));
    assert_eq!(parse_operations("operations: 0\n"), None);
    assert_eq!(parse_operations(""), None);
    let count = Count { instructions: 1_000, operations: 3 };
    assert!((count.each() - 333.3).abs() < 1e-9);
}

#[test]
fn each_scenario_does_what_it_counts() {
    let all = scenarios::all();
    let mut names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "no two have one name");
    for scenario in &all {
        assert!(scenario.run() > 0, "{}", scenario.name);
    }
}
