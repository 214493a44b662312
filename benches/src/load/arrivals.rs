//! Books what arrives at the subscribers, and answers it as its QoS asks.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::publisher::Publisher;
use crate::frame::{self, Frame};
use crate::ledger::{Fault, ReceiverLedger};
use crate::traffic::{PAYLOAD_MIN, Traffic};

/// What every arrival changes, apart from the connections, so that both can be borrowed at once.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Deliveries since the load was connected.
    pub(super) delivered: u64,
    /// Connections with output to flush.
    pub(super) touched: Vec<usize>,
    /// Publishers that may have room in their windows.
    pub(super) ready: Vec<usize>,
    pub(super) pings_answered: usize,
    pub(super) pacing: Option<Pacing>,
    /// How long acknowledgements took, from the write to the read.
    pub(super) acknowledged_after: Vec<Duration>,
}

/// The schedule of a paced run, and how long after its appointed time each message came.
#[derive(Debug)]
pub(super) struct Pacing {
    pub(super) start: Instant,
    pub(super) interval: Duration,
    pub(super) first: u32,
    pub(super) samples: Vec<Duration>,
}

impl Books {
    #[inline]
    pub(super) fn mark_ready(&mut self, publisher: &mut Publisher, index: usize) {
        if !publisher.ready {
            publisher.ready = true;
            self.ready.push(index);
        }
    }
}

/// Books what a subscriber has read; returns how many bytes made whole frames.
pub(super) fn handle_deliveries(
    bytes: &[u8],
    traffic: &Traffic,
    receiver: &mut ReceiverLedger,
    publishers: &mut [Publisher],
    books: &mut Books,
    output: &mut Vec<u8>,
) -> Result<usize> {
    let mut used = 0;
    while let Some(frame) = frame::split_frame(&bytes[used..])? {
        used += frame.len;
        if frame.is_publish() {
            let (publisher, sequence) = read_publish(&frame, traffic, output)?;
            receiver.handle_delivery(publisher, sequence)?;
            let index = publisher as usize;
            publishers[index].ledger.handle_delivery(sequence)?;
            books.mark_ready(&mut publishers[index], index);
            books.delivered += 1;
            if let Some(pacing) = &mut books.pacing {
                let appointed = pacing.start + pacing.interval * (sequence - pacing.first);
                pacing.samples.push(appointed.elapsed());
            }
        } else if frame.first == frame::PUBREL {
            frame::push_ack(output, frame::PUBCOMP, frame.packet_identifier()?);
        } else if frame.first == frame::PINGRESP {
            books.pings_answered += 1;
        } else {
            bail!("unexpected packet {:#04x}", frame.first);
        }
    }
    Ok(used)
}

/// Takes publisher and sequence number from a delivery and answers it as its QoS asks.
#[inline]
fn read_publish(frame: &Frame<'_>, traffic: &Traffic, output: &mut Vec<u8>) -> Result<(u32, u32)> {
    let publish = frame.publish()?;
    ensure!(frame.first & 0b1001 == 0, Fault::Altered("DUP or RETAIN is set"));
    ensure!(publish.qos == traffic.qos, Fault::Altered("another QoS"));
    ensure!(publish.payload.len() == traffic.payload_len, Fault::Altered("another length"));
    match publish.qos {
        0 => {}
        1 => frame::push_ack(output, frame::PUBACK, publish.packet_identifier),
        _ => frame::push_ack(output, frame::PUBREC, publish.packet_identifier),
    }
    let number = |at: usize| {
        let bytes = publish.payload[at..at + 4].try_into().expect("four bytes were asked for");
        u32::from_be_bytes(bytes)
    };
    const { assert!(PAYLOAD_MIN == 8) };
    Ok((number(0), number(4)))
}
