//! When connections have something to do though nothing has come: those of QUIC have a clock of their
//! own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::Engine;
use crate::connection::Connection;
use crate::error::BenchError;

/// Moments, the earliest first, and whose they are. One that its client does not name any more is of no
/// account.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// How long nothing is due.
    pub(super) fn left(&self) -> Duration {
        self.0.peek().map_or(Duration::MAX, |Reverse((due, _))| {
            due.saturating_duration_since(Instant::now())
        })
    }
}

impl Engine<'_> {
    /// Takes a note of when a client's connections have something to do.
    ///
    /// They mostly have it later and later, so that a timer which is too early is left, and put right
    /// when its time has come.
    pub(super) fn note_due(&mut self, index: usize) {
        if !self.plan.transport.has_timers() {
            return;
        }
        let client = &mut self.clients[index];
        let links = [&mut client.link, &mut client.replaced].into_iter().flatten();
        if let Some(due) = links.filter_map(Connection::due).min()
            && client.due.is_none_or(|known| due < known)
        {
            client.due = Some(due);
            self.timers.0.push(Reverse((due, index)));
        }
    }

    /// Lets connections do what is due.
    pub(super) fn elapse(&mut self) -> Result<(), BenchError> {
        if self.timers.0.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while let Some(&Reverse((due, index))) = self.timers.0.peek()
            && due <= now
        {
            self.timers.0.pop();
            let client = &mut self.clients[index];
            if client.due != Some(due) {
                continue;
            }
            client.due = None;
            if let Some(link) = &mut client.replaced {
                // What is wrong with it shows when it is read.
                let _ = link.elapse(now);
                self.handle_replaced(index)?;
            }
            match self.clients[index].link.as_mut().map(|link| link.elapse(now)) {
                Some(Ok(())) => {
                    self.read_or_attend(index, false)?;
                    self.flush(index)?;
                }
                Some(Err(error)) => self.handle_lost(index, error)?,
                None => {}
            }
            self.note_due(index);
        }
        Ok(())
    }
}
