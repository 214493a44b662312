//! When connections have something to do though nothing has come: those of QUIC have a clock of their
//! own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Engine;
use crate::connection::Connection;
use crate::error::BenchError;

/// Moments, the earliest first, and whose they are: one at most of each client.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, usize)>);

impl Timers {
    /// How long nothing is due.
    pub(super) fn left(&self) -> Duration {
        self.0
            .first()
            .map_or(Duration::MAX, |(due, _)| due.saturating_duration_since(Instant::now()))
    }

    /// Sets a client's timer, which was set to `known`, if it is to be earlier.
    ///
    /// Connections mostly have something to do later and later: a timer that is too early is left, and
    /// put right when its time has come.
    fn set(&mut self, index: usize, known: &mut Option<Instant>, due: Instant) {
        if known.is_some_and(|known| known <= due) {
            return;
        }
        if let Some(known) = known.replace(due) {
            self.0.remove(&(known, index));
        }
        self.0.insert((due, index));
    }

    /// Takes the client whose timer is the first that is due.
    fn take(&mut self, now: Instant) -> Option<usize> {
        self.0
            .first()
            .is_some_and(|&(due, _)| due <= now)
            .then(|| self.0.pop_first())?
            .map(|it| it.1)
    }
}

impl Engine<'_> {
    /// Takes a note of when a client's connections have something to do.
    pub(super) fn note_due(&mut self, index: usize) {
        if !self.plan.transport.has_timers() {
            return;
        }
        let client = &mut self.clients[index];
        let links = [&mut client.link, &mut client.replaced].into_iter().flatten();
        if let Some(due) = links.filter_map(Connection::due).min() {
            self.timers.set(index, &mut client.due, due);
        }
    }

    /// Lets connections do what is due.
    pub(super) fn elapse(&mut self) -> Result<(), BenchError> {
        if self.timers.0.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while let Some(index) = self.timers.take(now) {
            let client = &mut self.clients[index];
            client.due = None;
            if let Some(link) = &mut client.replaced {
                link.elapse(now);
                self.handle_replaced(index)?;
            }
            if let Some(link) = &mut self.clients[index].link {
                link.elapse(now);
                self.read_or_attend(index, false)?;
                self.flush(index)?;
            }
            self.note_due(index);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_one_timer_which_only_comes_earlier() {
        let (mut timers, began) = (Timers::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let mut known = [None; 2];
        for millis in [40, 30, 50, 20, 30] {
            timers.set(0, &mut known[0], at(millis));
        }
        timers.set(1, &mut known[1], at(25));
        assert_eq!((known, timers.0.len()), ([Some(at(20)), Some(at(25))], 2));
        assert_eq!(timers.take(at(19)), None);
        assert_eq!(timers.take(at(20)), Some(0));
        assert_eq!(timers.take(at(24)), None);
        known[0] = None;
        timers.set(0, &mut known[0], at(22));
        assert_eq!((timers.take(at(30)), timers.take(at(30))), (Some(0), Some(1)));
        assert_eq!(timers.take(at(100)), None);
        assert_eq!(timers.left(), Duration::MAX);
    }
}
