//! What publishers send, and what is acknowledged to them.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::frame;
use crate::ledger::PublisherLedger;
use crate::traffic::{FRESH_LEN, Traffic};

/// A publisher: what it sends, and its books.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) ledger: PublisherLedger,
    /// One PUBLISH frame for each Topic Name.
    pub(super) frames: Vec<Template>,
    /// On the list of those that may have room.
    pub(super) ready: bool,
    /// Sequence number at which the current phase ends.
    pub(super) limit: u32,
    /// The message whose acknowledgement is timed: its Packet Identifier, and when it was sent. One
    /// at a time, since asking the clock for each would cost as much as sending it.
    pub(super) timed: Option<(u16, Instant)>,
}

/// A PUBLISH frame whose Packet Identifier and payload start are filled in on sending.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    payload_at: usize,
}

impl Publisher {
    pub(super) fn new(traffic: &Traffic, index: u32) -> Self {
        let mut payload = vec![b'.'; traffic.payload_len];
        payload[..4].copy_from_slice(&index.to_be_bytes());
        let frames = (0..traffic.topics).map(|topic| {
            let mut bytes = Vec::new();
            let topic_name = traffic.topic_name(index, topic);
            frame::push_publish(&mut bytes, traffic.qos, &topic_name, 0, &payload);
            Template { payload_at: bytes.len() - payload.len(), bytes }
        });
        Self {
            ledger: PublisherLedger::new(index, traffic.qos, traffic.receivers(), traffic.window),
            frames: frames.collect(),
            ready: false,
            limit: 0,
            timed: None,
        }
    }

    #[inline]
    pub(super) fn push_message(&mut self, output: &mut Vec<u8>, traffic: &Traffic) {
        let (sequence, packet_identifier) = self.ledger.send();
        if traffic.qos > 0 && self.timed.is_none() {
            self.timed = Some((packet_identifier, Instant::now()));
        }
        let topic = if traffic.topics == 1 { 0 } else { sequence % traffic.topics };
        let template = &self.frames[topic as usize];
        let payload_at = output.len() + template.payload_at;
        output.extend_from_slice(&template.bytes);
        if traffic.qos > 0 {
            output[payload_at - 2..payload_at].copy_from_slice(&packet_identifier.to_be_bytes());
        }
        if traffic.is_fresh {
            let end = payload_at - if traffic.qos > 0 { 2 } else { 0 };
            write_hexadecimal(&mut output[end - FRESH_LEN..end], sequence);
        }
        output[payload_at + 4..payload_at + 8].copy_from_slice(&sequence.to_be_bytes());
    }
}

/// Fills `digits` with a number, the lowest digit last.
#[inline]
fn write_hexadecimal(digits: &mut [u8], number: u32) {
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
    }
}

/// Books what a publisher has read; returns how many bytes made whole frames.
pub(super) fn handle_acks(
    bytes: &[u8],
    publisher: &mut Publisher,
    acknowledged_after: &mut Vec<Duration>,
    output: &mut Vec<u8>,
) -> Result<usize> {
    let mut used = 0;
    while let Some(frame) = frame::split_frame(&bytes[used..])? {
        used += frame.len;
        let packet_identifier = frame.packet_identifier()?;
        if publisher.ledger.handle_ack(frame.first, packet_identifier)? {
            frame::push_ack(output, frame::PUBREL, packet_identifier);
        } else if let Some((timed, sent)) = publisher.timed
            && timed == packet_identifier
        {
            acknowledged_after.push(sent.elapsed());
            publisher.timed = None;
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests;
