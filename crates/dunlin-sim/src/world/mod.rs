//! The world: a broker of several workers, devices, the network between them and the store beneath,
//! driven by one schedule on a virtual clock.

mod act;
mod broker;
mod client;
mod device;
mod finish;
mod input;
mod login;
mod output;
mod rights;
mod station;
mod store;
mod wire;

use crate::chance::{Purpose, random};
use crate::history::{ConnectionId, DeviceId, Event};
use crate::judge::{Judge, Rules};
use crate::plan::{Options, Plan};
use crate::schedule::{Happening, Schedule};
use crate::trace::{About, Trace};
use core::time::Duration;
use device::Device;
use dunlin_broker::Limits;
use dunlin_protocol::Instant;
use login::{Authenticator, LOGIN_TIMEOUT};
use rights::RulesFile;
use station::Station;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::Store;
use wire::Wire;

/// A promise that was not kept, as the world or the judge found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When it was found.
    pub at: Instant,
    /// Names the kind of it: a shorter plan fails alike when it fails by the same kind.
    pub kind: String,
    /// What was found.
    pub what: String,
    /// The devices concerned.
    pub devices: Vec<u32>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Packets taken, turns, timers, actions: everything that somebody handled.
    pub operations: u64,
    /// The first promise that was not kept.
    pub failure: Option<Failure>,
    /// What happened, if it was asked for.
    pub trace: Option<Trace>,
}

/// The whole system.
pub(crate) struct World {
    seed: u64,
    options: Options,
    limits: Arc<Limits>,
    rules: Option<RulesFile>,
    authenticator: Authenticator,
    plan: Vec<crate::plan::Planned>,
    now: Instant,
    schedule: Schedule,
    stations: Vec<Station>,
    /// Counts the starts of the broker.
    start: u32,
    is_up: bool,
    is_stopping: bool,
    /// How long the broker stays away once it has stopped.
    away_micros: u64,
    store: Store,
    wires: Vec<Wire>,
    devices: Vec<Device>,
    judge: Judge,
    failure: Option<Failure>,
    operations: u64,
    /// How many there were when a packet went in or out the last time.
    last_packet: u64,
    /// No more faults: everything goes as it should.
    calm: bool,
    trace: Option<Trace>,
    scratch: Vec<u8>,
}

/// No run needs so many. Long payloads in parts of a few bytes take ten million.
const OPERATIONS_MAX: u64 = 20_000_000;
/// Operations between two packets: parts of a packet, turns that have nothing to do, timers.
const OPERATIONS_IN_VAIN_MAX: u64 = 200_000;

macro_rules! note {
    ($world:expr, $about:expr, $($what:tt)*) => {
        if $world.trace.is_some() {
            let about = $about;
            if let Some(trace) = &mut $world.trace {
                trace.note($world.now, about, format_args!($($what)*));
            }
        }
    };
}
use note;

impl World {
    pub(crate) fn new(plan: &Plan, traced: bool) -> Self {
        let options = plan.options.clone();
        let limits = Arc::new(options.limits.clone());
        let rights = options.rules.as_deref().map(RulesFile::new);
        let judged =
            Rules { rights: rights.as_ref().map(|file| file.rules.clone()), ..rules(&options) };
        let mut world = Self {
            seed: plan.seed,
            judge: Judge::new(judged),
            limits,
            rules: rights,
            authenticator: Authenticator::default(),
            plan: plan.actions.clone(),
            now: Instant::ZERO,
            schedule: Schedule::new(plan.seed),
            stations: Vec::new(),
            start: 0,
            is_up: false,
            is_stopping: false,
            away_micros: 0,
            store: Store::new(
                random(plan.seed, Purpose::Store, 0),
                random(plan.seed, Purpose::Queues, 1),
            ),
            wires: Vec::new(),
            devices: Vec::new(),
            failure: None,
            operations: 0,
            last_packet: 0,
            calm: false,
            trace: traced.then(Trace::default),
            scratch: Vec::new(),
            options,
        };
        world.make_devices();
        world.start_broker();
        world
    }

    /// Lets the plan happen, and what follows from it; then lets all come to rest.
    pub(crate) fn run(&mut self) {
        for at in 0..self.plan.len() {
            self.schedule.put(self.plan[at].at, Happening::Act(at as u32));
        }
        let end = self.plan.last().map_or(Instant::ZERO, |planned| planned.at);
        while self.failure.is_none() && self.schedule.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        if self.failure.is_none() {
            self.finish();
        }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome { operations: self.operations, failure: self.failure, trace: self.trace }
    }

    /// Work has an end: as a whole, and that of which no packet comes much earlier.
    fn watch_for_work_without_end(&mut self) {
        let in_vain = self.operations - self.last_packet;
        if self.operations > OPERATIONS_MAX || in_vain > OPERATIONS_IN_VAIN_MAX {
            let work = self.who_has_work();
            let what = format!(
                "{} operations by {}, {in_vain} since the last packet: {work}",
                self.operations, self.now
            );
            self.fail("somebody works without an end", what, Vec::new());
        }
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        let Some((at, happening)) = self.schedule.take() else { return };
        self.now = self.now.max(at);
        if let Happening::Turn(worker) = happening {
            let station = self.stations.get_mut(usize::from(worker));
            // Put off, or had already: no work.
            let Some(station) = station.filter(|station| station.turn_at == Some(self.now)) else {
                return;
            };
            station.turn_at = None;
        }
        self.operations += 1;
        match happening {
            Happening::Turn(worker) => self.turn(usize::from(worker)),
            Happening::Accept(wire) => self.accept(wire),
            Happening::ArriveUp(wire) => self.arrive_up(wire),
            Happening::ArriveDown(wire) => self.arrive_down(wire),
            Happening::RoomDown(wire) => self.room_down(wire),
            Happening::RoomUp(wire) => self.room_up(wire),
            Happening::Deadline(wire) => self.client_deadline(wire),
            Happening::Acknowledge(wire) => self.acknowledge_due(wire),
            Happening::Reconnect { device, attempt } => self.reconnect(device, attempt),
            Happening::Act(at) => self.act(at as usize),
            Happening::Synced { start } => self.synced(start),
            Happening::Fetched { start } => self.fetched(start),
            Happening::Mended { start } => self.mend_store(start),
            Happening::Answered(number) => self.answered(number),
            Happening::Restart => self.restart(),
        }
        self.watch_for_work_without_end();
    }

    fn tell(&mut self, event: Event<'_>) {
        if let Event::Taken { .. } | Event::Written { .. } | Event::Arrived { .. } = event {
            self.last_packet = self.operations;
        }
        self.judge.tell(self.now, event);
        self.look_for_breaches();
    }

    fn look_for_breaches(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let Some(breach) = self.judge.breaches().first() else { return };
        let connected = breach
            .connections
            .iter()
            .filter_map(|connection| self.wires.get(connection.0 as usize).map(|wire| wire.device));
        let devices = connected.chain(breach.devices.iter().map(|device| device.0));
        let devices: BTreeSet<u32> = devices.collect();
        self.failure = Some(Failure {
            at: breach.at,
            kind: format!("{:?}", breach.promise),
            what: breach.text.clone(),
            devices: devices.into_iter().collect(),
        });
    }

    fn fail(&mut self, kind: &str, what: String, devices: Vec<u32>) {
        if self.failure.is_none() {
            let kind = kind.to_owned();
            self.failure = Some(Failure { at: self.now, kind, what, devices });
        }
    }

    fn about(&self, wire: u32) -> About {
        About::Connection { connection: wire, device: self.wires[wire as usize].device }
    }

    fn device_id(&self, wire: u32) -> DeviceId {
        DeviceId(self.wires[wire as usize].device)
    }
}

/// Turns that may pass until a worker has done what it has to do, when turns leave things undone.
const TURNS_UNTIL_DONE: u64 = 40;

/// Letters between workers, one after the other, that something may need.
const LETTERS_UNTIL_DONE: u64 = 4;

fn rules(options: &Options) -> Rules {
    let turns = if options.partial_turns { TURNS_UNTIL_DONE } else { 2 };
    let turns_micros = turns * options.turn_delay.1 + LETTERS_UNTIL_DONE * options.mail_delay.1;
    let first_stranger = options.devices + options.twins;
    Rules {
        limits: options.limits.clone(),
        stores: options.stores,
        lateness: Duration::from_micros(200_000 + turns_micros),
        rights: None,
        login_limit: options.authenticates.then_some(LOGIN_TIMEOUT),
        strangers: (first_stranger..first_stranger + options.malformed).map(DeviceId).collect(),
    }
}

const fn connection_id(wire: u32) -> ConnectionId {
    ConnectionId(wire)
}
