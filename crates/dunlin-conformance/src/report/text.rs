//! The report for people.

use super::{Finding, Outcome, Report, Tally, all_statements};
use crate::statements::Statement;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// What the sections are about, where both versions agree.
const SECTIONS: &[(&str, &str)] = &[
    ("1.5", "Data representation"),
    ("3.1", "CONNECT"),
    ("3.2", "CONNACK"),
    ("3.3", "PUBLISH"),
    ("3.4", "PUBACK"),
    ("3.5", "PUBREC"),
    ("3.6", "PUBREL"),
    ("3.7", "PUBCOMP"),
    ("3.8", "SUBSCRIBE"),
    ("3.9", "SUBACK"),
    ("3.10", "UNSUBSCRIBE"),
    ("3.11", "UNSUBACK"),
    ("3.12", "PINGREQ"),
    ("3.13", "PINGRESP"),
    ("3.14", "DISCONNECT"),
    ("3.15", "AUTH"),
    ("4.2", "Network connections"),
    ("4.3", "QoS flows"),
    ("4.4", "Delivery retry"),
    ("4.5", "Message receipt"),
    ("4.6", "Message ordering"),
    ("4.7", "Names and filters"),
];

/// The same for MQTT 3.1.1 alone.
const SECTIONS_OF_V3: &[(&str, &str)] = &[
    ("2.2", "Fixed header"),
    ("2.3", "Packet Identifier"),
    ("4.1", "Storing state"),
    ("4.8", "Handling errors"),
];

/// The same for MQTT 5.0 alone.
const SECTIONS_OF_V5: &[(&str, &str)] = &[
    ("2.1", "Fixed header"),
    ("2.2", "Variable header"),
    ("4.1", "Session State"),
    ("4.8", "Subscriptions"),
    ("4.9", "Flow control"),
    ("4.10", "Request, response"),
    ("4.11", "Server redirection"),
    ("4.12", "Authentication"),
    ("4.13", "Handling errors"),
];

pub(super) fn print(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).expect("a string takes all");
    out
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(out, "{}", report.subject)?;
    for note in &report.notes {
        writeln!(out, "  {note}")?;
    }
    let statements = all_statements();
    for version in ["3.1.1", "5.0"] {
        let findings = report.findings.iter().filter(|found| found.version == version);
        let findings: Vec<&Finding> = findings.collect();
        if !findings.is_empty() {
            table(version, &findings, report.skipped_word, out)?;
        }
    }
    behaviours(report, out)?;
    skipped(report, out)?;
    for finding in report.findings.iter().filter(|finding| finding.is_failed()) {
        failure(finding, &statements, out)?;
    }
    let Tally { passed, failed, skipped } = report.tally;
    let checks = match report.tally.total() {
        1 => "1 check".to_owned(),
        total => format!("{total} checks"),
    };
    let word = report.skipped_word;
    writeln!(out, "\n{checks}: {passed} passed, {failed} failed, {skipped} {word}")
}

fn table(
    version: &str,
    findings: &[&Finding],
    skipped_word: &str,
    out: &mut String,
) -> fmt::Result {
    let heading = format!("MQTT {version}");
    writeln!(out, "\n{heading:<34} statements  passed  failed  {skipped_word:>8}")?;
    let mut sections: BTreeMap<(u32, u32), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let id = finding.statements.first().copied().unwrap_or_default();
        sections.entry(section(id)).or_default().push(finding);
    }
    let own = if version == "5.0" { SECTIONS_OF_V5 } else { SECTIONS_OF_V3 };
    for (section, findings) in sections {
        let number = format!("{}.{}", section.0, section.1);
        let title = SECTIONS.iter().chain(own).find(|(known, _)| *known == number);
        let title = title.map_or("", |(_, text)| text);
        row(&format!("  {number:<5} {title}"), &findings, out)?;
    }
    row("  all", findings, out)
}

fn row(title: &str, findings: &[&Finding], out: &mut String) -> fmt::Result {
    let statements: BTreeSet<&str> =
        findings.iter().flat_map(|found| found.statements.iter().copied()).collect();
    let tally = Tally::of(findings.iter().copied());
    writeln!(
        out,
        "{title:<34} {:>10}  {:>6}  {:>6}  {:>8}",
        statements.len(),
        tally.passed,
        tally.failed,
        tally.skipped
    )
}

/// The section that a statement belongs to: the first two numbers of its id.
fn section(id: &str) -> (u32, u32) {
    let numbers = id.split_once('-').map_or("", |(_, numbers)| numbers);
    let mut numbers = numbers.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn behaviours(report: &Report, out: &mut String) -> fmt::Result {
    let mut behaviours: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in &report.findings {
        if let Outcome::Passed { seen: Some(seen) } = &finding.outcome {
            behaviours.entry(seen).or_default().push(&finding.name);
        }
    }
    if !behaviours.is_empty() {
        writeln!(out, "\nWhere the standard leaves a choice:")?;
    }
    behaviours.iter().try_for_each(|(seen, names)| {
        writeln!(out, "  {seen}")?;
        names_of(names, out)
    })
}

/// The first names, and how many more there are.
fn names_of(names: &[&str], out: &mut String) -> fmt::Result {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN);
    shown.into_iter().try_for_each(|name| writeln!(out, "      {name}"))?;
    match names.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "      and {more} more"),
    }
}

fn skipped(report: &Report, out: &mut String) -> fmt::Result {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in &report.findings {
        if let Outcome::Skipped { reason } = &finding.outcome {
            reasons.entry(reason).or_default().push(&finding.name);
        }
    }
    if !reasons.is_empty() {
        writeln!(out, "\n{}:", capitalized(report.skipped_word))?;
    }
    reasons.iter().try_for_each(|(reason, names)| {
        writeln!(out, "  {reason}")?;
        names_of(names, out)
    })
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn failure(finding: &Finding, statements: &[Statement], out: &mut String) -> fmt::Result {
    let Outcome::Failed { reason } = &finding.outcome else { return Ok(()) };
    writeln!(out, "\nFAILED {}: {}", finding.name, finding.looks_for)?;
    writeln!(out, "  {reason}")?;
    for id in &finding.statements {
        let text = statements.iter().find(|known| known.id == *id);
        writeln!(out, "  [{id}] {}", text.map_or("", |known| known.text.as_str()))?;
    }
    finding.exchange.iter().try_for_each(|line| writeln!(out, "  {line}"))
}
