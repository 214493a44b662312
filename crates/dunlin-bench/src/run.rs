//! The scenarios, step by step.

use std::time::Duration;

use crate::engine::{Engine, Measured, Waited};
use crate::error::BenchError;
use crate::layout::Layout;
use crate::outcome::{Observer, Outcome};
use crate::plan::{Length, Plan, Scenario};
use crate::process;

/// What was measured: from when, and until when.
type Span = (Measured, Measured);

/// Runs a plan to its end, which comes whatever the broker does.
///
/// # Errors
/// When the plan can't be run, or the broker does not take the clients to begin with. What goes
/// wrong later is part of the [`Outcome`].
pub fn run(plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome, BenchError> {
    plan.validate()?;
    let clients = Layout::new(plan).clients();
    let limit = process::file_limit();
    if u64::from(clients) + FILES_BESIDE > limit {
        return Err(BenchError::Files { clients, limit });
    }
    let mut engine = Engine::new(plan, observer)?;
    // A process that can't be read is better known before the run than behind it.
    engine.measured()?;
    let (from, to) = match plan.scenario {
        Scenario::Connect => connect(&mut engine)?,
        Scenario::Idle => idle(&mut engine)?,
        Scenario::Offline => offline(&mut engine)?,
        Scenario::Retained => retained(&mut engine)?,
        Scenario::Reconnect => reconnect(&mut engine)?,
        _ => traffic(&mut engine)?,
    };
    engine.fence()?;
    engine.count_missing();
    if plan.scenario == Scenario::Retained {
        engine.enter("clearing")?;
        // The empty messages that delete are not for them.
        engine.send_away(engine.subscribers())?;
        engine.clear_retained()?;
    }
    if plan.scenario == Scenario::Soak {
        engine.delete_retained()?;
    }
    engine.leave()?;
    Ok(engine.outcome(from, to))
}

/// Files that are open beside the connections.
const FILES_BESIDE: u64 = 16;

/// Messages from publishers to subscribers that are there.
fn traffic(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    engine.connect(engine.subscribers())?;
    engine.connect(engine.publishers())?;
    engine.be_lenient();
    if engine.plan.warm_up > Duration::ZERO {
        engine.enter("warming up")?;
        engine.flow(Length::Time(engine.plan.warm_up), true)?;
    }
    let from = engine.begin_measuring("measuring")?;
    let waited = engine.flow(engine.plan.length, true)?;
    Ok((from, engine.end_measuring(waited)?))
}

/// All clients come as fast as the broker takes them; then they stay.
fn connect(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    let clients = engine.subscribers();
    // The first shows whether there is a broker that wants any.
    engine.connect(clients.start..clients.start + 1)?;
    engine.be_lenient();
    let from = engine.begin_measuring("connecting")?;
    let waited = engine.connect(clients.start + 1..clients.end)?;
    let to = engine.end_measuring(waited)?;
    let connected = (to.connected - from.connected).max(1) as f64;
    engine.figure("connections per second", connected / secs(from, to));
    if let Some((before, after)) = from.broker.zip(to.broker) {
        let cpu = after.cpu.saturating_sub(before.cpu);
        engine.figure("broker CPU µs per connection", cpu.as_secs_f64() * 1e6 / connected);
    }
    hold(engine)?;
    if let Some((before, after)) = from.broker.zip(engine.measured()?.broker) {
        let bytes = after.resident as f64 - before.resident as f64;
        engine.figure("broker bytes per connection", bytes / connected);
    }
    Ok((from, to))
}

/// All clients connect and subscribe, and are silent.
fn idle(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    let clients = engine.subscribers();
    let count = f64::from(engine.plan.subscribers.saturating_sub(1).max(1));
    // What the broker sets up once is not charged to the others.
    engine.connect(clients.start..clients.start + 1)?;
    engine.be_lenient();
    settle(engine)?;
    let before = engine.measured()?;
    engine.enter("connecting")?;
    engine.connect(clients.start + 1..clients.end)?;
    settle(engine)?;
    let subscriptions = f64::from(engine.plan.subscribers) * f64::from(engine.plan.topics);
    engine.figure("subscriptions", subscriptions);
    let from = engine.begin_measuring("holding")?;
    hold(engine)?;
    let to = engine.measured()?;
    if let Some((before, after)) = before.broker.zip(to.broker) {
        let bytes = after.resident as f64 - before.resident as f64;
        engine.figure("broker bytes per connection", bytes / count);
    }
    if let Some((start, end)) = from.broker.zip(to.broker) {
        let cpu = end.cpu.saturating_sub(start.cpu).as_secs_f64();
        engine.figure("broker CPU ms per idle second", cpu * 1e3 / secs(from, to));
    }
    Ok((from, to))
}

/// Holds the connections for as long as the run is to last.
fn hold(engine: &mut Engine<'_>) -> Result<(), BenchError> {
    if let Length::Time(time) = engine.plan.length {
        engine.enter("holding")?;
        engine.rest(time)?;
    }
    Ok(())
}

/// Waits until the broker's memory stays the same for a while.
fn settle(engine: &mut Engine<'_>) -> Result<(), BenchError> {
    const STEP: Duration = Duration::from_millis(500);
    const STEPS_MAX: u32 = 40;
    const SETTLED_AFTER: u32 = 4;
    engine.enter("settling")?;
    let (mut last, mut equal) = (0, 0);
    for _ in 0..STEPS_MAX {
        let Some(broker) = engine.measured()?.broker else { return Ok(()) };
        equal = if broker.resident == last { equal + 1 } else { 0 };
        if equal == SETTLED_AFTER {
            break;
        }
        last = broker.resident;
        engine.rest(STEP)?;
    }
    Ok(())
}

/// Messages for Sessions whose clients are away, then their delivery.
fn offline(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    engine.connect(engine.subscribers())?;
    engine.send_away(engine.subscribers())?;
    engine.connect(engine.publishers())?;
    engine.be_lenient();
    let from = engine.begin_measuring("storing")?;
    engine.flow(engine.plan.length, false)?;
    let stored = engine.measured()?;
    engine.enter("delivering")?;
    engine.connect(engine.subscribers())?;
    let waited = engine.drain()?;
    let to = engine.end_measuring(waited)?;
    two_parts(engine, [from, stored, to], "messages stored per second");
    Ok((from, to))
}

/// Retained messages are set, then delivered to new subscriptions.
fn retained(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    engine.connect(engine.publishers())?;
    let from = engine.begin_measuring("setting")?;
    engine.flow(engine.plan.length, false)?;
    // At QoS 0 nothing else tells that the broker has them all.
    engine.fence()?;
    let stored = engine.measured()?;
    engine.enter("delivering")?;
    engine.connect(engine.subscribers())?;
    engine.be_lenient();
    let waited = engine.drain()?;
    let to = engine.end_measuring(waited)?;
    two_parts(engine, [from, stored, to], "messages set per second");
    Ok((from, to))
}

/// The figures of storing and of delivering, each for itself.
fn two_parts(engine: &mut Engine<'_>, [from, stored, to]: [Measured; 3], rate: &'static str) {
    let published = (stored.published - from.published).max(1) as f64;
    let delivered = (to.delivered - stored.delivered).max(1) as f64;
    engine.figure(rate, published / secs(from, stored));
    engine.figure("messages delivered per second", delivered / secs(stored, to));
    if let (Some(start), Some(middle), Some(end)) = (from.broker, stored.broker, to.broker) {
        let each = |from: Duration, to: Duration, count: f64| {
            to.saturating_sub(from).as_secs_f64() * 1e6 / count
        };
        engine.figure("broker CPU µs to store each", each(start.cpu, middle.cpu, published));
        engine.figure("broker CPU µs to deliver each", each(middle.cpu, end.cpu, delivered));
        let bytes = middle.resident as f64 - start.resident as f64;
        engine.figure("broker bytes per stored message", bytes / published);
    }
}

/// All subscribers lose their connections at once, again and again; while they come back, there is
/// a message for each of them.
fn reconnect(engine: &mut Engine<'_>) -> Result<Span, BenchError> {
    engine.connect(engine.subscribers())?;
    engine.connect(engine.publishers())?;
    engine.be_lenient();
    let subscribers = u64::from(engine.plan.subscribers);
    let from = engine.begin_measuring("reconnecting")?;
    let mut rounds = 0;
    let waited = loop {
        engine.cut_all(engine.subscribers());
        let mut waited = engine.flow(Length::Messages(subscribers), true)?;
        if waited == Waited::Done {
            waited = engine.gather()?;
        }
        rounds += 1;
        let is_over = match engine.plan.length {
            Length::Time(time) => engine.now() - from.at >= time.as_nanos() as u64,
            Length::Messages(messages) => rounds * subscribers >= messages,
        };
        if is_over || waited != Waited::Done {
            break waited;
        }
    };
    let to = engine.end_measuring(waited)?;
    engine.figure("rounds", rounds as f64);
    let connected = to.connected - from.connected;
    engine.figure("sessions resumed per second", connected as f64 / secs(from, to));
    if let Some((before, after)) = from.broker.zip(to.broker) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        engine.figure("broker CPU µs per resumed session", cpu * 1e6 / connected.max(1) as f64);
    }
    Ok((from, to))
}

fn secs(from: Measured, to: Measured) -> f64 {
    (to.at.saturating_sub(from.at) as f64 / 1e9).max(1e-9)
}
