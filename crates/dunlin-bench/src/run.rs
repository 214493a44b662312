//! The scenarios, step by step.

use crate::engine::{Engine, Measured};
use crate::error::BenchError;
use crate::outcome::{Observer, Outcome};
use crate::plan::{Length, Plan};
use crate::process;
use std::time::Duration;

/// Runs a plan to its end, which comes whatever the broker does.
///
/// # Errors
/// When the plan can't be run, or the broker does not take the clients to begin with. What goes
/// wrong later is part of the [`Outcome`].
pub fn run(plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome, BenchError> {
    plan.validate()?;
    process::file_limit();
    let mut engine = Engine::new(plan, observer)?;
    let (from, to) = traffic(&mut engine)?;
    engine.fence()?;
    engine.count_missing();
    engine.leave()?;
    Ok(engine.outcome(from, to))
}

/// Messages from publishers to subscribers that are there.
fn traffic(engine: &mut Engine<'_>) -> Result<(Measured, Measured), BenchError> {
    engine.connect(engine.subscribers())?;
    engine.connect(engine.publishers())?;
    engine.be_lenient();
    if engine.plan.warm_up > Duration::ZERO {
        engine.enter("warming up")?;
        engine.flow(Length::Time(engine.plan.warm_up), true)?;
    }
    let from = engine.begin_measuring("measuring")?;
    let waited = engine.flow(engine.plan.length, true)?;
    let to = engine.end_measuring(waited)?;
    Ok((from, to))
}
