//! What is done to the clients on purpose: connections are cut, readers stop reading.

use std::time::Duration;

use super::Engine;
use super::client::Stage;
use crate::error::BenchError;
use crate::packet;
use crate::plan::{Disturbance, Scenario};

/// What is still to come.
#[derive(Debug)]
pub(super) struct Disturbing {
    /// The next one last.
    ahead: Vec<(u64, Act)>,
    /// Clients that do not read at present.
    paused: Vec<usize>,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Cut {
        percent: f64,
    },
    Pause {
        percent: f64,
    },
    Resume,
    /// What a soak has each second.
    Stir,
}

/// A share so small that it is one client.
const ONE: f64 = 1e-6;

/// How often a soak is stirred.
const STIR_NANOS: u64 = 1_000_000_000;

impl Disturbing {
    /// The next one goes last.
    fn sort(&mut self) {
        self.ahead.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
    }

    pub(super) fn new(seed: u32) -> Self {
        let random = u64::from(seed) << 32 | 0x9E37_79B9;
        Self { ahead: Vec::new(), paused: Vec::new(), random }
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % bound
    }

    /// Picks a share of the candidates, at least one.
    fn pick(&mut self, mut candidates: Vec<usize>, percent: f64) -> Vec<usize> {
        let count = (candidates.len() as f64 * percent / 100.0).ceil() as usize;
        for at in 0..count.min(candidates.len()) {
            let other = at + self.below(candidates.len() - at);
            candidates.swap(at, other);
        }
        candidates.truncate(count);
        candidates
    }
}

impl Engine<'_> {
    /// Has the plan's disturbances come in their time from now on.
    pub(super) fn arm_disturbances(&mut self, now: u64) {
        let at = |when: Duration| now + when.as_nanos() as u64;
        for disturbance in &self.plan.disturbances {
            match *disturbance {
                Disturbance::Cut { percent, at: when } => {
                    self.disturbing.ahead.push((at(when), Act::Cut { percent }));
                }
                Disturbance::Pause { percent, from, to } => {
                    self.disturbing.ahead.push((at(from), Act::Pause { percent }));
                    self.disturbing.ahead.push((at(to), Act::Resume));
                }
            }
        }
        if self.plan.scenario == Scenario::Soak {
            self.disturbing.ahead.push((now + STIR_NANOS, Act::Stir));
        }
        self.disturbing.sort();
    }

    /// Forgets the disturbances that have not come, and ends those under way.
    pub(super) fn disarm_disturbances(&mut self) -> Result<(), BenchError> {
        self.disturbing.ahead.clear();
        self.resume_reading()
    }

    /// Does what is due.
    pub(super) fn disturb(&mut self, now: u64) -> Result<(), BenchError> {
        while let Some(&(at, act)) = self.disturbing.ahead.last()
            && at <= now
        {
            self.disturbing.ahead.pop();
            match act {
                Act::Stir => {
                    self.stir()?;
                    self.disturbing.ahead.push((at + STIR_NANOS, Act::Stir));
                    self.disturbing.sort();
                }
                Act::Cut { percent } => {
                    self.timeline.mark(now, format!("cut {percent} % of the connections"));
                    let online = self.online(0);
                    for index in self.disturbing.pick(online, percent) {
                        self.cut(index);
                    }
                }
                Act::Pause { percent } => {
                    self.timeline.mark(now, format!("{percent} % of the subscribers stop reading"));
                    let online = self.online(self.senders.len());
                    for index in self.disturbing.pick(online, percent) {
                        self.clients[index].is_paused = true;
                        self.disturbing.paused.push(index);
                        self.count_out(index - self.senders.len());
                    }
                }
                Act::Resume => {
                    self.timeline.mark(now, "all subscribers read again".to_owned());
                    self.resume_reading()?;
                }
            }
        }
        Ok(())
    }

    /// Cuts one connection, has another taken over, and lets a subscription come or go.
    fn stir(&mut self) -> Result<(), BenchError> {
        for index in self.disturbing.pick(self.online(0), ONE) {
            self.cut(index);
        }
        for index in self.disturbing.pick(self.online(0), ONE) {
            self.take_over(index)?;
        }
        let wanderers = self.senders.len() + self.plan.subscribers as usize;
        for index in self.disturbing.pick(self.online(wanderers), ONE) {
            self.wander(index)?;
        }
        Ok(())
    }

    /// Takes a subscription, or gives it up.
    fn wander(&mut self, index: usize) -> Result<(), BenchError> {
        let subscriber = index - self.senders.len();
        let layout = &self.common.layout;
        let topic_filters = layout.topic_filters(subscriber as u32, 0..layout.filters());
        let receiver = &mut self.receivers[subscriber];
        let Some(link) = &mut self.clients[index].link else { return Ok(()) };
        if receiver.is_subscribed {
            packet::push_unsubscribe(&mut link.output, self.plan.version, 2, &topic_filters);
        } else {
            let (version, qos) = (self.plan.version, layout.qos_max());
            packet::push_subscribe(&mut link.output, version, 1, &topic_filters, qos);
            receiver.arrivals.begin_anywhere();
        }
        receiver.is_subscribed = !receiver.is_subscribed;
        self.flush(index)
    }

    /// When the next one is due.
    pub(super) fn next_disturbance(&self) -> u64 {
        self.disturbing.ahead.last().map_or(u64::MAX, |&(at, _)| at)
    }

    /// Some clients do not read, so that nobody can expect anything.
    pub(super) fn is_paused(&self) -> bool {
        !self.disturbing.paused.is_empty()
    }

    fn resume_reading(&mut self) -> Result<(), BenchError> {
        for index in std::mem::take(&mut self.disturbing.paused) {
            // It may have lost its connection meanwhile, and with it the pause.
            if std::mem::take(&mut self.clients[index].is_paused) {
                let now = self.now();
                self.count_in(index - self.senders.len(), now);
                self.read(index, true)?;
            }
        }
        Ok(())
    }

    fn online(&self, from: usize) -> Vec<usize> {
        let is_online = |&index: &usize| {
            self.clients[index].stage == Stage::Online && !self.clients[index].is_paused
        };
        (from..self.clients.len()).filter(is_online).collect()
    }
}
