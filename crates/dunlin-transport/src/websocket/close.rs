//! Why a WebSocket ends: the codes of close frames, and what costs a peer its connection.

use std::fmt;

/// The status code of a close frame (RFC 6455, section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// A rule of RFC 6455 was broken.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that isn't accepted: for MQTT, text.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Data that isn't what its kind says: text that isn't UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of this end was broken that has no code of its own.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// This end failed.
    pub const INTERNAL_ERROR: Self = Self(1011);

    /// The code with this number, if a close frame may carry it: 1005, 1006 and 1015 are for use
    /// inside an application, others aren't given out.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a peer did that a WebSocket may not; it ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// One of RSV1 to RSV3 is set, though no extension was agreed on.
    #[error("a reserved bit is set without an extension")]
    ReservedBits,
    /// An opcode that RFC 6455 keeps for later.
    #[error("unknown opcode {0:#x}")]
    UnknownOpcode(u8),
    /// MQTT travels in binary frames only [MQTT-6.0.0-1].
    #[error("a text frame where only binary ones carry MQTT")]
    TextFrame,
    /// A client must mask its frames.
    #[error("a client's frame is not masked")]
    NotMasked,
    /// A server must not mask its frames.
    #[error("a server's frame is masked")]
    Masked,
    /// Close, ping and pong fit one frame.
    #[error("a control frame in fragments")]
    FragmentedControl,
    /// Close, ping and pong carry 125 bytes at most.
    #[error("a control frame of more than 125 bytes")]
    LongControl,
    /// A shorter form of the length would have done.
    #[error("a length that is not in its shortest form")]
    LengthNotMinimal,
    /// The length's highest bit is set.
    #[error("a length of 2^63 or more")]
    LengthTooLarge,
    /// A continuation of no message.
    #[error("a continuation frame outside of a message")]
    OrphanContinuation,
    /// A new message before the one before had its last frame.
    #[error("a new message inside a fragmented one")]
    InterruptedMessage,
    /// [`EMPTY_FRAMES_MAX`](super::EMPTY_FRAMES_MAX) was passed.
    #[error("too many frames without payload in a row")]
    EmptyFrames,
    /// The payload of a close frame is one byte, or a code that isn't for use on the wire.
    #[error("a close frame with an invalid code")]
    InvalidCloseCode,
    /// The reason in a close frame isn't UTF-8.
    #[error("a close frame whose reason is not UTF-8")]
    InvalidCloseReason,
}

impl Violation {
    /// What the close frame tells the peer.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::TextFrame => CloseCode::UNSUPPORTED_DATA,
            Self::EmptyFrames => CloseCode::POLICY_VIOLATION,
            Self::InvalidCloseReason => CloseCode::INVALID_PAYLOAD,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
