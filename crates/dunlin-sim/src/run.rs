//! Runs a plan, and turns a panic into what it is: a promise that was not kept.

use crate::plan::Plan;
use crate::world::{Failure, Outcome, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a plan; with its trace when `traced`.
pub fn run(plan: &Plan, traced: bool) -> Outcome {
    let mut world = World::new(plan, traced);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let at = world.now();
    let mut outcome = world.into_outcome();
    if let Err(panic) = ran {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        outcome.failure = Some(Failure {
            at,
            kind: format!("panic: {}", message.lines().next().unwrap_or_default()),
            what: format!("panic: {message}"),
            devices: Vec::new(),
        });
    }
    outcome
}
