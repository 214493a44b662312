//! The layers between one client's socket and MQTT: TLS, and WebSocket within it or without it.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use bytes::{Buf, BytesMut};
use dunlin_transport::tls::{HEADROOM, TlsSession};
use dunlin_transport::websocket::upgrade::{ClientUpgrade, Request};
use dunlin_transport::websocket::{End, Role, WebSocket};

use crate::transport::{Transport, WebSocketTarget};

/// Bytes of MQTT in one frame at most, and in one step of encryption.
const STEP_LEN_MAX: usize = 64 * 1024;

/// What TLS and WebSocket know of one connection.
#[derive(Debug)]
pub(crate) struct Layers {
    tls: Option<TlsSession>,
    web: Option<Web>,
    /// Frames, or the request for the upgrade, that the layer below has not taken.
    pending: BytesMut,
    /// The peer has ended TLS or the WebSocket.
    has_ended: bool,
    keys: Keys,
}

/// How far a WebSocket is.
#[derive(Debug)]
enum Web {
    /// The request is sent, and so much of the answer has come.
    Upgrading(ClientUpgrade, BytesMut),
    Open(WebSocket),
}

/// What frames are masked with: nobody who does not know the secret of the hasher can tell the next
/// one (RFC 6455, section 5.3).
#[derive(Debug, Default)]
struct Keys {
    secret: RandomState,
    count: u64,
}

impl Keys {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.secret.hash_one(self.count)
    }

    fn mask(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }

    fn nonce(&mut self) -> [u8; 16] {
        let both = u128::from(self.next()) << 64 | u128::from(self.next());
        both.to_ne_bytes()
    }
}

impl Layers {
    /// Those of a new connection; `None` where MQTT lies directly on TCP.
    pub(crate) fn new(transport: &Transport) -> io::Result<Option<Box<Self>>> {
        let Transport { tls, web_socket, .. } = transport;
        if tls.is_none() && web_socket.is_none() {
            return Ok(None);
        }
        let (mut keys, mut pending) = (Keys::default(), BytesMut::new());
        let tls = tls.as_ref().map(|tls| tls.connector.session(&tls.host));
        let web = web_socket.as_ref().map(|WebSocketTarget { host, path }| {
            let request = Request { host, path, headers: &[] };
            let upgrade = ClientUpgrade::new(&request, keys.nonce(), &mut pending);
            upgrade.map(|upgrade| Web::Upgrading(upgrade, BytesMut::new()))
        });
        Ok(Some(Box::new(Self {
            tls: tls.transpose().map_err(io::Error::other)?,
            web: web.transpose().map_err(io::Error::other)?,
            pending,
            has_ended: false,
            keys,
        })))
    }

    /// Whether MQTT can be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.tls.as_ref().is_some_and(TlsSession::is_handshaking)
            && !matches!(self.web, Some(Web::Upgrading(..)))
    }

    /// Whether the socket has taken all that it was given.
    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && !self.tls.as_ref().is_some_and(TlsSession::has_pending)
    }

    /// Reads once from the socket. Gives how many bytes of MQTT are at the front of the buffer, and
    /// whether another read may give more.
    ///
    /// # Errors
    /// Those of the socket and of both layers; `UnexpectedEof` at the end of any of the three.
    pub(crate) fn read<S: Read + Write>(
        &mut self,
        stream: &mut S,
        buffer: &mut [u8],
    ) -> io::Result<(usize, bool)> {
        if self.has_ended {
            let why = self.tls.as_ref().map_or(Ok(()), TlsSession::check);
            return Err(why.map_or_else(io::Error::other, |()| ErrorKind::UnexpectedEof.into()));
        }
        let from = if self.tls.is_some() { HEADROOM } else { 0 };
        let room = buffer.get_mut(from..).unwrap_or_default();
        let read = stream.read(room)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let is_full = read == room.len();
        let mut len = read;
        if let Some(tls) = &mut self.tls {
            let decrypted = tls.decrypt_in_place(buffer, from..from + read);
            if decrypted.is_err() {
                // The alert that says why; whoever has closed does not read it.
                let _ = tls.write_to(stream);
            }
            let decrypted = decrypted.map_err(io::Error::other)?;
            len = decrypted.len;
            self.has_ended = decrypted.is_closed || decrypted.is_broken;
        }
        len = self.unframe(&mut buffer[..len])?;
        match self.flush(stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            flushed => flushed?,
        }
        Ok((len, is_full || self.has_ended))
    }

    /// Leaves the MQTT that is within frames at the front; how much it is.
    fn unframe(&mut self, input: &mut [u8]) -> io::Result<usize> {
        let mut len = input.len();
        if let Some(Web::Upgrading(upgrade, answer)) = &mut self.web {
            answer.extend_from_slice(input);
            if !upgrade.handle_input(answer).map_err(io::Error::other)? {
                return Ok(0);
            }
            // No longer than what has come now: the answer before it was not complete.
            len = answer.len();
            input[..len].copy_from_slice(answer);
            self.web = Some(Web::Open(WebSocket::new(Role::Client)));
        }
        let Some(Web::Open(web_socket)) = &mut self.web else { return Ok(len) };
        let decoded = web_socket.decode(&mut input[..len]);
        if let Some(End::Violation(violation)) = decoded.end {
            return Err(io::Error::other(violation));
        }
        self.has_ended |= decoded.end.is_some();
        Ok(decoded.len)
    }

    /// Takes bytes of MQTT as long as the socket takes them; how many it were.
    ///
    /// # Errors
    /// Those of the socket, except `WouldBlock`.
    pub(crate) fn write<S: Write>(&mut self, stream: &mut S, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            match self.flush(stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
                flushed => flushed?,
            }
            let rest = &bytes[taken..];
            if rest.is_empty() || !self.is_open() {
                return Ok(taken);
            }
            let step = &rest[..rest.len().min(STEP_LEN_MAX)];
            taken += match (&mut self.web, &mut self.tls) {
                (Some(Web::Open(web_socket)), _) => {
                    let key = Some(self.keys.mask());
                    if !web_socket.encode(step, key, &mut self.pending) {
                        // After a close frame nothing is sent any more.
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                    step.len()
                }
                (_, Some(tls)) => tls.encrypt(&[IoSlice::new(step)])?,
                _ => return Ok(taken),
            };
        }
    }

    /// Writes what is held: of the handshake, frames, and a pong or close frame that is owed.
    ///
    /// # Errors
    /// Those of the socket, `WouldBlock` among them: the rest waits.
    fn flush<S: Write>(&mut self, stream: &mut S) -> io::Result<()> {
        loop {
            if let Some(tls) = &mut self.tls {
                tls.write_to(stream)?;
                if tls.is_handshaking() {
                    return Ok(());
                }
            }
            if self.pending.is_empty() {
                let Some(Web::Open(web_socket)) = &mut self.web else { return Ok(()) };
                let owes = web_socket.owes_control();
                if !owes || !web_socket.poll_control(Some(self.keys.mask()), &mut self.pending) {
                    return Ok(());
                }
            }
            let taken = match &mut self.tls {
                Some(tls) => tls.encrypt(&[IoSlice::new(&self.pending)]),
                None => stream.write(&self.pending),
            };
            match taken {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.pending.advance(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
