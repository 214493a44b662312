//! A connection whose handshake is under way.

use crate::core::Durability;
use crate::net::Stream;
use bytes::BytesMut;
use dunlin_transport::tls::{HEADROOM, TlsSession};
use std::io::{self, ErrorKind, Read};

pub(super) struct HalfOpen {
    pub(super) stream: Stream,
    pub(super) tls: Box<TlsSession>,
    pub(super) durability: Durability,
    /// Tells it from others that had its place.
    pub(super) number: u64,
}

/// How far a handshake is.
pub(super) enum Progress {
    /// The peer has to send, or to read, first.
    Waits,
    /// It is over; what the peer has sent right behind it.
    Finished { rest: BytesMut },
}

impl HalfOpen {
    /// Reads and answers.
    ///
    /// # Errors
    /// The connection is over: the peer was told why, if there is anything to tell.
    pub(super) fn go_on(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        self.flush()?;
        loop {
            let count = match self.stream.read(&mut buffer[HEADROOM..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waits),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let decrypted = self.tls.decrypt_in_place(buffer, HEADROOM..HEADROOM + count);
            self.flush()?;
            let decrypted = decrypted.map_err(io::Error::other)?;
            if !self.tls.is_handshaking() {
                return Ok(Progress::Finished { rest: BytesMut::from(&buffer[..decrypted.len]) });
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.tls.write_to(&mut self.stream) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}
