//! The simulator itself: a seed is a run, and a shorter plan is one, too.

use dunlin_sim::plan::{Action, Plan};
use dunlin_sim::run;

fn trace_of(plan: &Plan) -> Vec<String> {
    let outcome = run(plan, true);
    let trace = outcome.trace.unwrap_or_default();
    trace.lines().map(str::to_owned).collect()
}

#[test]
fn a_seed_gives_one_trace() {
    for seed in 0..30 {
        let plan = Plan::draw(seed, 120);
        let (first, second) = (trace_of(&plan), trace_of(&Plan::draw(seed, 120)));
        assert!(first.len() > 100, "seed {seed}: {} lines", first.len());
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn a_trace_changes_nothing() {
    for seed in 0..30 {
        let plan = Plan::draw(seed, 120);
        let (quiet, traced) = (run(&plan, false), run(&plan, true));
        assert_eq!(quiet.operations, traced.operations, "seed {seed}");
        assert_eq!(quiet.failure, traced.failure, "seed {seed}");
    }
}

#[test]
fn what_stays_in_a_plan_happens_as_it_would_have() {
    let plan = Plan::draw(3, 60);
    let mut shorter = plan.clone();
    shorter.actions.retain(|planned| !matches!(planned.action, Action::Publish(_)));
    assert!(shorter.actions.len() < plan.actions.len());
    for planned in &shorter.actions {
        let same = plan.actions.iter().find(|other| other.number == planned.number);
        assert_eq!(same.map(ToString::to_string), Some(planned.to_string()));
    }
    assert!(!trace_of(&shorter).iter().any(|line| line.contains("Publish(")));
}

#[test]
fn seeds_differ() {
    let options = |seed| format!("{:?}", Plan::draw(seed, 1).options);
    let different: std::collections::BTreeSet<String> = (0..50).map(options).collect();
    assert_eq!(different.len(), 50);
}
