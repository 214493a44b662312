//! What was said on the connections of a check, in order.

use crate::hex::digits;
use bytes::BytesMut;
use dunlin_codec::{Decoder, Packet, ProtocolVersion};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More lines than this are only counted: a peer may send without end.
const LINES_MAX: usize = 20_000;

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
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }
}

impl Exchange {
    /// The lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn packet(&self, connection: &str, direction: Direction, packet: &Packet) {
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
        let at = self.start.elapsed();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            let connection = connection.to_owned();
            lines.push(Line { at, connection, direction, text, packet });
        }
    }
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
