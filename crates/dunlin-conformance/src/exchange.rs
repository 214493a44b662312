//! What was said on the connections of a check, in order.

use crate::hex::digits;
use crate::{Stop, failed};
use bytes::BytesMut;
use dunlin_codec::{DecodeError, Decoder, Packet, PacketType, ProtocolVersion};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More lines than this are only counted: a peer may send without end.
const LINES_MAX: usize = 20_000;
/// A check is given up when more packets come: none needs so many.
const PACKETS_MAX: usize = 20_000;
/// A check is given up when more bytes come than these and what it has asked for beside them.
const BYTES_MAX: usize = 8 << 20;
/// No more of a line is kept.
const TEXT_MAX: usize = 400;

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Sent,
    /// The peer that is judged.
    Received,
    /// Nobody: something happened, such as the end of the connection.
    Event,
}

/// One packet, or one event.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, since the check began.
    pub at: Duration,
    /// On which connection.
    pub connection: String,
    /// Who spoke.
    pub direction: Direction,
    /// The packet decoded, or what happened.
    pub text: String,
    /// The packet, if the bytes are a legal one.
    pub packet: Option<Packet>,
    /// What the peer sent wrong, if the bytes are none.
    pub malformed: Option<Malformed>,
}

/// Bytes from the peer that are no legal packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What they claim to be.
    pub packet_type: Option<PacketType>,
    /// What is wrong with them.
    pub error: DecodeError,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Sent => "→",
            Direction::Received => "←",
            Direction::Event => "·",
        };
        let millis = self.at.as_millis();
        write!(f, "{millis:>6} ms  {} {arrow} {}", self.connection, self.text)
    }
}

/// The record that all connections of a check write to.
#[derive(Clone, Debug)]
pub struct Exchange {
    start: Instant,
    time_max: Duration,
    lines: Arc<Mutex<Vec<Line>>>,
    received: Arc<Received>,
}

/// How much came, on all connections.
#[derive(Debug, Default)]
struct Received {
    packets: AtomicUsize,
    bytes: AtomicUsize,
    asked_for: AtomicUsize,
}

impl Default for Exchange {
    fn default() -> Self {
        Self::within(Duration::MAX)
    }
}

impl Exchange {
    /// An exchange that begins now, and is given up after this time.
    pub(crate) fn within(time_max: Duration) -> Self {
        let (lines, received) = (Arc::default(), Arc::default());
        Self { start: Instant::now(), time_max, lines, received }
    }

    /// The peer sent so many bytes.
    pub(crate) fn count_bytes(&self, count: usize) {
        self.received.bytes.fetch_add(count, Ordering::Relaxed);
    }

    /// So many more bytes may come: the check causes them.
    pub(crate) fn allow_bytes(&self, count: usize) {
        self.received.asked_for.fetch_add(count, Ordering::Relaxed);
    }

    /// Goes on unless the exchange has taken too long, or too much came: a peer may talk without
    /// end, and each word may come just in time.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it has.
    pub(crate) fn go_on(&self) -> Result<(), Stop> {
        let Received { packets, bytes, asked_for } = &*self.received;
        if self.start.elapsed() > self.time_max {
            return failed(format!("given up: the check takes longer than {:?}", self.time_max));
        }
        if packets.load(Ordering::Relaxed) > PACKETS_MAX {
            return failed(format!("given up: more than {PACKETS_MAX} packets come"));
        }
        let bytes_max = BYTES_MAX + asked_for.load(Ordering::Relaxed);
        if bytes.load(Ordering::Relaxed) > bytes_max {
            return failed(format!("given up: more than {} MiB come", bytes_max >> 20));
        }
        Ok(())
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn packet(&self, connection: &str, direction: Direction, packet: &Packet) {
        if direction == Direction::Received {
            self.received.packets.fetch_add(1, Ordering::Relaxed);
        }
        self.add(connection, direction, describe(packet), Some(packet.clone()));
    }

    /// Bytes, which may be packets, and may be none.
    pub(crate) fn bytes(&self, connection: &str, version: ProtocolVersion, bytes: &[u8]) {
        let decoder = Decoder::new(version, u32::MAX);
        let mut rest = BytesMut::from(bytes);
        while !rest.is_empty() {
            let before = rest.clone();
            match decoder.decode(&mut rest) {
                Ok(Some(packet)) => self.packet(connection, Direction::Sent, &packet),
                Ok(None) => {
                    let text = format!("{} (an incomplete packet)", digits(&before));
                    return self.add(connection, Direction::Sent, text, None);
                }
                Err(error) => {
                    let text = format!("{} ({error})", digits(&before));
                    return self.add(connection, Direction::Sent, text, None);
                }
            }
        }
    }

    /// Bytes from the peer that are no packet.
    pub(crate) fn malformed(&self, connection: &str, bytes: &[u8], error: DecodeError) {
        let packet_type = bytes.first().and_then(|first| PacketType::new(first >> 4));
        let text = format!("{} ({error})", digits(bytes));
        let malformed = Some(Malformed { packet_type, error });
        self.push(connection, Direction::Received, text, None, malformed);
    }

    /// Takes over a line of another exchange.
    pub(crate) fn copy(&self, line: &Line) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
    }

    pub(crate) fn event(&self, connection: &str, text: impl Into<String>) {
        self.add(connection, Direction::Event, text.into(), None);
    }

    pub(crate) fn add(
        &self,
        connection: &str,
        direction: Direction,
        text: String,
        packet: Option<Packet>,
    ) {
        self.push(connection, direction, text, packet, None);
    }

    fn push(
        &self,
        connection: &str,
        direction: Direction,
        mut text: String,
        packet: Option<Packet>,
        malformed: Option<Malformed>,
    ) {
        cut(&mut text, TEXT_MAX);
        let at = self.start.elapsed();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            let connection = connection.to_owned();
            lines.push(Line { at, connection, direction, text, packet, malformed });
        }
    }
}

/// Cuts off what a peer made too long to be read.
pub(crate) fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
}

/// What [`Peer::next_packet`](crate::Peer::next_packet) gave.
pub(crate) fn came(packet: Option<Packet>) -> String {
    packet.map_or_else(|| "the end of the connection".to_owned(), |packet| packet.to_string())
}

/// The packet as `dunlin decode` shows it, with the beginning of its payload.
pub(crate) fn describe(packet: &Packet) -> String {
    match packet {
        Packet::Publish(publish) if !publish.payload.is_empty() => {
            const SHOWN: usize = 32;
            let shown = &publish.payload[..publish.payload.len().min(SHOWN)];
            match std::str::from_utf8(shown) {
                Ok(text) => format!("{packet} {text:?}"),
                Err(_) => format!("{packet} {}", digits(shown)),
            }
        }
        _ => packet.to_string(),
    }
}
