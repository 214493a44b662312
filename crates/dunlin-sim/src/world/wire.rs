//! A Network Connection with both its ends: what lies in the sockets, what the broker's shell knows
//! of it, and what of its bytes were packets.

use crate::pipe::Pipe;
use bytes::BytesMut;
use dunlin_broker::core::ConnectionKey;
use dunlin_codec::{Decoder, Packet, ProtocolVersion};
use dunlin_protocol::Instant;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) device: u32,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) broker: BrokerEnd,
    pub(super) client: ClientEnd,
}

/// The broker's end: as the worker's shell keeps a socket.
#[derive(Debug)]
pub(super) struct BrokerEnd {
    pub(super) worker: usize,
    /// The connection at its worker; `None` before it is accepted, while it moves, and once it is
    /// closed.
    pub(super) key: Option<ConnectionKey>,
    /// Arrived and not read.
    pub(super) arrived: BytesMut,
    /// The end, or a break, has arrived behind it.
    pub(super) end_arrived: bool,
    /// Read and not taken.
    pub(super) rest: BytesMut,
    pub(super) is_readable: bool,
    pub(super) is_read_closed: bool,
    pub(super) is_writable: bool,
    pub(super) is_fresh: bool,
    pub(super) is_listed: bool,
    pub(super) is_paused: bool,
    pub(super) is_closing: bool,
    pub(super) is_broken: bool,
    pub(super) is_shut: bool,
    /// The same bytes as `rest`, from which packets are read as the broker takes them.
    pub(super) untold: BytesMut,
    pub(super) decoder: Decoder,
    /// A CONNECT that another worker is to take, or that waits for its login, with its length.
    pub(super) moving: Option<(Packet, usize)>,
    /// Whether its session is with another worker than the one that has read it.
    pub(super) moves: bool,
    /// The question about its login that is not answered.
    pub(super) asked: Option<u32>,
    pub(super) has_connect: bool,
    pub(super) malformed: bool,
    /// Whether something waits that the network did not take.
    pub(super) is_blocked: bool,
    /// Written bytes that are no whole packet yet.
    pub(super) written: BytesMut,
    pub(super) written_len: u64,
    pub(super) written_decoder: Decoder,
}

/// The Client's end.
#[derive(Debug, Default)]
pub(super) struct ClientEnd {
    /// Nobody is there any more: what arrives is thrown away.
    pub(super) is_gone: bool,
    /// Packets that the broker wrote, each with the place of its end.
    pub(super) packets: VecDeque<(u64, Packet)>,
    pub(super) taken_len: u64,
    /// Nothing is read before.
    pub(super) stuck_until: Instant,
}

impl Wire {
    pub(super) fn new(device: u32, up: Pipe, down: Pipe, worker: usize, size_max: u32) -> Self {
        Self {
            device,
            up,
            down,
            broker: BrokerEnd {
                worker,
                key: None,
                arrived: BytesMut::new(),
                end_arrived: false,
                rest: BytesMut::new(),
                is_readable: true,
                is_read_closed: false,
                is_writable: true,
                is_fresh: true,
                is_listed: false,
                is_paused: false,
                is_closing: false,
                is_broken: false,
                is_shut: false,
                untold: BytesMut::new(),
                decoder: Decoder::new(ProtocolVersion::V3_1_1, size_max),
                moving: None,
                moves: false,
                asked: None,
                has_connect: false,
                malformed: false,
                is_blocked: false,
                written: BytesMut::new(),
                written_len: 0,
                written_decoder: Decoder::new(ProtocolVersion::V3_1_1, u32::MAX),
            },
            client: ClientEnd::default(),
        }
    }
}

impl BrokerEnd {
    /// Whether something has arrived that the broker does not read yet.
    pub(super) fn waits_to_be_read(&self) -> bool {
        let is_open = self.key.is_some() && !self.is_closing;
        is_open && self.is_paused && !(self.arrived.is_empty() && self.rest.is_empty())
    }
}
