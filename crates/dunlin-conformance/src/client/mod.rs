//! Checks of clients: a scripted server that a client connects to.
//!
//! Each file of checks has one table, `CHECKS`, and [`TABLES`] names them all. A check gets a
//! [`Bench`], waits there for the situation that it is about (a client that subscribes, one that
//! publishes with QoS 2, one that connects again, …) and is skipped when the client never comes to
//! be in it. Beside that, the rules of `rules.rs` are watched on every connection of the run.

mod acknowledging;
mod authentication;
mod bench;
mod connecting;
mod habits;
mod keeping_alive;
mod leaving;
mod malformed;
mod player;
mod publishing;
mod receiving;
mod resuming;
mod rules;
mod target;
mod visitor;
mod watch;

pub use bench::Bench;
pub use habits::{Habits, probe};
pub use target::{Client, Seat, Target};
pub use visitor::{Left, Next, Visitor};

use crate::runner::INTERRUPTED;
use crate::{BOTH, Exchange, Finding, Verdict, guarded, skipped};
use dunlin_codec::ProtocolVersion;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// A check of a client.
pub type Check = crate::Check<Bench>;

/// A check of a client for one version.
pub type Case = crate::Case<Bench>;

/// All checks of clients. The rules come last: they judge what the others saw.
pub const TABLES: &[&[Check]] = &[
    connecting::CHECKS,
    receiving::CHECKS,
    acknowledging::CHECKS,
    publishing::CHECKS,
    resuming::CHECKS,
    keeping_alive::CHECKS,
    leaving::CHECKS,
    malformed::PUBLISH_CHECKS,
    malformed::CHECKS,
    authentication::CHECKS,
    rules::CHECKS,
];

/// Whether the case is a rule that is watched on the connections of the others.
fn is_rule(case: &Case) -> bool {
    case.check.name.starts_with("watched/")
}

/// Runs the cases, `jobs` at once where each has a port of its own, and then the rules among them.
/// `progress` hears of each finding as it is made.
pub fn run(
    target: &Target,
    cases: &[Case],
    jobs: usize,
    progress: impl Fn(&Finding) + Sync,
) -> Vec<Finding> {
    let jobs = if target.listen.port() == 0 { jobs } else { 1 };
    let (rules, active): (Vec<Case>, Vec<Case>) = cases.iter().partition(|case| is_rule(case));
    let judge = |case: &Case, number| judge(target, case, number);
    let mut findings = crate::run(&active, jobs, judge, &progress);
    for version in BOTH {
        let is_of_version = |case: &&Case| case.version == *version;
        let is_asked = rules.iter().any(|case| is_of_version(&case));
        if is_asked && !active.iter().any(|case| is_of_version(&case)) {
            show(target, *version);
        }
    }
    findings.extend(crate::run(&rules, 1, judge, &progress));
    findings
}

/// Runs one case.
fn judge(target: &Target, case: &Case, number: usize) -> (Verdict, Exchange) {
    if target.is_interrupted.load(Ordering::Relaxed) {
        return (skipped(INTERRUPTED), Exchange::default());
    }
    let mut bench = Bench::new(target, case.version, number, &case.name());
    let verdict = guarded(|| (case.check.run)(&mut bench));
    let exchange = bench.exchange().clone();
    drop(bench);
    let mut watched = target.watched.lock().unwrap_or_else(PoisonError::into_inner);
    if is_rule(case) {
        for line in watched.breach(case.version, case.check.name).iter().flat_map(|b| &b.exchange) {
            exchange.copy(line);
        }
    } else {
        watched.add(case.version, &case.name(), &exchange.lines());
    }
    (verdict, exchange)
}

/// Where rules alone are asked for: lets the client play its part once before a plain broker.
fn show(target: &Target, version: ProtocolVersion) {
    let mut bench = Bench::new(target, version, 0, "rules that are watched");
    if let Ok(mut visitor) = bench.connected() {
        // What is wrong with it, the rules tell.
        let _ = visitor.observe(target.patience);
    }
    let mut watched = target.watched.lock().unwrap_or_else(PoisonError::into_inner);
    watched.add(version, "a plain connection", &bench.exchange().lines());
}
