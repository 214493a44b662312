//! A connection of a client with a Session, over a socket that blocks.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::wire;
use crate::frame::{self, Frame, SUBACK};
use crate::handshake;

/// How long one read waits.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// How long the broker may owe somebody something and be silent: a broker short of memory is slow, and
/// so is one that syncs a disk which others use.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and what has come by it.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes at the front of the input that were taken.
    taken: usize,
    room: Box<[u8]>,
}

impl Link {
    /// Connects to the Session, or makes it; whether it was there.
    pub(super) fn connect(address: SocketAddr, client_identifier: &str) -> Result<(Self, bool)> {
        let stream = handshake::open(address, 0)?;
        stream.set_read_timeout(Some(TICK))?;
        let room = vec![0; 256 * 1024].into_boxed_slice();
        let mut link = Self { stream, input: Vec::new(), taken: 0, room };
        let mut bytes = Vec::new();
        wire::push_connect(&mut bytes, client_identifier);
        link.send(&bytes)?;
        let is_present = link.await_one(wire::session_present)?;
        Ok((link, is_present))
    }

    /// Subscribes, and waits until that is granted.
    pub(super) fn subscribe(&mut self, topic_filters: &[&str], qos: u8) -> Result<()> {
        let mut bytes = Vec::new();
        wire::push_subscribe(&mut bytes, topic_filters, qos);
        self.send(&bytes)?;
        self.await_one(|frame| {
            ensure!(frame.first == SUBACK, "{:#04x} in place of SUBACK", frame.first);
            let is_granted = frame.body.ends_with(&vec![qos; topic_filters.len()]);
            ensure!(is_granted, "refused: SUBACK {:02x?}", frame.body);
            Ok(())
        })
    }

    /// Says goodbye, and waits until the broker has closed, so that the Session is away for sure.
    pub(super) fn leave(mut self) -> Result<()> {
        handshake::leave(&mut self.stream)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the broker has ended the connection")
    }

    /// Waits for one frame.
    fn await_one<T>(&mut self, read: impl Fn(&Frame<'_>) -> Result<T>) -> Result<T> {
        let mut silent = Duration::ZERO;
        loop {
            if let Some(frame) = self.next_frame()? {
                return read(&frame);
            }
            silent = if self.fill()? { Duration::ZERO } else { silent + TICK };
            ensure!(silent < PATIENCE, "the broker does not answer");
        }
    }

    /// The next whole frame of what has come.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let frame = frame::split_frame(&self.input[self.taken..])?;
        self.taken += frame.map_or(0, |frame| frame.len);
        Ok(frame)
    }

    /// Waits a moment for more; whether some has come.
    pub(super) fn fill(&mut self) -> Result<bool> {
        self.input.drain(..std::mem::take(&mut self.taken));
        match self.stream.read(&mut self.room) {
            Ok(0) => bail!("the broker has ended the connection"),
            Ok(len) => {
                self.input.extend_from_slice(&self.room[..len]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error).context("the broker has ended the connection"),
        }
    }
}
