//! Waiting: for what is owed, for a moment, or until it is clear that nothing more comes.

use std::time::Duration;

use super::Engine;
use super::client::Stage;
use crate::error::BenchError;
use crate::frame;

/// Why waiting has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// What was waited for is there.
    Done,
    /// The time is over.
    Late,
    /// Something is owed, and nothing has come for as long as patience lasts.
    Silent,
}

/// The longest sleep: how late an interval may end.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The kernel wakes up to a millisecond late; what is due sooner is waited for awake.
const SPIN: u64 = 2_000_000;

impl Engine<'_> {
    /// Lets the run go on until `is_done`, or until a moment, whichever comes first.
    pub(super) fn wait(
        &mut self,
        until: u64,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<Waited, BenchError> {
        let patience = self.plan.patience.as_nanos() as u64;
        let mut progress = self.tally.progress;
        self.progressed_at = self.now();
        loop {
            let now = self.now();
            self.release(now);
            self.fill_windows()?;
            if is_done(self) {
                return Ok(Waited::Done);
            }
            if now >= until {
                return Ok(Waited::Late);
            }
            if self.tally.progress != progress || !self.is_owed_anything() {
                (self.progressed_at, progress) = (now, self.tally.progress);
            } else if now - self.progressed_at > patience {
                return Ok(Waited::Silent);
            }
            if now >= self.timeline.due() {
                self.timeline.end_interval(&mut self.tally, now)?;
                self.keep_alive(now)?;
            }
            self.disturb(now)?;
            self.open_more()?;
            self.turn(self.sleep(now, until))?;
        }
    }

    /// Whether the broker, or a client of ours, still has something to do.
    fn is_owed_anything(&self) -> bool {
        let is_opening = self.opening.active > 0 || !self.opening.queue.is_empty();
        let owes = self.tally.settled < self.tally.owed || self.tally.unacknowledged > 0;
        (is_opening || owes || self.tally.pings_due > 0 || self.owes_guests()) && !self.is_paused()
    }

    /// Sends PINGREQs, if the broker wants to hear from its clients now and then.
    fn keep_alive(&mut self, now: u64) -> Result<(), BenchError> {
        if now - self.pinged_at < self.ping_nanos {
            return Ok(());
        }
        self.pinged_at = now;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if let Some(link) = &mut client.link
                && client.stage == Stage::Online
            {
                link.output.extend_from_slice(&[frame::PINGREQ, 0]);
                self.flush(index)?;
            }
        }
        Ok(())
    }

    /// How long nothing is to be done but to wait for the broker.
    fn sleep(&self, now: u64, until: u64) -> Duration {
        if !self.tally.ready.is_empty() {
            return Duration::ZERO;
        }
        let mut next = until.min(self.timeline.due()).min(self.next_disturbance());
        if let Some(&(not_before, _)) = self.opening.queue.front()
            && self.opening.active < self.plan.parallel
        {
            next = next.min(not_before);
        }
        let mut sleep = Duration::from_nanos(next.saturating_sub(now));
        sleep = sleep.min(SLEEP_MAX).min(self.timers.left());
        if let Some(pace) = &self.common.pace
            && self.pacing.released < self.pacing.limit
        {
            let ahead = pace.due(self.pacing.released).saturating_sub(now);
            sleep = match ahead < SPIN {
                true => Duration::ZERO,
                false => sleep.min(Duration::from_nanos(ahead - SPIN / 2)),
            };
        }
        sleep
    }
}
