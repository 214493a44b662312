//! A turn: what is ready is read and booked, what is to be said is written, and publishers fill their
//! windows.

use std::io;
use std::time::Duration;

use super::client::Stage;
use super::inbound::Desk;
use super::{Engine, OUTPUT_MAX, REPLACED};
use crate::connection::Connection;
use crate::error::BenchError;
use crate::frame::FrameError;

/// What an event says of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    token: usize,
    is_readable: bool,
    is_writable: bool,
    is_closed: bool,
}

impl Engine<'_> {
    /// Waits for readiness, reads every ready socket, writes to every touched one.
    pub(super) fn turn(&mut self, timeout: Duration) -> Result<(), BenchError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let mut ready_events = std::mem::take(&mut self.ready_events);
        ready_events.extend(self.events.iter().map(|event| Ready {
            token: event.token().0,
            is_readable: event.is_readable(),
            is_writable: event.is_writable(),
            is_closed: event.is_read_closed() || event.is_error(),
        }));
        for ready in ready_events.drain(..) {
            self.handle(ready)?;
            self.note_due(ready.token % REPLACED);
        }
        self.ready_events = ready_events;
        self.elapse()?;
        let mut touched = std::mem::take(&mut self.tally.touched);
        for index in touched.drain(..) {
            if let Some(link) = &mut self.clients[index].link {
                link.touched = false;
            }
            self.flush(index)?;
            if index < self.senders.len() {
                self.mark_ready(index);
            }
        }
        self.tally.touched = touched;
        Ok(())
    }

    fn handle(&mut self, ready: Ready) -> Result<(), BenchError> {
        if ready.token >= REPLACED {
            return self.handle_replaced(ready.token - REPLACED);
        }
        let index = ready.token;
        if self.clients[index].stage == Stage::Opening {
            if !(ready.is_writable || ready.is_closed) {
                return Ok(());
            }
            if !self.greet(index)? {
                return Ok(());
            }
        }
        if ready.is_writable {
            self.flush(index)?;
            if index < self.senders.len() {
                self.mark_ready(index);
            }
        }
        if ready.is_readable || ready.is_closed {
            self.read_or_attend(index, ready.is_closed)?;
        }
        Ok(())
    }

    /// Reads, unless the client does not for the time being.
    pub(super) fn read_or_attend(
        &mut self,
        index: usize,
        is_closed: bool,
    ) -> Result<(), BenchError> {
        if !self.clients[index].is_paused {
            return self.read(index, is_closed);
        }
        if let Some(link) = &mut self.clients[index].link {
            link.attend(&mut self.scratch);
        }
        self.note_due(index);
        Ok(())
    }

    /// A connection can't be read, or not be written to.
    pub(super) fn handle_lost(&mut self, index: usize, error: io::Error) -> Result<(), BenchError> {
        let was_open = self.clients[index].link.as_ref().is_some_and(Connection::is_open);
        match error.kind() {
            _ if was_open || self.is_lenient => self.handle_closed(index, &error.to_string()),
            io::ErrorKind::ConnectionRefused => {
                Err(BenchError::Connect { address: self.plan.address, source: error })
            }
            _ => Err(BenchError::Handshake(error)),
        }
    }

    /// Reads all that a socket holds. A read that leaves room has emptied it, unless its end has come
    /// as well.
    pub(super) fn read(&mut self, index: usize, is_closed: bool) -> Result<(), BenchError> {
        let read = self.read_all(index, is_closed);
        self.note_due(index);
        read
    }

    fn read_all(&mut self, index: usize, is_closed: bool) -> Result<(), BenchError> {
        loop {
            let Some(link) = &mut self.clients[index].link else { return Ok(()) };
            let filled = match link.fill(&mut self.scratch) {
                Ok(None) => {
                    // It may have made room for what waits.
                    self.touch(index);
                    return Ok(());
                }
                Ok(Some(filled)) => filled,
                Err(error) => return self.handle_lost(index, error),
            };
            let mut scratch = std::mem::take(&mut self.scratch);
            let used = self.read_frames(index, &scratch[..filled.len]);
            if let (Some(link), Ok(used)) = (&mut self.clients[index].link, &used) {
                link.keep(&scratch[*used..filled.len]);
            }
            self.touch(index);
            std::mem::swap(&mut self.scratch, &mut scratch);
            match used {
                Ok(_) if filled.more || is_closed => {}
                Ok(_) => return Ok(()),
                Err(Trouble::Frame(error)) => {
                    return self
                        .handle_closed(index, &format!("what it sends is no MQTT: {error}"));
                }
                Err(Trouble::Bench(error)) => return Err(error),
            }
        }
    }

    /// Has what a client has to say written at the end of the turn.
    fn touch(&mut self, index: usize) {
        if let Some(link) = &mut self.clients[index].link
            && !link.output.is_empty()
            && !link.touched
        {
            link.touched = true;
            self.tally.touched.push(index);
        }
    }

    /// Books what a buffer holds; returns how many bytes made whole frames.
    fn read_frames(&mut self, index: usize, bytes: &[u8]) -> Result<usize, Trouble> {
        let mut used = 0;
        let now = self.now();
        loop {
            // A frame may have ended the connection.
            let Some(link) = &mut self.clients[index].link else { return Ok(bytes.len()) };
            let mut desk = Desk {
                common: &self.common,
                senders: &mut self.senders,
                tally: &mut self.tally,
                output: &mut link.output,
                now,
            };
            let publishers = desk.senders.len();
            let read = match index.checked_sub(publishers) {
                None => {
                    let read = desk.read_acks(&bytes[used..], index)?;
                    if !self.tally.refusals.is_empty() {
                        self.spread_refusals();
                    }
                    self.mark_ready(index);
                    read
                }
                Some(subscriber) => match self.receivers.get_mut(subscriber) {
                    Some(receiver) => desk.read_deliveries(&bytes[used..], receiver)?,
                    None => desk.read_other(&bytes[used..])?,
                },
            };
            used += read.used;
            match read.control {
                Some(control) => self.handle_control(index, &control)?,
                None => return Ok(used),
            }
        }
    }

    pub(super) fn flush(&mut self, index: usize) -> Result<(), BenchError> {
        let Some(link) = &mut self.clients[index].link else { return Ok(()) };
        if let Err(error) = link.flush() {
            // What the broker has said before it closed says more than the broken pipe.
            if !self.clients[index].is_paused {
                self.read(index, true)?;
            }
            if self.clients[index].link.is_some() {
                return self.handle_lost(index, error);
            }
        }
        self.note_due(index);
        Ok(())
    }

    pub(super) fn mark_ready(&mut self, index: usize) {
        let sender = &mut self.senders[index];
        if !sender.is_ready {
            sender.is_ready = true;
            self.tally.ready.push(index);
        }
    }

    /// Lets each publisher that may have room fill it, with one write.
    pub(super) fn fill_windows(&mut self) -> Result<(), BenchError> {
        if self.tally.ready.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut ready = std::mem::take(&mut self.tally.ready);
        let mut again = Vec::new();
        for index in ready.drain(..) {
            let sender = &mut self.senders[index];
            sender.is_ready = false;
            let client = &mut self.clients[index];
            let Some(link) = &mut client.link else { continue };
            if client.stage != Stage::Online || link.output.len() > OUTPUT_MAX {
                continue;
            }
            let room = sender.room(&self.common, self.plan.window);
            if room == 0 {
                continue;
            }
            let before = sender.sent;
            while sender.sent - before < room && link.output.len() < OUTPUT_MAX {
                let qos = sender.push_message(&mut link.output, &self.common, now);
                self.tally.unacknowledged += u64::from(qos > 0);
            }
            let sent = sender.sent - before;
            self.tally.published += sent;
            self.tally.owed += sent * u64::from(self.common.layout.deliveries(index as u32));
            sender.in_flight += sent * u64::from(sender.counting);
            if sender.room(&self.common, self.plan.window) > 0 {
                again.push(index);
            }
            self.flush(index)?;
        }
        // The emptied list keeps its allocation, unless others have become ready meanwhile.
        if self.tally.ready.is_empty() {
            self.tally.ready = ready;
        }
        for index in again {
            let is_full = |link: &Connection| !link.is_flushed();
            // A socket that is full says when it has room.
            if !self.clients[index].link.as_ref().is_none_or(is_full) {
                self.mark_ready(index);
            }
        }
        Ok(())
    }
}

/// Why a buffer can't be read to its end.
pub(super) enum Trouble {
    Frame(FrameError),
    Bench(BenchError),
}

impl From<FrameError> for Trouble {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<BenchError> for Trouble {
    fn from(error: BenchError) -> Self {
        Self::Bench(error)
    }
}
