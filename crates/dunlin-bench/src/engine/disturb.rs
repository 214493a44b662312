//! What is done to the clients on purpose: connections are cut, readers stop reading.

use std::time::Duration;

use super::Engine;
use super::client::Stage;
use super::soak::Counts;
use crate::error::BenchError;
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
    /// One of the things that a soak has again and again: which one, and where its time begins.
    Stir {
        nth: usize,
        from: u64,
    },
}

/// What a soak has again and again.
#[derive(Debug, Clone, Copy)]
enum Stir {
    /// A connection is closed without a word.
    Cut,
    /// A client connects beside its own connection.
    TakeOver,
    /// A client says goodbye and comes back.
    Goodbye,
    /// A subscription comes or goes.
    Wander,
    /// Retained messages are set or deleted.
    SetRetained,
    /// Somebody subscribes to these.
    Visit,
}

/// Their order. Each comes at any moment of the time that it has.
const STIRS: [Stir; 8] = [
    Stir::Cut,
    Stir::Wander,
    Stir::TakeOver,
    Stir::SetRetained,
    Stir::Wander,
    Stir::Goodbye,
    Stir::Visit,
    Stir::Wander,
];

/// Retained messages that are set at once.
const RETAINED_AT_ONCE: u32 = 3;

/// How many of a hundred clients a stir is for; one at least.
const STIR_PERCENT: f64 = 1.0;

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
            self.disturbing.ahead.push((now, Act::Stir { nth: 0, from: now }));
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
                Act::Stir { nth, from } => {
                    self.stir(STIRS[nth])?;
                    let time = (1e9 / self.plan.churn) as u64;
                    let (nth, from) = ((nth + 1) % STIRS.len(), from + time);
                    let at = from + self.disturbing.below(time as usize) as u64;
                    self.disturbing.ahead.push((at, Act::Stir { nth, from }));
                    self.disturbing.sort();
                }
                Act::Cut { percent } => {
                    self.timeline.mark(now, format!("cut {percent} % of the connections"));
                    let online = self.online(0);
                    for index in self.disturbing.pick(online, percent) {
                        let _ = self.cut(index);
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

    /// Does one of the things that a soak has.
    fn stir(&mut self, stir: Stir) -> Result<(), BenchError> {
        let mut candidates = self.online(0);
        match stir {
            Stir::SetRetained => self.set_retained(RETAINED_AT_ONCE),
            Stir::Visit => self.visit(),
            Stir::Wander => candidates.retain(|&index| self.is_wanderer(index)),
            Stir::Cut | Stir::TakeOver | Stir::Goodbye => {}
        }
        for index in self.disturbing.pick(candidates, STIR_PERCENT) {
            let (is_done, count): (_, fn(&mut Counts) -> &mut u64) = match stir {
                Stir::Cut => (self.cut(index), |counts| &mut counts.cuts),
                Stir::TakeOver => (self.take_over(index)?, |counts| &mut counts.takeovers),
                Stir::Goodbye => (self.say_goodbye(index)?, |counts| &mut counts.goodbyes),
                Stir::Wander => (self.wander(index)?, |counts| &mut counts.subscriptions),
                Stir::SetRetained | Stir::Visit => return Ok(()),
            };
            if let Some(soak) = &mut self.soak {
                *count(&mut soak.counts) += u64::from(is_done);
            }
        }
        Ok(())
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

    /// The clients from one on that are there and read.
    pub(super) fn online(&self, from: usize) -> Vec<usize> {
        let is_online = |&index: &usize| {
            self.clients[index].stage == Stage::Online && !self.clients[index].is_paused
        };
        (from..self.clients.len()).filter(is_online).collect()
    }
}
