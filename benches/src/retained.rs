//! Retained messages, one for each of many Topic Names: what setting them costs, and what it costs to
//! deliver them all to a client that subscribes.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Poll, Token};

use crate::bulk::{Bulk, SCRATCH_LEN};
use crate::connection::Connection;
use crate::frame::{self, Frame};
use crate::handshake::{self, PATIENCE};

/// How many are retained, and how they get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Messages, each with a Topic Name of its own.
    pub messages: u32,
    /// Bytes of each Application Message; at least 4.
    pub payload_len: usize,
    /// Who publishes them.
    pub bulk: Bulk,
}

/// The RETAIN flag of a PUBLISH.
const RETAIN: u8 = 1;

/// Packet Identifier of the only SUBSCRIBE.
const SUBSCRIBE_IDENTIFIER: u16 = 1;

impl Retained {
    /// Publishes all messages at QoS 1 with RETAIN, and waits for their acknowledgements.
    ///
    /// # Errors
    /// When the broker goes silent, or answers what was not asked.
    pub fn set(&self, address: SocketAddr) -> Result<()> {
        ensure!(self.payload_len >= 4, "payloads of at least 4 bytes");
        let mut payload = vec![b'.'; self.payload_len];
        let messages = u64::from(self.messages);
        self.bulk.publish(address, messages, |output, nth, identifier| {
            let topic_name = format!("retained/{}/{nth}", nth % 100);
            payload[..4].copy_from_slice(&(nth as u32).to_be_bytes());
            let start = output.len();
            frame::push_publish(output, 1, &topic_name, identifier, &payload);
            output[start] |= RETAIN;
        })?;
        Ok(())
    }

    /// Subscribes to all of them at QoS 1, and takes and acknowledges them.
    ///
    /// # Errors
    /// When one is missing, doubled, altered, or without RETAIN; or something else follows them.
    pub fn deliver(&self, address: SocketAddr) -> Result<()> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(16);
        let mut scratch = vec![0; SCRATCH_LEN];
        let stream = handshake::connect(address, 0, "retained-sub")?;
        let connection = Connection::new(stream, poll.registry(), Token(0))?;
        let seen = vec![false; self.messages as usize];
        let mut receiver = Receiver {
            connection,
            seen,
            received: 0,
            payload_len: self.payload_len,
            is_subscribed: false,
            is_answered: false,
        };
        let output = &mut receiver.connection.output;
        frame::push_subscribe(output, SUBSCRIBE_IDENTIFIER, "retained/#", 1);
        receiver.connection.flush()?;
        let mut is_asked = false;
        while !receiver.is_answered {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                let missing = self.messages - receiver.received;
                bail!("stalled: nothing arrived for {PATIENCE:?}, {missing} messages are missing");
            }
            receiver.read(&mut scratch)?;
            if receiver.is_subscribed && receiver.received == self.messages && !is_asked {
                // Only the answer to this may come now, and all acknowledgements have been read then.
                receiver.connection.output.extend_from_slice(&[frame::PINGREQ, 0]);
                is_asked = true;
            }
            receiver.connection.flush()?;
        }
        Ok(())
    }
}

struct Receiver {
    connection: Connection,
    seen: Vec<bool>,
    received: u32,
    payload_len: usize,
    is_subscribed: bool,
    is_answered: bool,
}

impl Receiver {
    fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        while let Some(filled) = self.connection.fill(scratch)? {
            let bytes = &scratch[..filled.len];
            let mut used = 0;
            while let Some(frame) = frame::split_frame(&bytes[used..])? {
                used += frame.len;
                self.handle_frame(&frame)?;
            }
            self.connection.keep(&bytes[used..]);
            if !filled.more {
                break;
            }
        }
        Ok(())
    }

    fn handle_frame(&mut self, frame: &Frame<'_>) -> Result<()> {
        match frame.first {
            frame::SUBACK => {
                ensure!(frame.body == [0, SUBSCRIBE_IDENTIFIER as u8, 1], "not granted at QoS 1");
                self.is_subscribed = true;
            }
            frame::PINGRESP => self.is_answered = true,
            _ if frame.is_publish() => {
                let publish = frame.publish()?;
                ensure!(publish.qos == 1, "another QoS");
                ensure!(frame.first & 0b1001 == RETAIN, "DUP is set, or RETAIN is not");
                ensure!(publish.payload.len() == self.payload_len, "another length");
                let number = publish.payload.first_chunk().context("a payload")?;
                let number = u32::from_be_bytes(*number);
                let seen = self.seen.get_mut(number as usize).context("was never published")?;
                ensure!(!*seen, "message {number} came again");
                *seen = true;
                self.received += 1;
                let output = &mut self.connection.output;
                frame::push_ack(output, frame::PUBACK, publish.packet_identifier);
            }
            _ => bail!("unexpected packet {:#04x}", frame.first),
        }
        Ok(())
    }
}
