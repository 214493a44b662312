//! The broker's process: its start, its end, and the turns of its workers.

use super::login::LOGIN_TIMEOUT;
use super::station::{Mail, Station};
use super::{About, Event, Happening, World, connection_id, note};
use crate::chance::{Purpose, random};
use crate::pipe::Part;
use core::time::Duration;
use dunlin_broker::QueuePolicy;
use dunlin_broker::core::{
    ConnectionKey, Core, CoreConfig, Durability, DurabilityRules, Output, RetainedStore,
    WorkerNumber, owner,
};
use dunlin_protocol::Instant;
use std::sync::Arc;

/// How long a closed connection waits for its peer to close too.
const LINGER: Duration = Duration::from_secs(1);
/// How often a connection may be written in one turn while its queue refills the output.
const WRITES_PER_TURN: usize = 8;
/// Turns between two looks at what a core holds.
const TURNS_PER_CHECK: u64 = 64;
/// Rounds after which recovered workers have told each other what they need.
const ROUNDS_OF_START: usize = 4;

impl World {
    pub(super) fn start_broker(&mut self) {
        self.start += 1;
        let retained = RetainedStore::new();
        let workers = self.workers_of_start();
        let config = |worker| CoreConfig {
            worker: WorkerNumber(worker),
            workers,
            limits: self.limits.clone(),
            seed: self.seed,
            retained: retained.clone(),
            stores: self.options.stores,
            queue_head: self.options.queue_head,
            durability: Arc::new(DurabilityRules {
                default: self.options.durability,
                topics: Vec::new(),
            }),
            login_timeout: self.options.authenticates.then_some(LOGIN_TIMEOUT),
            anonymous_may_claim: true,
            rights: self.rules.as_ref().map(|file| file.rules.clone()),
            version: "0.0.0",
        };
        let mut cores: Vec<Core> =
            (0..workers).map(|worker| Core::new(self.now, config(worker))).collect();
        if self.start > 1 && self.options.stores {
            for record in self.recovered_records() {
                let worker = record
                    .client_identifier()
                    .map_or(WorkerNumber(0), |identifier| owner(identifier, workers, self.seed));
                cores[usize::from(worker.0)].recover(self.now, record);
            }
            cores.iter_mut().for_each(|core| core.finish_recovery(self.now));
        }
        let rules = self.rules.as_ref().map_or(0, |file| file.number);
        let stations = cores.into_iter().enumerate();
        self.stations = stations
            .map(|(worker, core)| Station::new(self.seed, worker as u64, self.start, rules, core))
            .collect();
        self.is_up = true;
        self.is_stopping = false;
        self.exchange_interests();
        for worker in 0..self.stations.len() {
            self.sleep(worker);
        }
    }

    /// How many workers there are; a broker that comes back may have another number of them.
    fn workers_of_start(&self) -> u8 {
        let mut random = random(self.seed, Purpose::Workers, u64::from(self.start));
        if self.start > 1 && random.chance(30) {
            return random.between(1..=4) as u8;
        }
        self.options.workers
    }

    /// All that the workers have to tell each other before the first connection.
    fn exchange_interests(&mut self) {
        for _ in 0..ROUNDS_OF_START {
            for worker in 0..self.stations.len() {
                self.carry_out(worker);
                while let Some((_, Mail::Batch(from, mut batch))) =
                    self.stations[worker].inbox.pop_front()
                {
                    while !self.stations[worker].core.handle_batch(self.now, from, &mut batch) {
                        self.write_urgent(worker);
                    }
                }
            }
        }
    }

    pub(super) fn restart(&mut self) {
        if self.is_up {
            return;
        }
        self.start_broker();
        note!(self, About::All, "the broker is up with {} workers", self.stations.len());
        self.tell(Event::Restarted);
        self.note_rules_in_force();
    }

    // ---- turns

    /// Lets a worker have a turn soon.
    pub(super) fn wake(&mut self, worker: usize) {
        let (least, most) = if self.calm { (0, 10) } else { self.options.turn_delay };
        let station = &mut self.stations[worker];
        // A turn takes time, so that one that comes to nothing again and again is no endless one.
        let at = self.now + Duration::from_micros(1 + station.random.between(least..=most));
        self.turn_by(worker, at);
    }

    fn turn_by(&mut self, worker: usize, at: Instant) {
        let station = &mut self.stations[worker];
        if station.turn_at.is_none_or(|turn_at| at < turn_at) {
            station.turn_at = Some(at);
            self.schedule.put(at, Happening::Turn(worker as u8));
        }
    }

    /// The next turn of a worker: at once when it has work, at its deadline otherwise.
    fn sleep(&mut self, worker: usize) {
        let station = &self.stations[worker];
        let mail = station.inbox.front().map(|(due, _)| *due);
        if station.has_work_of_its_own() || mail.is_some_and(|due| self.calm || due <= self.now) {
            self.wake(worker);
            return;
        }
        let linger = station.lingering.front().map(|(until, _)| *until);
        if let Some(at) = [station.core.poll_timeout(), linger, mail].into_iter().flatten().min() {
            self.turn_by(worker, at.max(self.now));
        }
    }

    /// How much of `len` things this turn takes up.
    fn share(&mut self, worker: usize, len: usize) -> usize {
        if len == 0 || !self.options.partial_turns || self.calm {
            return len;
        }
        self.stations[worker].random.below(len as u64 + 1) as usize
    }

    pub(super) fn turn(&mut self, worker: usize) {
        if !self.is_up {
            return;
        }
        self.take_mail(worker);
        self.read_established(worker);
        self.read_fresh(worker);
        if let Some(is_ready) = self.stations[worker].store_is_ready.take() {
            self.stations[worker].core.handle_store_ready(is_ready);
        }
        if let Some(upto) = self.stations[worker].stored.take() {
            let (durability, core) = (self.options.durability, &mut self.stations[worker].core);
            core.handle_stored(self.now, durability.max(Durability::Written), upto);
            if durability < Durability::Fsync {
                // What is written is synced some time; nobody waits for it.
                let before = self.stations[worker].written.replace(upto).unwrap_or_default();
                self.stations[worker].core.handle_stored(self.now, Durability::Fsync, before);
            }
        }
        while let Some(fetched) = self.stations[worker].fetched.pop_front() {
            self.stations[worker].core.handle_fetched(self.now, fetched);
        }
        let station = &mut self.stations[worker];
        if station.core.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            station.core.handle_timeout(self.now);
        }
        let writable = std::mem::take(&mut self.stations[worker].writable);
        for wire in writable {
            self.write(worker, wire);
        }
        self.carry_out(worker);
        self.write_touched(worker);
        self.end_lingering(worker);
        let station = &mut self.stations[worker];
        station.turns += 1;
        if station.turns.is_multiple_of(TURNS_PER_CHECK) {
            self.check_bounds(worker);
        }
        self.sleep(worker);
        if self.is_stopping {
            self.end_stop();
        }
    }

    /// Sends mail to a worker, which comes in the order in which it was sent.
    pub(super) fn post(&mut self, to: usize, mail: Mail) {
        let (least, most) = if self.calm { (0, 0) } else { self.options.mail_delay };
        let station = &mut self.stations[to];
        let micros = if most == 0 { 0 } else { station.random.between(least..=most) };
        let due = self.now + Duration::from_micros(micros);
        let due = station.inbox.back().map_or(due, |(last, _)| due.max(*last));
        station.inbox.push_back((due, mail));
        if due <= self.now {
            self.wake(to);
        } else {
            self.turn_by(to, due);
        }
    }

    fn take_mail(&mut self, worker: usize) {
        let now = self.now;
        let inbox = &self.stations[worker].inbox;
        let count = match self.calm {
            true => inbox.len(),
            false => inbox.partition_point(|(due, _)| *due <= now),
        };
        for _ in 0..self.share(worker, count) {
            let Some((_, mail)) = self.stations[worker].inbox.pop_front() else { break };
            self.operations += 1;
            match mail {
                Mail::Batch(from, mut batch) => {
                    while !self.stations[worker].core.handle_batch(self.now, from, &mut batch) {
                        self.write_urgent(worker);
                    }
                }
                Mail::Adopt(wire, client) => self.stations[worker].adopted.push((wire, client)),
                Mail::Decided(key, exchange, decision) => {
                    self.decide(worker, key, exchange, decision);
                }
                Mail::Rules(number, rules) => self.take_rules(worker, number, rules),
                Mail::Stop => self.stations[worker].core.stop(self.now),
            }
        }
    }

    fn read_established(&mut self, worker: usize) {
        let count = self.stations[worker].established.len();
        for _ in 0..self.share(worker, count) {
            let Some(wire) = self.stations[worker].established.pop_front() else { break };
            self.read_connection(worker, wire);
        }
    }

    /// Takes up new connections, after all that has arrived on the others.
    fn read_fresh(&mut self, worker: usize) {
        let count = self.stations[worker].fresh.len();
        for _ in 0..self.share(worker, count) {
            let Some(wire) = self.stations[worker].fresh.pop_front() else { break };
            self.read_connection(worker, wire);
        }
        for (wire, client) in std::mem::take(&mut self.stations[worker].adopted) {
            self.adopt(worker, wire, *client);
        }
    }

    /// Carries out what the core asks for.
    pub(super) fn carry_out(&mut self, worker: usize) {
        loop {
            let station = &mut self.stations[worker];
            let mut keys = std::mem::take(&mut station.keys);
            station.core.resumed(&mut keys);
            while let Some(key) = keys.pop() {
                if let Some(wire) = self.wire_of(worker, key) {
                    self.wires[wire as usize].broker.is_paused = false;
                    self.list(worker, wire);
                }
            }
            self.stations[worker].keys = keys;
            let Some(output) = self.stations[worker].core.poll_output() else { return };
            match output {
                Output::Close(key) => self.close(worker, key),
                Output::Authenticate { connection, exchange, login } => {
                    self.ask(worker, connection, exchange, &login);
                }
                Output::Move { connection, worker: to, client } => {
                    // Its socket may have gone meanwhile, and its place to another one.
                    let Some(wire) = self.wire_of(worker, connection) else { continue };
                    self.stations[worker].core.release(connection);
                    self.stations[worker].link(connection, None);
                    let to = usize::from(to.0);
                    self.wires[wire as usize].broker.key = None;
                    self.wires[wire as usize].broker.worker = to;
                    note!(self, self.about(wire), "moves to worker {to}");
                    self.post(to, Mail::Adopt(wire, client));
                }
                Output::Store { last, records, .. } => self.append(worker, last, records),
                Output::Fetch(fetch) => self.fetch(worker, fetch),
                Output::Forward { worker: to, batch } => {
                    let from = WorkerNumber(worker as u8);
                    let to = usize::from(to.0);
                    self.post(to, Mail::Batch(from, batch));
                }
            }
        }
    }

    pub(super) fn wire_of(&self, worker: usize, key: ConnectionKey) -> Option<u32> {
        let wire = self.stations[worker].links.get(key.index()).copied().flatten()?;
        (self.wires[wire as usize].broker.key == Some(key)).then_some(wire)
    }

    /// The core has ended a connection: its last bytes are written, then its peer may close.
    fn close(&mut self, worker: usize, key: ConnectionKey) {
        let Some(wire) = self.wire_of(worker, key) else { return };
        let end = &mut self.wires[wire as usize].broker;
        if end.is_closing {
            return;
        }
        end.is_closing = true;
        end.rest.clear();
        end.untold.clear();
        if self.trace.is_some() {
            let why = self.stations[worker].core.end(key).map(ToString::to_string);
            note!(self, self.about(wire), "ended by the broker: {}", why.unwrap_or_default());
        }
        self.tell(Event::Ended { connection: connection_id(wire) });
        self.stations[worker].lingering.push_back((self.now + LINGER, wire));
        self.write(worker, wire);
    }

    pub(super) fn write_urgent(&mut self, worker: usize) {
        let station = &mut self.stations[worker];
        let mut keys = std::mem::take(&mut station.keys);
        station.core.take_urgent(&mut keys);
        for key in keys.drain(..) {
            if let Some(wire) = self.wire_of(worker, key) {
                self.write(worker, wire);
            }
        }
        self.stations[worker].keys = keys;
    }

    fn write_touched(&mut self, worker: usize) {
        self.write_urgent(worker);
        for _ in 0..WRITES_PER_TURN {
            let station = &mut self.stations[worker];
            let mut keys = std::mem::take(&mut station.keys);
            station.core.take_touched(&mut keys);
            if keys.is_empty() {
                station.keys = keys;
                return;
            }
            for key in keys.drain(..) {
                if let Some(wire) = self.wire_of(worker, key) {
                    self.write(worker, wire);
                }
            }
            self.stations[worker].keys = keys;
            self.carry_out(worker);
        }
    }

    fn end_lingering(&mut self, worker: usize) {
        while let Some((until, wire)) = self.stations[worker].lingering.front().copied()
            && until <= self.now
        {
            self.stations[worker].lingering.pop_front();
            self.drop_socket(worker, wire);
        }
    }

    /// The broker's end of a connection is gone from its loop.
    pub(super) fn drop_socket(&mut self, worker: usize, wire: u32) {
        let connection = &mut self.wires[wire as usize];
        let Some(key) = connection.broker.key.take() else { return };
        let unread = !connection.broker.arrived.is_empty();
        connection.broker.arrived.clear();
        connection.broker.rest.clear();
        connection.broker.untold.clear();
        connection.down.end(self.now, if unread { Part::Reset } else { Part::End });
        connection.up.broken = true;
        self.announce_down(wire);
        note!(self, self.about(wire), "closed at the broker");
        self.tell(Event::Closed { connection: connection_id(wire) });
        let station = &mut self.stations[worker];
        station.link(key, None);
        station.core.handle_network_closed(self.now, key);
        station.core.release(key);
    }

    fn check_bounds(&mut self, worker: usize) {
        let counters = self.stations[worker].core.counters();
        let mut queued_max = counters.sessions.saturating_mul(self.limits.queue_len_max as u64);
        if self.limits.queue_policy != QueuePolicy::DropNewest {
            // What waited for room is queued up to twice the limit when its publisher goes, and a
            // session takes all copies of a message that it has room for. The oldest message stays
            // until the store has given it back.
            queued_max = queued_max.saturating_mul(2).saturating_add(counters.subscriptions);
        }
        if counters.queued > queued_max {
            let what = format!("{} messages queued, at most {queued_max}", counters.queued);
            self.fail("queues grow beyond their limit", what, Vec::new());
        }
    }

    // ---- the end of the process

    /// The process ends without warning.
    pub(super) fn crash(&mut self, micros: u64) {
        if !self.is_up {
            return;
        }
        self.go_down(micros, false);
        note!(self, About::All, "the broker crashes");
        self.tell(Event::Crashed);
    }

    pub(super) fn stop(&mut self, micros: u64) {
        if !self.is_up || self.is_stopping {
            return;
        }
        note!(self, About::All, "the broker is told to stop");
        self.tell(Event::Stopping);
        self.is_stopping = true;
        self.away_micros = micros;
        for worker in 0..self.stations.len() {
            self.post(worker, Mail::Stop);
        }
    }

    /// A broker that stops is gone once its connections are.
    fn end_stop(&mut self) {
        let is_over =
            |station: &Station| !station.has_work() && station.links.iter().all(Option::is_none);
        if self.stations.iter().all(is_over) {
            self.go_down(self.away_micros, true);
            note!(self, About::All, "the broker has stopped");
        }
    }

    fn go_down(&mut self, micros: u64, in_order: bool) {
        self.settle_store(in_order);
        self.is_up = false;
        self.is_stopping = false;
        for wire in 0..self.wires.len() {
            let connection = &mut self.wires[wire];
            if connection.broker.key.take().is_some() || connection.broker.moving.is_some() {
                connection.broker.moving = None;
                connection.up.broken = true;
                connection.down.cut(self.now);
                self.announce_down(wire as u32);
            }
        }
        self.stations.clear();
        let at = self.now + Duration::from_micros(micros);
        self.schedule.put(at, Happening::Restart);
    }
}
