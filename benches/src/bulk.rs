//! Publishes a list of messages at QoS 1 from several clients, as fast as their windows allow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mio::{Events, Poll, Token};

use crate::connection::Connection;
use crate::frame;
use crate::handshake::{self, PATIENCE};

/// Who publishes the list, which is dealt out in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Clients that publish.
    pub publishers: u32,
    /// Messages that each of them may have under way.
    pub window: u16,
}

/// Bytes that one read may bring.
pub(crate) const SCRATCH_LEN: usize = 256 * 1024;

impl Bulk {
    /// Publishes so many messages and waits for their acknowledgements; how long it took. `push`
    /// appends the PUBLISH of the message of a given number with the given Packet Identifier.
    ///
    /// # Errors
    /// When the broker goes silent, or acknowledges something else than is next
    /// [MQTT3-4.6.0-2].
    pub fn publish(
        &self,
        address: SocketAddr,
        messages: u64,
        mut push: impl FnMut(&mut Vec<u8>, u64, u16),
    ) -> Result<Duration> {
        ensure!(self.publishers > 0 && self.window > 0, "an empty load");
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut publishers = Vec::new();
        for index in 0..self.publishers {
            let stream = handshake::connect(address, index, &format!("bulk-pub-{index}"))?;
            let at = Token(index as usize);
            let connection = Connection::new(stream, poll.registry(), at)?;
            let next = u64::from(index);
            publishers.push(Publisher { connection, next, sent: 0, acknowledged: 0 });
        }
        let clock = Instant::now();
        let mut scratch = vec![0; SCRATCH_LEN];
        let mut acknowledged = 0;
        for publisher in &mut publishers {
            publisher.fill(self, messages, &mut push)?;
        }
        while acknowledged < messages {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                bail!("stalled: {} acknowledgements are missing", messages - acknowledged);
            }
            for event in &events {
                let publisher = &mut publishers[event.token().0];
                if event.is_readable() {
                    acknowledged += publisher.read(self, &mut scratch)?;
                }
                publisher.fill(self, messages, &mut push)?;
            }
        }
        Ok(clock.elapsed())
    }
}

struct Publisher {
    connection: Connection,
    /// The number of its next message among all.
    next: u64,
    sent: u64,
    acknowledged: u64,
}

impl Publisher {
    /// Fills the window with one write, once it is half empty.
    fn fill(
        &mut self,
        bulk: &Bulk,
        messages: u64,
        push: &mut impl FnMut(&mut Vec<u8>, u64, u16),
    ) -> Result<()> {
        let room = u64::from(bulk.window) - (self.sent - self.acknowledged);
        if room >= u64::from(bulk.window.div_ceil(2)) {
            for _ in 0..room {
                if self.next >= messages {
                    break;
                }
                push(&mut self.connection.output, self.next, bulk.identifier(self.sent));
                self.sent += 1;
                self.next += u64::from(bulk.publishers);
            }
        }
        Ok(self.connection.flush()?)
    }

    fn read(&mut self, bulk: &Bulk, scratch: &mut [u8]) -> Result<u64> {
        let before = self.acknowledged;
        while let Some(filled) = self.connection.fill(scratch)? {
            let bytes = &scratch[..filled.len];
            let mut used = 0;
            while let Some(frame) = frame::split_frame(&bytes[used..])? {
                used += frame.len;
                ensure!(frame.first == frame::PUBACK, "unexpected packet {:#04x}", frame.first);
                let (found, due) = (frame.packet_identifier()?, bulk.identifier(self.acknowledged));
                ensure!(found == due, "PUBACK for {found} came when {due} was due");
                ensure!(self.acknowledged < self.sent, "PUBACK for what was not published");
                self.acknowledged += 1;
            }
            self.connection.keep(&bytes[used..]);
            if !filled.more {
                break;
            }
        }
        Ok(self.acknowledged - before)
    }
}

impl Bulk {
    /// The Packet Identifier of a publisher's message.
    fn identifier(&self, nth: u64) -> u16 {
        (nth % u64::from(self.window)) as u16 + 1
    }
}
