//! Both directions of one WebSocket, and what the one owes to the other: pongs and the close frame.

use bytes::BytesMut;

use super::close::CloseCode;
use super::decoder::{Decoded, Decoder, End};
use super::encoder::{Encoder, encode_control};
use super::frame::{FrameHeader, Opcode, Role};

/// A WebSocket after its upgrade.
///
/// What comes in goes through [`decode`](Self::decode), what goes out either through
/// [`encode`](Self::encode), a frame at a time and copied, or between
/// [`begin_frame`](Self::begin_frame) and [`encode_payload`](Self::encode_payload), where it lies.
/// After both, [`poll_control`](Self::poll_control) appends what is owed to the peer: ask it when
/// everything before has been sent, then a peer that only pings and never reads costs one pong.
#[derive(Debug)]
pub struct WebSocket {
    decoder: Decoder,
    encoder: Encoder,
    /// The payload of the last ping that has no answer yet.
    ping: Option<Vec<u8>>,
    closing: Closing,
}

/// How far this end is with its close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Owed(Option<CloseCode>),
    Sent,
}

impl WebSocket {
    /// Right after the upgrade.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            decoder: Decoder::new(role),
            encoder: Encoder::new(),
            ping: None,
            closing: Closing::No,
        }
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.decoder.role()
    }

    /// Takes all of the input, and leaves the payload in it at its front: `n` bytes give at most
    /// `n`, and nothing is held back but the beginning of a header.
    ///
    /// At the [`End`] a close frame is owed.
    pub fn decode(&mut self, input: &mut [u8]) -> Decoded {
        let decoded = self.decoder.decode(input, &mut self.ping);
        match decoded.end {
            Some(End::Closed(code)) => self.owe_close(code),
            Some(End::Violation(violation)) => self.owe_close(Some(violation.close_code())),
            None => {}
        }
        decoded
    }

    /// Ends the WebSocket from this side: a close frame is owed. What is sent before it is asked for
    /// goes before it, and what the peer sends until it closes is still decoded.
    pub fn begin_close(&mut self, code: CloseCode) {
        self.owe_close(Some(code));
    }

    fn owe_close(&mut self, code: Option<CloseCode>) {
        if self.closing == Closing::No {
            self.closing = Closing::Owed(code);
        }
    }

    /// Whether the close frame has been handed out: once it is sent, a server closes the Network
    /// Connection.
    #[must_use]
    pub fn has_sent_close(&self) -> bool {
        self.closing == Closing::Sent
    }

    /// Bytes of payload that the frame being sent still lacks.
    #[must_use]
    pub const fn frame_remaining(&self) -> usize {
        self.encoder.remaining()
    }

    /// Begins a binary frame of that many bytes [MQTT-6.0.0-1]; its header is to be sent before them.
    ///
    /// A client passes a new and unforeseeable masking key with each frame, a server none. `None`
    /// inside a frame and after the close frame.
    pub fn begin_frame(&mut self, payload_len: usize, key: Option<[u8; 4]>) -> Option<FrameHeader> {
        if self.closing == Closing::Sent {
            return None;
        }
        self.encoder.begin_frame(payload_len, key)
    }

    /// Masks the next bytes of the frame where they lie, if it is masked, and counts them as sent.
    /// Returns how many belong to the frame.
    pub fn encode_payload(&mut self, payload: &mut [u8]) -> usize {
        self.encoder.encode_payload(payload)
    }

    /// Counts bytes of the frame that were sent unmasked, as a server's are. Returns how many
    /// belong to the frame.
    pub fn advance(&mut self, len: usize) -> usize {
        self.encoder.advance(len)
    }

    /// Appends a whole binary frame. `false` inside a frame and after the close frame, where
    /// nothing is appended.
    pub fn encode(&mut self, payload: &[u8], key: Option<[u8; 4]>, output: &mut BytesMut) -> bool {
        let Some(header) = self.begin_frame(payload.len(), key) else { return false };
        output.reserve(header.as_bytes().len() + payload.len());
        output.extend_from_slice(header.as_bytes());
        let start = output.len();
        output.extend_from_slice(payload);
        self.encode_payload(output.get_mut(start..).unwrap_or_default());
        true
    }

    /// Whether the peer has to be sent a pong or a close frame.
    #[must_use]
    pub fn owes_control(&self) -> bool {
        match self.closing {
            Closing::No => self.ping.is_some(),
            Closing::Owed(_) => true,
            Closing::Sent => false,
        }
    }

    /// Appends what is owed to the peer, which is one pong at most, or the close frame; with a
    /// masking key as in [`begin_frame`](Self::begin_frame). `false` if nothing was appended,
    /// because nothing is owed or a frame is not complete.
    pub fn poll_control(&mut self, key: Option<[u8; 4]>, output: &mut BytesMut) -> bool {
        if self.encoder.remaining() > 0 {
            return false;
        }
        match self.closing {
            Closing::No => {
                let Some(payload) = self.ping.take() else { return false };
                encode_control(Opcode::Pong, &payload, key, output);
            }
            // A pong is not owed beside it (RFC 6455, section 5.5.2).
            Closing::Owed(code) => {
                let number = code.map(|code| code.number().to_be_bytes());
                let payload = number.as_ref().map_or(&[][..], |number| &number[..]);
                encode_control(Opcode::Close, payload, key, output);
                self.closing = Closing::Sent;
                self.ping = None;
            }
            Closing::Sent => return false,
        }
        true
    }
}
