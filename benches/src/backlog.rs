//! Messages for Sessions that are away: what storing them costs, what they take, and how fast they
//! are delivered when their clients come back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Poll, Token};

use crate::bulk::{Bulk, SCRATCH_LEN};
use crate::connection::Connection;
use crate::frame;
use crate::handshake::{self, PATIENCE};

/// How many messages wait for how many Sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Sessions, each with a Topic Name of its own.
    pub sessions: u32,
    /// Messages for each of them.
    pub messages_each: u32,
    /// Bytes of each Application Message; at least 8.
    pub payload_len: usize,
    /// Who publishes them.
    pub bulk: Bulk,
}

/// Sessions that are resumed together; more would need more sockets than most systems allow.
const RESUMED_AT_ONCE: u32 = 2_000;

impl Backlog {
    /// All messages.
    pub fn messages(&self) -> u64 {
        u64::from(self.sessions) * u64::from(self.messages_each)
    }

    /// Bytes of all payloads.
    pub fn payload_bytes(&self) -> u64 {
        self.messages() * self.payload_len as u64
    }

    /// Makes the Sessions, each with its subscription, and leaves them.
    ///
    /// # Errors
    /// When the broker refuses a client.
    pub fn subscribe(&self, address: SocketAddr) -> Result<()> {
        for session in 0..self.sessions {
            let (mut stream, _) = handshake::resume(address, 0, &client_identifier(session))?;
            handshake::subscribe(&mut stream, &topic_name(session), 1)?;
            handshake::leave(&mut stream)?;
        }
        Ok(())
    }

    /// Publishes all messages at QoS 1 and waits for their acknowledgements; how long it took.
    ///
    /// # Errors
    /// When the broker goes silent, or answers what was not asked.
    pub fn publish(&self, address: SocketAddr) -> Result<Duration> {
        ensure!(self.payload_len >= 8, "payloads of at least 8 bytes");
        // So that the messages of a Session come from one publisher, and their order is known.
        ensure!(
            self.sessions.is_multiple_of(self.bulk.publishers),
            "sessions as a multiple of publishers"
        );
        let mut payload = vec![b'.'; self.payload_len];
        self.bulk.publish(address, self.messages(), |output, nth, identifier| {
            let session = (nth % u64::from(self.sessions)) as u32;
            let round = (nth / u64::from(self.sessions)) as u32;
            payload[..4].copy_from_slice(&session.to_be_bytes());
            payload[4..8].copy_from_slice(&round.to_be_bytes());
            frame::push_publish(output, 1, &topic_name(session), identifier, &payload);
        })
    }

    /// Resumes all Sessions and takes all messages, each in its order; how long it took.
    ///
    /// # Errors
    /// When a Session is not there, or a message is missing, doubled or out of order.
    pub fn resume(&self, address: SocketAddr) -> Result<Duration> {
        let mut elapsed = Duration::ZERO;
        let mut first = 0;
        while first < self.sessions {
            let count = RESUMED_AT_ONCE.min(self.sessions - first);
            elapsed += self.resume_some(address, first, count)?;
            first += count;
        }
        Ok(elapsed)
    }

    fn resume_some(&self, address: SocketAddr, first: u32, count: u32) -> Result<Duration> {
        let clock = Instant::now();
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; SCRATCH_LEN];
        let mut receivers = Vec::new();
        // All come back at once, as after a cut.
        let mut streams = Vec::new();
        for at in 0..count {
            let mut stream = handshake::open(address, at)?;
            handshake::send_resume(&mut stream, &client_identifier(first + at))?;
            streams.push(stream);
        }
        for (at, mut stream) in (0..).zip(streams) {
            let session = first + at;
            ensure!(handshake::expect_resumed(&mut stream)?, "Session {session} is gone");
            let connection = Connection::new(stream, poll.registry(), Token(at as usize))?;
            receivers.push(Receiver { connection, session, next: 0 });
        }
        let target = u64::from(count) * u64::from(self.messages_each);
        let mut received = 0;
        while received < target {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                bail!("stalled: {} messages are missing", target - received);
            }
            for event in &events {
                let receiver = &mut receivers[event.token().0];
                if event.is_readable() {
                    received += receiver
                        .read(self.payload_len, &mut scratch)
                        .with_context(|| format!("Session {}", receiver.session))?;
                }
                receiver.connection.flush()?;
            }
        }
        let elapsed = clock.elapsed();
        // The last acknowledgements have been read when the broker answers what comes after them.
        let mut answered = 0;
        for receiver in &mut receivers {
            receiver.connection.output.extend_from_slice(&[frame::PINGREQ, 0]);
            receiver.connection.flush()?;
        }
        while answered < count {
            poll.poll(&mut events, Some(PATIENCE))?;
            ensure!(!events.is_empty(), "no PINGRESP");
            for event in &events {
                if event.is_readable() {
                    answered += receivers[event.token().0].read_answer(&mut scratch)?;
                }
            }
        }
        Ok(elapsed)
    }
}

struct Receiver {
    connection: Connection,
    session: u32,
    next: u32,
}

impl Receiver {
    fn read(&mut self, payload_len: usize, scratch: &mut [u8]) -> Result<u64> {
        let before = self.next;
        while let Some(filled) = self.connection.fill(scratch)? {
            let bytes = &scratch[..filled.len];
            let mut used = 0;
            while let Some(frame) = frame::split_frame(&bytes[used..])? {
                used += frame.len;
                ensure!(frame.is_publish(), "unexpected packet {:#04x}", frame.first);
                let publish = frame.publish()?;
                ensure!(frame.first & 0b1001 == 0, "DUP or RETAIN is set");
                ensure!(publish.qos == 1, "another QoS");
                ensure!(publish.payload.len() == payload_len, "another length");
                let (session, rest) = publish.payload.split_first_chunk().context("a payload")?;
                let (round, _) = rest.split_first_chunk().context("a payload")?;
                ensure!(u32::from_be_bytes(*session) == self.session, "somebody else's message");
                let round = u32::from_be_bytes(*round);
                ensure!(round == self.next, "message {round} came when {} was due", self.next);
                self.next += 1;
                let identifier = publish.packet_identifier;
                frame::push_ack(&mut self.connection.output, frame::PUBACK, identifier);
            }
            self.connection.keep(&bytes[used..]);
            if !filled.more {
                break;
            }
        }
        Ok(u64::from(self.next - before))
    }

    fn read_answer(&mut self, scratch: &mut [u8]) -> Result<u32> {
        let Some(filled) = self.connection.fill(scratch)? else { return Ok(0) };
        ensure!(scratch[..filled.len] == [frame::PINGRESP, 0], "more than was published");
        Ok(1)
    }
}

fn client_identifier(session: u32) -> String {
    format!("backlog-{session}")
}

fn topic_name(session: u32) -> String {
    format!("backlog/{session}")
}
