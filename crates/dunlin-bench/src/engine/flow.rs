//! The parts that scenarios are made of: connecting, letting messages flow, measuring, leaving.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use super::sender::Pace;
use super::{Engine, Waited};
use crate::error::BenchError;
use crate::outcome::BrokerUse;
use crate::plan::Length;
use crate::process;

/// How far the present pace has come.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// Messages of all publishers that may have been sent by now.
    pub(super) released: u64,
    /// How many there are to be.
    pub(super) limit: u64,
}

/// What was counted and used by some moment, or between two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) at: u64,
    pub(crate) published: u64,
    pub(crate) owed: u64,
    pub(crate) delivered: u64,
    pub(crate) connected: u64,
    pub(crate) load_cpu: Duration,
    pub(crate) broker: Option<BrokerUse>,
}

impl Engine<'_> {
    /// Brings clients to the broker, and waits until all are there.
    pub(crate) fn connect(
        &mut self,
        indexes: std::ops::Range<usize>,
    ) -> Result<Waited, BenchError> {
        let now = self.now();
        let target = self.opening.online + indexes.len() as u32;
        for index in indexes {
            self.bring(index, now);
        }
        let waited = self.wait(u64::MAX, |engine| engine.opening.online >= target)?;
        if waited == Waited::Silent && !self.is_lenient {
            let (secs, online) = (self.plan.patience.as_secs_f64(), self.opening.online);
            return Err(BenchError::Silent { secs, online });
        }
        Ok(waited)
    }

    /// The clients that publish.
    pub(crate) fn publishers(&self) -> std::ops::Range<usize> {
        0..self.senders.len()
    }

    /// The clients that do not.
    pub(crate) fn subscribers(&self) -> std::ops::Range<usize> {
        self.senders.len()..self.clients.len()
    }

    /// Begins another phase of the run.
    pub(crate) fn enter(&mut self, phase: &'static str) -> Result<(), BenchError> {
        let now = self.now();
        self.timeline.enter(phase, &mut self.tally, now)
    }

    /// From now on clients that lose their connections come back.
    pub(crate) fn be_lenient(&mut self) {
        self.is_lenient = true;
    }

    /// Lets all publishers publish, and waits until all is acknowledged and, if `to_the_end`,
    /// delivered.
    pub(crate) fn flow(&mut self, length: Length, to_the_end: bool) -> Result<Waited, BenchError> {
        let now = self.now();
        let count = match (length, self.plan.rate) {
            (Length::Messages(messages), _) => Some(messages),
            (Length::Time(time), Some(rate)) => Some((time.as_secs_f64() * rate).ceil() as u64),
            (Length::Time(_), None) => None,
        };
        let until = match length {
            Length::Messages(_) => u64::MAX,
            Length::Time(time) => now + time.as_nanos() as u64,
        };
        self.begin_flow(now, count);
        let target = count.map_or(u64::MAX, |count| self.tally.published + count);
        let mut waited = self.wait(until, |engine| engine.tally.published >= target)?;
        self.disarm_disturbances()?;
        self.end_flow();
        if waited != Waited::Silent {
            waited = self.wait(u64::MAX, |engine| {
                let is_owed = engine.tally.settled < engine.tally.owed || engine.owes_guests();
                !(to_the_end && is_owed) && engine.tally.unacknowledged == 0
            })?;
        }
        if waited == Waited::Silent {
            self.note_silence();
        }
        Ok(waited)
    }

    /// Waits until all that is owed has come.
    pub(crate) fn drain(&mut self) -> Result<Waited, BenchError> {
        let waited = self.wait(u64::MAX, |engine| engine.tally.settled >= engine.tally.owed)?;
        if waited == Waited::Silent {
            self.note_silence();
        }
        Ok(waited)
    }

    /// Tells each publisher how many messages it may send; with a rate that is: none yet.
    fn begin_flow(&mut self, now: u64, count: Option<u64>) {
        let publishers = self.senders.len() as u64;
        if let Some(rate) = self.plan.rate {
            self.common.pace = Some(Pace { start: now, step: 1e9 / rate, publishers });
            self.pacing = Pacing { released: 0, limit: count.unwrap_or(u64::MAX) };
        }
        for index in 0..self.senders.len() {
            let sender = &mut self.senders[index];
            sender.paced_from = sender.sent;
            // What has not come of an earlier part is lost, and takes no room from this one.
            (sender.in_flight, sender.counts_from) = (0, now);
            sender.limit = match (self.plan.rate, count) {
                (Some(_), _) => sender.sent,
                (None, None) => u64::MAX,
                (None, Some(count)) => {
                    let more = u64::from((index as u64) < count % publishers);
                    sender.sent + count / publishers + more
                }
            };
            self.mark_ready(index);
        }
    }

    /// No more messages from here on. Those that were due and had no room are charged for the time
    /// that they have waited so far.
    fn end_flow(&mut self) {
        let now = self.now();
        for sender in &mut self.senders {
            if let Some(pace) = &self.common.pace {
                for sequence in sender.sent..sender.limit {
                    let round = sequence - sender.paced_from;
                    let due = pace.due(round * pace.publishers + u64::from(sender.index));
                    self.tally.samples.arrival(now.saturating_sub(due));
                    self.tally.unsent += 1;
                }
            }
            sender.limit = sender.sent;
        }
        self.common.pace = None;
    }

    /// Lets each publisher send what has become due.
    pub(super) fn release(&mut self, now: u64) {
        let Some(pace) = self.common.pace else { return };
        while self.pacing.released < self.pacing.limit && pace.due(self.pacing.released) <= now {
            let index = (self.pacing.released % pace.publishers) as usize;
            self.senders[index].limit += 1;
            self.pacing.released += 1;
            self.mark_ready(index);
        }
    }

    /// Takes a note of what is missing from a broker that does nothing any more.
    pub(crate) fn note_silence(&mut self) {
        let (secs, tally) = (self.plan.patience.as_secs_f64(), &self.tally);
        let missing = tally.owed.saturating_sub(tally.settled);
        self.silence = Some(format!(
            "nothing has come for {secs} s, and missing are {missing} deliveries, {} \
             acknowledgements and {} clients",
            tally.unacknowledged,
            self.opening.active as usize + self.opening.queue.len()
        ));
    }

    /// Lets clients say goodbye; their Sessions stay.
    pub(crate) fn send_away(&mut self, indexes: std::ops::Range<usize>) -> Result<(), BenchError> {
        for index in indexes {
            if let Some(link) = &mut self.clients[index].link {
                crate::packet::push_disconnect(&mut link.output, self.plan.version, false);
                self.flush(index)?;
                self.part_from(index)?;
                self.lose(index);
            }
        }
        self.wait_for_goodbyes()
    }

    /// Closes connections without a word; their clients come back at once.
    pub(crate) fn cut_all(&mut self, indexes: std::ops::Range<usize>) {
        let now = self.now();
        for index in indexes {
            if self.clients[index].link.is_some() {
                self.lose(index);
                self.bring(index, now);
            }
        }
    }

    /// Waits until all clients are there.
    pub(crate) fn gather(&mut self) -> Result<Waited, BenchError> {
        let waited = self.wait(u64::MAX, |engine| {
            engine.opening.active == 0 && engine.opening.queue.is_empty()
        })?;
        if waited == Waited::Silent {
            self.note_silence();
        }
        Ok(waited)
    }

    /// Deletes the retained messages that were set.
    pub(crate) fn clear_retained(&mut self) -> Result<(), BenchError> {
        for index in self.publishers() {
            let lanes = self.senders[index].sent.min(self.common.lanes);
            for lane in 0..lanes {
                let topic_name = self.common.layout.topic_name(index as u32, lane as u32);
                let Some(link) = &mut self.clients[index].link else { break };
                let head = crate::packet::publish_head(self.plan.version, 0x31, &topic_name, 0);
                link.output.extend_from_slice(&head);
                if link.output.len() < super::OUTPUT_MAX {
                    continue;
                }
                self.flush(index)?;
                let has_room = |engine: &Self| {
                    let link = engine.clients[index].link.as_ref();
                    link.is_none_or(|link| link.output.len() < super::OUTPUT_MAX / 2)
                };
                self.wait(u64::MAX, has_room)?;
            }
            self.flush(index)?;
        }
        self.fence()
    }

    /// Waits for a moment.
    pub(crate) fn rest(&mut self, time: Duration) -> Result<(), BenchError> {
        let until = self.now() + time.as_nanos() as u64;
        if self.wait(until, |_| false)? == Waited::Silent {
            self.note_silence();
        }
        Ok(())
    }

    /// What was counted and used so far.
    pub(crate) fn measured(&self) -> Result<Measured, BenchError> {
        Ok(Measured {
            at: self.now(),
            published: self.tally.published,
            owed: self.tally.owed,
            delivered: self.tally.delivered,
            connected: self.tally.connected,
            load_cpu: process::cpu_time(std::process::id())?,
            broker: self.timeline.broker()?,
        })
    }

    /// Begins the measured part: counts and times are taken from here on, disturbances come.
    pub(crate) fn begin_measuring(&mut self, phase: &'static str) -> Result<Measured, BenchError> {
        self.enter(phase)?;
        self.timeline.is_measuring = true;
        let measured = self.measured()?;
        self.threads_began = (measured.delivered, self.thread_times());
        self.arm_disturbances(measured.at);
        Ok(measured)
    }

    /// Ends the measured part.
    pub(crate) fn end_measuring(&mut self, waited: Waited) -> Result<Measured, BenchError> {
        let mut measured = self.measured()?;
        if waited == Waited::Silent {
            measured.at = self.progressed_at;
        }
        self.figure_busiest_thread(measured.delivered);
        self.enter("finishing")?;
        self.timeline.is_measuring = false;
        Ok(measured)
    }

    /// CPU time of each thread of the broker's process, if that is to be read and is there.
    fn thread_times(&self) -> BTreeMap<OsString, Duration> {
        let times = self.plan.pid.map(process::thread_times);
        times.and_then(Result::ok).unwrap_or_default()
    }

    /// What the busiest thread of the broker has used in the measured part: with a core for each thread
    /// it is this one that ends the growth.
    fn figure_busiest_thread(&mut self, delivered: u64) {
        let (began, times) = std::mem::take(&mut self.threads_began);
        let used = |(thread, time): (OsString, Duration)| {
            time.saturating_sub(times.get(&thread).copied().unwrap_or_default())
        };
        let busiest = self.thread_times().into_iter().map(used).max().unwrap_or_default();
        if !busiest.is_zero() && delivered > began {
            let each = busiest.as_secs_f64() * 1e6 / (delivered - began) as f64;
            self.figure("broker's busiest thread, CPU µs per message", each);
        }
    }
}
