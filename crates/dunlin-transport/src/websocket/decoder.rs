//! Takes frames off a stream, in place: what is left is the payload of the data frames.

use std::mem;

use super::close::{CloseCode, Violation};
use super::frame::{self, Frame, HEADER_LEN_MAX, Opcode, Role};
use super::mask::Mask;

/// So many data frames in a row may be empty: they cost work, and are no sign of life.
///
/// Pings and pongs don't count: a client may send nothing else for days. Whoever limits what a
/// client sends has to count bytes of the wire.
pub const EMPTY_FRAMES_MAX: u16 = 1_000;

/// Unmasks what a peer sends, and joins the payloads of its data frames.
///
/// No frame is ever held: each part of a payload goes on as it comes, and the length that a header
/// claims is only counted down. What waits inside is the header that isn't whole yet (13 bytes at
/// most) and the payload of a ping or close frame (125 bytes at most).
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    end: Option<End>,
    /// A message has had its first frame and not its last.
    message_open: bool,
    empty_frames: u16,
    header_len: u8,
    header: [u8; HEADER_LEN_MAX],
    state: State,
    /// What has come of a ping's or close frame's payload.
    control: Vec<u8>,
}

/// Where in a frame the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload { opcode: Opcode, remaining: u64, mask: Option<Mask> },
}

/// Why no payload comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, with its code if it gave one.
    Closed(Option<CloseCode>),
    /// The peer broke a rule.
    Violation(Violation),
}

/// What has become of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decoded {
    /// So many bytes at the front of the input are payload; what is behind them has no meaning.
    pub len: usize,
    /// Set from the moment on when the peer closed or broke a rule: the payload before it counts,
    /// all that comes later is discarded.
    pub end: Option<End>,
}

impl Decoder {
    /// For the stream towards this end.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            end: None,
            message_open: false,
            empty_frames: 0,
            header_len: 0,
            header: [0; HEADER_LEN_MAX],
            state: State::Header,
            control: Vec::new(),
        }
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Takes all of the input, and leaves the payload in it at its front.
    ///
    /// `ping` gets the payload of the last ping in it, in place of an earlier one: only that one has
    /// to be answered (RFC 6455, section 5.5.3).
    pub fn decode(&mut self, input: &mut [u8], ping: &mut Option<Vec<u8>>) -> Decoded {
        let mut len = 0;
        let mut at = 0;
        while at < input.len() && self.end.is_none() {
            match self.state {
                State::Header => {
                    let unread = input.get(at..).unwrap_or_default();
                    at += self.read_header(unread, ping);
                }
                State::Payload { opcode, remaining, mut mask } => {
                    let available = input.len() - at;
                    let part = usize::try_from(remaining).map_or(available, |n| n.min(available));
                    // Inside a long frame a read is all payload, and lies where it should.
                    if at != len {
                        input.copy_within(at..at + part, len);
                    }
                    let payload = input.get_mut(len..len + part).unwrap_or_default();
                    if let Some(mask) = &mut mask {
                        mask.apply(payload);
                    }
                    match opcode {
                        Opcode::Binary | Opcode::Continuation => len += part,
                        Opcode::Close | Opcode::Ping => self.control.extend_from_slice(payload),
                        Opcode::Pong => {}
                    }
                    at += part;
                    let remaining = remaining - part as u64;
                    self.state = State::Payload { opcode, remaining, mask };
                    if remaining == 0 {
                        self.finish_frame(opcode, ping);
                    }
                }
            }
        }
        Decoded { len, end: self.end }
    }

    /// Reads on in a header; returns the bytes taken.
    fn read_header(&mut self, input: &[u8], ping: &mut Option<Vec<u8>>) -> usize {
        if self.header_len == 0
            && let Some(header) = input.first_chunk()
        {
            self.begin_payload(header, ping);
            return frame::header_len(header[1]);
        }
        let mut taken = self.fill_header(2, input);
        if self.header_len < 2 {
            return taken;
        }
        let [first, second, ..] = self.header;
        if let Err(violation) = frame::check_start(first, second, self.role) {
            self.end = Some(End::Violation(violation));
            return taken;
        }
        let wanted = frame::header_len(second);
        taken += self.fill_header(wanted, input.get(taken..).unwrap_or_default());
        if usize::from(self.header_len) < wanted {
            return taken;
        }
        let header = mem::take(&mut self.header);
        self.header_len = 0;
        self.begin_payload(&header, ping);
        taken
    }

    /// Turns from a header that is whole to what follows it.
    fn begin_payload(&mut self, header: &[u8; HEADER_LEN_MAX], ping: &mut Option<Vec<u8>>) {
        let frame = frame::parse(header, self.role).and_then(|frame| self.begin_frame(frame));
        match frame {
            Ok(Frame { opcode, payload_len: 0, .. }) => self.finish_frame(opcode, ping),
            Ok(Frame { opcode, payload_len, mask, .. }) => {
                self.state = State::Payload { opcode, remaining: payload_len, mask };
            }
            Err(violation) => self.end = Some(End::Violation(violation)),
        }
    }

    /// Takes bytes until there are so many of the header; returns how many it took.
    fn fill_header(&mut self, wanted: usize, input: &[u8]) -> usize {
        let place = self.header.get_mut(usize::from(self.header_len)..wanted).unwrap_or_default();
        let len = place.len().min(input.len());
        let (place, _) = place.split_at_mut(len);
        place.copy_from_slice(&input[..len]);
        self.header_len += len as u8;
        len
    }

    /// Checks a frame against those before it.
    fn begin_frame(&mut self, frame: Frame) -> Result<Frame, Violation> {
        match frame.opcode {
            Opcode::Binary if self.message_open => return Err(Violation::InterruptedMessage),
            Opcode::Continuation if !self.message_open => {
                return Err(Violation::OrphanContinuation);
            }
            Opcode::Binary | Opcode::Continuation => {
                self.message_open = !frame.fin;
                self.empty_frames = if frame.payload_len == 0 { self.empty_frames + 1 } else { 0 };
                if self.empty_frames > EMPTY_FRAMES_MAX {
                    return Err(Violation::EmptyFrames);
                }
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        Ok(frame)
    }

    fn finish_frame(&mut self, opcode: Opcode, ping: &mut Option<Vec<u8>>) {
        self.state = State::Header;
        match opcode {
            Opcode::Binary | Opcode::Continuation | Opcode::Pong => {}
            Opcode::Ping => *ping = Some(mem::take(&mut self.control)),
            Opcode::Close => {
                let payload = mem::take(&mut self.control);
                self.end = Some(close_code(&payload).map_or_else(End::Violation, End::Closed));
            }
        }
    }
}

/// What a close frame says (RFC 6455, section 5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    match payload {
        [] => Ok(None),
        [first, second, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*first, *second]));
            let code = code.ok_or(Violation::InvalidCloseCode)?;
            str::from_utf8(reason).map_err(|_| Violation::InvalidCloseReason)?;
            Ok(Some(code))
        }
        [_] => Err(Violation::InvalidCloseCode),
    }
}
