//! The socket of a connection: reads into the worker's buffer, writes what the core has for it.

use super::transport::{Taken, Written};
use super::{Foreign, Transport};
use crate::admission::Permit;
use crate::core::ConnectionKey;
use bytes::BytesMut;
use dunlin_protocol::codec::TransmitBuf;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Pieces of output that one write takes.
pub(super) const PIECES_MAX: usize = 256;

/// How often a connection that is over is read in one turn.
const DISCARDS_PER_TURN: usize = 16;

/// The socket of a connection, and what was read of it and not taken.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    /// Counts it for its address, if that has a limit.
    pub(crate) permit: Option<Box<Permit>>,
    pub(crate) key: ConnectionKey,
    /// The listener that it came in by, among those of the configuration; the number behind them
    /// stands for connections from within the process.
    pub(crate) listener: u16,
    /// The beginning of a packet whose end has not arrived, or input of a paused connection.
    /// Usually empty, and then without memory.
    pub(crate) rest: BytesMut,
    /// Whether there may be more to read.
    pub(crate) is_readable: bool,
    /// Whether the peer has closed its side: the end comes after what is still to be read.
    pub(crate) is_read_closed: bool,
    /// Whether the last write took all it was given.
    pub(crate) is_writable: bool,
    /// Whether it has no session yet.
    pub(crate) is_fresh: bool,
    /// What its client speaks, if that is something else.
    pub(crate) foreign: Option<Foreign>,
    /// Held while a login waits for its turn, which is left out when this is gone.
    pub(crate) login: Option<Arc<()>>,
    /// Whether its login was refused, which the log was told.
    pub(crate) is_refused: bool,
    /// Whether it is in the list of those to be read.
    pub(crate) is_listed: bool,
    /// For how many reads it is still one whose input takes long.
    pub(crate) dear_reads: u8,
    /// Whether nothing is read for now.
    pub(crate) is_paused: bool,
    /// The connection is over: what is left of its output is written, then the peer may close.
    pub(crate) is_closing: bool,
    /// Nothing can be written any more. What the peer has sent before is still read: a DISCONNECT
    /// may be among it.
    pub(crate) is_broken: bool,
    /// All was written and the peer was told that nothing more comes.
    pub(crate) is_shut: bool,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Bytes, and whether there may be more.
    Bytes(BytesMut),
    /// Nothing now.
    WouldBlock,
    /// The peer has closed, or the connection failed.
    Closed,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// So many bytes went out, all there were.
    Done(usize),
    /// So many bytes went out, and the rest waits for the peer.
    Blocked(usize),
    /// The connection failed.
    Failed,
}

impl Socket {
    pub(crate) fn new(
        transport: Transport,
        permit: Option<Box<Permit>>,
        key: ConnectionKey,
        rest: BytesMut,
        listener: u16,
    ) -> Self {
        Self {
            is_writable: !transport.has_pending(),
            transport,
            permit,
            key,
            listener,
            rest,
            is_readable: true,
            is_read_closed: false,
            is_fresh: true,
            foreign: None,
            login: None,
            is_refused: false,
            is_listed: false,
            dear_reads: 0,
            is_paused: false,
            is_closing: false,
            is_broken: false,
            is_shut: false,
        }
    }

    /// Reads once, into the front of the worker's buffer.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut, len_max: usize) -> Reading {
        let len = buffer.len().min(len_max);
        loop {
            match self.transport.read(&mut buffer[..len]) {
                Ok(Taken { is_end: true, .. }) => return Reading::Closed,
                Ok(Taken { len, may_have_more, .. }) => {
                    // The end may have been announced together with the last bytes.
                    self.is_readable = may_have_more || self.is_read_closed;
                    self.is_writable &= !self.transport.has_pending();
                    return Reading::Bytes(buffer.split_to(len));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return Reading::WouldBlock;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Reading::Closed,
            }
        }
    }

    /// Writes as much as the peer takes.
    pub(crate) fn write(&mut self, out: &mut TransmitBuf) -> Writing {
        let mut written = 0;
        // What is held below goes first; then there is room for more.
        let mut outcome = self.transport.flush();
        loop {
            match outcome {
                Ok(()) if out.is_empty() => return Writing::Done(written),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    return Writing::Blocked(written);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Writing::Failed,
            }
            let taken = match out.contiguous() {
                Some(all) => self.transport.write(&[all], all.len()),
                None => self.write_pieces(out),
            };
            outcome = match taken {
                Ok(Written { len: 0, is_blocked: false }) => return Writing::Failed,
                Ok(Written { len, is_blocked }) => {
                    out.advance(len);
                    written += len;
                    if is_blocked { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Writes the first pieces of output that doesn't lie in one.
    fn write_pieces(&mut self, out: &TransmitBuf) -> io::Result<Written> {
        let mut pieces: [&[u8]; PIECES_MAX] = [&[]; PIECES_MAX];
        let filled = out.pieces(&mut pieces);
        self.transport.write(&pieces[..filled], out.len())
    }

    /// Reads and forgets, after the connection is over; whether the peer has closed. A peer that
    /// goes on sending has its turn again.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> bool {
        for _ in 0..DISCARDS_PER_TURN {
            match self.transport.read(buffer) {
                Ok(Taken { is_end: true, .. }) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        self.is_readable = true;
        false
    }
}
