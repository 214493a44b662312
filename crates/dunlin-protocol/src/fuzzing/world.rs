//! What surrounds the connection that is fuzzed: the bytes that drive it, time, and both buffers.

use crate::{AckToken, Instant};
use bytes::BytesMut;
use core::time::Duration;
use dunlin_codec::{Decoder, Packet, PacketType, ProtocolVersion, ReasonCode, TransmitBuf};

/// The bytes that drive a run; zero for ever once they are used up.
pub(super) struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::from(self.byte()) % items.len()]
    }

    pub(super) fn version(&mut self) -> ProtocolVersion {
        use ProtocolVersion::{V3_1, V3_1_1, V5};
        self.pick(&[V5, V3_1_1, V3_1, V5])
    }

    pub(super) fn reason_code(&mut self) -> ReasonCode {
        match self.byte() {
            byte @ 0x80.. => ReasonCode::new(byte).unwrap_or(ReasonCode::UnspecifiedError),
            _ => ReasonCode::Success,
        }
    }
}

pub(super) struct World {
    pub(super) now: Instant,
    /// Bytes on their way to the connection.
    under_way: BytesMut,
    pub(super) input: BytesMut,
    pub(super) out: TransmitBuf,
    pub(super) owed: alloc::vec::Vec<AckToken>,
    /// Whether the connection is over, and so has to be silent.
    pub(super) is_over: bool,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            under_way: BytesMut::new(),
            input: BytesMut::new(),
            out: TransmitBuf::new(),
            owed: alloc::vec::Vec::new(),
            is_over: false,
        }
    }

    /// A new Network Connection.
    pub(super) fn reconnect(&mut self) {
        *self = Self { now: self.now, ..Self::new() };
    }

    pub(super) fn wait(&mut self, choices: &mut Choices<'_>) {
        self.now = self.now + Duration::from_secs(u64::from(choices.byte()));
    }

    /// The peer sends a well-formed packet.
    pub(super) fn send(&mut self, packet: &Packet, version: ProtocolVersion) {
        let mut encoded = TransmitBuf::new();
        if packet.encode(version, u32::MAX, &mut encoded).is_ok() {
            drain(&mut encoded, &mut self.under_way);
        }
    }

    /// The peer sends bytes.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        self.under_way.extend_from_slice(bytes);
    }

    /// So many bytes arrive.
    pub(super) fn arrive(&mut self, len: usize) {
        let len = len.min(self.under_way.len());
        self.input.unsplit(self.under_way.split_to(len));
    }

    pub(super) fn take_owed(&mut self, choices: &mut Choices<'_>) -> Option<AckToken> {
        if self.owed.is_empty() {
            return None;
        }
        let index = usize::from(choices.byte()) % self.owed.len();
        Some(self.owed.remove(index))
    }

    /// Takes the output: whole, legal packets, none larger than the peer takes, none after the
    /// connection's end.
    pub(super) fn check_output(
        &mut self,
        version: ProtocolVersion,
        packet_size_max: u32,
        is_over: bool,
    ) {
        assert!(!self.is_over || self.out.is_empty(), "a connection that is over sends something");
        self.is_over = is_over;
        let mut bytes = BytesMut::new();
        drain(&mut self.out, &mut bytes);
        let decoder = Decoder::new(version, u32::MAX);
        while !bytes.is_empty() {
            let before = bytes.len();
            let packet = decoder.decode(&mut bytes).expect("output is legal");
            let packet = packet.expect("output is whole");
            let len = before - bytes.len();
            assert!(len <= packet_size_max as usize, "{packet:?} has {len} bytes");
            if packet.packet_type() == PacketType::Disconnect {
                assert!(bytes.is_empty(), "something follows DISCONNECT");
            }
        }
    }
}

fn drain(out: &mut TransmitBuf, bytes: &mut BytesMut) {
    while !out.is_empty() {
        let mut pieces = [&[][..]; 4];
        let filled = out.pieces(&mut pieces);
        let mut taken = 0;
        for piece in &pieces[..filled] {
            bytes.extend_from_slice(piece);
            taken += piece.len();
        }
        out.advance(taken);
    }
}
