//! `-d`: every packet that goes over the connection, on standard error.

use bytes::BytesMut;
use dunlin_codec::{Decoder, ProtocolVersion};

const PACKET_SIZE_MAX: u32 = 268_435_460;

/// Follows both directions of a connection.
pub(super) struct Trace {
    decoder: Decoder,
    sent: BytesMut,
    received: BytesMut,
}

impl Trace {
    pub(super) fn new(version: ProtocolVersion) -> Self {
        let decoder = Decoder::new(version, PACKET_SIZE_MAX);
        Self { decoder, sent: BytesMut::new(), received: BytesMut::new() }
    }

    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        show(self.decoder, ">", &mut self.sent);
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        show(self.decoder, "<", &mut self.received);
    }
}

fn show(decoder: Decoder, direction: &str, bytes: &mut BytesMut) {
    loop {
        match decoder.decode(bytes) {
            Ok(Some(packet)) => eprintln!("{direction} {packet}"),
            Ok(None) => return,
            Err(error) => {
                // The connection ends for it, and says why.
                eprintln!("{direction} no packet: {error}");
                bytes.clear();
                return;
            }
        }
    }
}
