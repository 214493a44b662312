//! The end of a run: faults stop, all comes to rest, what is owed has arrived, and nothing is left
//! behind.

use super::{About, Event, World, note};
use crate::pipe::Character;
use crate::plan::ConnectPlan;
use core::time::Duration;
use dunlin_broker::core::Counters;
use dunlin_codec::ReasonCode;

/// Time that everything may take to come to rest.
const REST_TIME: Duration = Duration::from_secs(120);
const REST_STEPS: u64 = 5_000_000;
/// A network without faults.
pub(super) const CALM: Character =
    Character { latency: (10, 100), part_len_max: 1460, window: 1 << 18, bytes_per_second: None };

impl World {
    pub(super) fn finish(&mut self) {
        self.end_faults();
        if !self.come_to_rest() {
            return;
        }
        self.tell_drops();
        self.judge.finish(self.now);
        self.look_for_breaches();
        if self.failure.is_none() {
            self.leave_nothing();
        }
    }

    fn end_faults(&mut self) {
        note!(self, About::All, "faults end");
        self.calm = true;
        self.heal_store();
        if self.store.has_failed || self.is_stopping {
            // Whoever looks after it mends the store and starts the broker anew.
            self.crash(0);
        }
        if !self.is_up {
            self.restart();
        }
        for device in 0..self.devices.len() as u32 {
            self.devices[device as usize].partitioned_until = self.now;
        }
        self.schedule.forget_arrivals();
        for wire in 0..self.wires.len() as u32 {
            let connection = &mut self.wires[wire as usize];
            connection.up.heal(self.now, CALM);
            connection.down.heal(self.now, CALM);
            if connection.up.vanishes || connection.client.is_gone {
                // The network gives such a connection up in the end.
                let vanished = std::mem::take(&mut connection.up.vanishes);
                connection.down.vanishes = false;
                if connection.broker.key.is_some() || !connection.up.ended || vanished {
                    self.cut(wire);
                }
            }
            self.announce_up(wire);
            self.unstick(wire);
            self.acknowledge_due(wire);
        }
        self.tell(Event::FaultsEnded);
        for device in 0..self.devices.len() as u32 {
            let owner = &self.devices[device as usize];
            if owner.is_twin || owner.is_malformed {
                self.abandon(device);
            } else if owner.live.is_none() {
                let plan = ConnectPlan { clean_start: false, ..owner.last_plan.clone() };
                self.connect(device, &plan);
            }
        }
    }

    /// Lets everything happen that is to happen by itself; whether that has an end.
    fn come_to_rest(&mut self) -> bool {
        let until = self.now + REST_TIME;
        let last_step = self.operations + REST_STEPS;
        while self.failure.is_none() {
            let is_over =
                self.schedule.next_at().is_none_or(|at| at > until) || self.operations > last_step;
            if self.is_at_rest() {
                return true;
            }
            if is_over {
                let work = self.who_has_work();
                self.fail("it does not come to rest", work, Vec::new());
                return false;
            }
            self.step();
        }
        false
    }

    fn is_at_rest(&self) -> bool {
        self.schedule.busy() == 0
            && self.stations.iter().all(|station| !station.has_work())
            && self.devices.iter().all(|device| {
                !device.comes_again
                    && device
                        .live
                        .as_ref()
                        .is_none_or(|live| live.owed.is_empty() && live.out.is_empty())
            })
            && self.counters().queued == 0
            // The broker gives up whoever does not finish its login.
            && self.wires.iter().all(|wire| wire.broker.key.is_none() || wire.broker.moving.is_none())
            // It reads nobody for a while who has authenticated again.
            && self.wires.iter().all(|wire| !wire.broker.waits_to_be_read())
    }

    pub(super) fn who_has_work(&self) -> String {
        let counters = self.counters();
        let mut work =
            format!("{} things to come, {} messages queued", self.schedule.busy(), counters.queued);
        if let Some((at, happening)) = self.schedule.example() {
            work.push_str(&format!(", {happening:?} at {at}"));
        }
        for (worker, station) in self.stations.iter().enumerate() {
            if station.has_work() {
                work.push_str(&format!(
                    ", worker {worker} has work: {} letters, {} and {} to read, {} to write, core {}",
                    station.inbox.len(),
                    station.established.len(),
                    station.fresh.len(),
                    station.writable.len(),
                    station.core.has_work()
                ));
            }
        }
        for (number, device) in self.devices.iter().enumerate() {
            let name = &device.client_identifier;
            let queued: usize = self.stations.iter().map(|it| it.core.queued_of(name)).sum();
            if queued > 0 {
                work.push_str(&format!(", {queued} wait for device {number}"));
            }
            if device.comes_again {
                work.push_str(&format!(", device {number} is to come again"));
            }
            if let Some(live) = &device.live
                && (!live.out.is_empty()
                    || !live.owed.is_empty()
                    || !live.connection.is_connected())
            {
                work.push_str(&format!(", device {number} has work"));
            }
        }
        work
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for station in &self.stations {
            sum.add(&station.core.counters());
        }
        sum
    }

    /// Asks the broker what it has dropped for each Client.
    fn tell_drops(&mut self) {
        for device in 0..self.devices.len() {
            let client_identifier = self.devices[device].client_identifier.clone();
            let drops = self.stations.iter().flat_map(|it| it.core.dropped_of(&client_identifier));
            let count = drops.map(|(_, count)| count).sum();
            self.tell(Event::DropsCounted { client_identifier: &client_identifier, count });
        }
    }

    /// Ends every session: nothing must be left of any.
    fn leave_nothing(&mut self) {
        for round in 0..2 {
            for device in 0..self.devices.len() as u32 {
                let owner = &mut self.devices[device as usize];
                if owner.is_twin || owner.is_malformed {
                    continue;
                }
                if round == 0 {
                    owner.always_clean = owner.always_clean.map(|_| true);
                    owner.outbox.clear();
                    let plan = ConnectPlan {
                        clean_start: true,
                        in_flight_max: 10,
                        ..ConnectPlan::default()
                    };
                    self.connect(device, &plan);
                } else {
                    self.goodbye(device);
                }
            }
            if !self.come_to_rest() {
                return;
            }
        }
        let counters = self.counters();
        let left = [
            counters.connections,
            counters.clients_connected,
            counters.subscriptions,
            counters.queued,
            counters.queued_bytes,
        ];
        if left != [0; 5] && !self.options_leave_sessions() {
            let what = format!(
                "{} connections, {} clients, {} sessions, {} subscriptions, {} messages and {} \
                 bytes are left",
                counters.connections,
                counters.clients_connected,
                counters.sessions,
                counters.subscriptions,
                counters.queued,
                counters.queued_bytes
            );
            self.fail("something is left behind", what, Vec::new());
        }
    }

    /// A peer that breaks the protocol may have made a session that outlives it.
    const fn options_leave_sessions(&self) -> bool {
        self.options.malformed > 0
    }

    fn goodbye(&mut self, device: u32) {
        self.with_live(device, |world, live| {
            let bye = dunlin_codec::Disconnect::new(ReasonCode::Success);
            let _ = live.connection.disconnect(world.now, &bye, &mut live.out);
        });
        let owner = &mut self.devices[device as usize];
        owner.attempts += 1;
        owner.comes_again = false;
    }
}
