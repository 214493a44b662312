//! Frame headers (RFC 6455, section 5.2): their bytes, and which of them each role may send.

use super::close::Violation;
use super::mask::Mask;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Masks what it sends, and gets unmasked frames.
    Client,
    /// Gets masked frames, and never masks.
    Server,
}

/// Two bytes, the longest form of the length, the masking key.
pub(super) const HEADER_LEN_MAX: usize = 14;
/// A control frame carries no more.
pub(super) const CONTROL_LEN_MAX: u64 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame is, of those that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    /// The last frame of its message.
    pub(super) fin: bool,
    pub(super) payload_len: u64,
    pub(super) mask: Option<Mask>,
}

/// How many bytes the header has that begins with these; two are needed to say it.
pub(super) const fn header_len(second: u8) -> usize {
    let length = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED == 0 { 0 } else { 4 }
}

/// Checks what the first two bytes tell, before more of the header is waited for.
pub(super) fn check_start(first: u8, second: u8, receiver: Role) -> Result<Opcode, Violation> {
    let opcode = opcode(first)?;
    match (receiver, second & MASKED != 0) {
        (Role::Server, false) => return Err(Violation::NotMasked),
        (Role::Client, true) => return Err(Violation::Masked),
        _ => {}
    }
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(Violation::FragmentedControl);
        }
        if u64::from(second & !MASKED) > CONTROL_LEN_MAX {
            return Err(Violation::LongControl);
        }
    }
    Ok(opcode)
}

fn opcode(first: u8) -> Result<Opcode, Violation> {
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    match first & 0x0f {
        0x0 => Ok(Opcode::Continuation),
        0x1 => Err(Violation::TextFrame),
        0x2 => Ok(Opcode::Binary),
        0x8 => Ok(Opcode::Close),
        0x9 => Ok(Opcode::Ping),
        0xa => Ok(Opcode::Pong),
        unknown => Err(Violation::UnknownOpcode(unknown)),
    }
}

/// Reads a header that is whole: of these bytes the first [`header_len`] count.
pub(super) fn parse(header: &[u8; HEADER_LEN_MAX], receiver: Role) -> Result<Frame, Violation> {
    let [first, second, rest @ ..] = *header;
    let opcode = check_start(first, second, receiver)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = rest;
    let short = u64::from(second & !MASKED);
    let (payload_len, key) = match short {
        126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
        127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [i, j, k, l]),
        _ => (short, [a, b, c, d]),
    };
    let minimal = match short {
        126 => payload_len >= 126,
        127 => payload_len > u64::from(u16::MAX),
        _ => true,
    };
    if payload_len > i64::MAX as u64 {
        return Err(Violation::LengthTooLarge);
    }
    if !minimal {
        return Err(Violation::LengthNotMinimal);
    }
    let mask = (second & MASKED != 0).then(|| Mask::new(key));
    Ok(Frame { opcode, fin: first & FIN != 0, payload_len, mask })
}

/// The bytes of a header to be sent before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; HEADER_LEN_MAX],
    len: u8,
}

impl FrameHeader {
    /// The header of an unfragmented frame.
    pub(super) fn new(opcode: Opcode, payload_len: usize, key: Option<[u8; 4]>) -> Self {
        let mut header = Self { bytes: [0; HEADER_LEN_MAX], len: 0 };
        let masked = if key.is_some() { MASKED } else { 0 };
        header.push(&[FIN | opcode as u8]);
        match payload_len {
            0..=125 => header.push(&[masked | payload_len as u8]),
            126..=0xffff => {
                header.push(&[masked | 126]);
                header.push(&(payload_len as u16).to_be_bytes());
            }
            _ => {
                header.push(&[masked | 127]);
                header.push(&(payload_len as u64).to_be_bytes());
            }
        }
        if let Some(key) = key {
            header.push(&key);
        }
        header
    }

    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(usize::from(self.len)).zip(bytes) {
            *place = *byte;
            self.len += 1;
        }
    }

    /// What goes to the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for FrameHeader {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}
