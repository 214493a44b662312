//! What may lie between a socket and MQTT: TLS, and frames of WebSocket within it or without it.

use super::stream::{Stream, slices_of};
use super::transport::{Taken, Written, ignore_blocked, write_plain};
use bytes::{Buf, BytesMut};
use dunlin_transport::tls::{HEADROOM, TlsSession};
use dunlin_transport::websocket::{CloseCode, End, Role, WebSocket};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

/// Bytes of output that are put into frames before the socket has taken those before them; what is
/// beyond waits where its limit is kept.
const FRAMED_LEN_MAX: usize = 64 * 1024;

/// The longest frame: clients have limits of their own for it, 16 MiB among them.
const FRAME_LEN_MAX: usize = 4 * 1024 * 1024;

/// How often what follows the end of a WebSocket is read and forgotten, so that closing the socket
/// doesn't take back the close frame.
const DISCARDS_MAX: usize = 16;

/// The layers of one connection; bytes from the network only get fewer on their way up.
#[derive(Debug, Default)]
pub(super) struct Layers {
    tls: Option<TlsSession>,
    web_socket: Option<WebSocket>,
    /// The peer has ended the WebSocket, well or not: nothing more is MQTT.
    has_ended: bool,
    /// What TLS, or the socket, did not take: frames, or an answer of HTTP. Usually empty, and then
    /// without memory.
    pending: BytesMut,
    /// For whom a proxy has connected.
    peer: Option<SocketAddr>,
    /// Whether a proxy has connected for itself, or does not say for whom.
    is_of_proxy: bool,
}

impl Layers {
    /// Takes note of for whom a proxy has connected.
    pub(super) fn set_peer(&mut self, peer: SocketAddr) {
        self.peer = Some(peer);
    }

    /// Takes note that a proxy has connected for nobody else.
    pub(super) const fn set_of_proxy(&mut self) {
        self.is_of_proxy = true;
    }

    /// Whether a proxy has connected for nobody else.
    pub(super) const fn is_of_proxy(&self) -> bool {
        self.is_of_proxy
    }

    /// For whom a proxy has connected, if one has.
    pub(super) const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// TLS from here on.
    pub(super) fn begin_tls(&mut self, tls: TlsSession) {
        self.tls = Some(tls);
    }

    /// The certificate that the peer has shown and TLS has verified, in DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.peer_certificates().next()
    }

    pub(super) const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(TlsSession::is_handshaking)
    }

    /// Takes bytes for the peer that no WebSocket frames.
    pub(super) fn write_below(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Takes up WebSocket; `rest` has come after the upgrade, and keeps the MQTT in it.
    pub(super) fn begin_web_socket(&mut self, rest: &mut BytesMut) {
        let mut web_socket = WebSocket::new(Role::Server);
        let decoded = web_socket.decode(rest);
        rest.truncate(decoded.len);
        self.web_socket = Some(web_socket);
        self.note_end(decoded.end);
    }

    fn note_end(&mut self, end: Option<End>) {
        if let (Some(End::Violation(violation)), false) = (end, self.has_ended) {
            tracing::debug!("a client broke the rules of WebSocket: {violation}");
        }
        self.has_ended |= end.is_some();
    }

    /// Reads once from the socket, and takes everything off that is not MQTT.
    pub(super) fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<Taken> {
        if self.has_ended {
            return self.read_past_end(stream, buffer);
        }
        let mut taken = match &mut self.tls {
            None => {
                let len = stream.read(buffer)?;
                Taken { len, may_have_more: len == buffer.len(), is_end: len == 0 }
            }
            Some(tls) if tls.is_closed() => {
                return Ok(Taken { len: 0, may_have_more: false, is_end: true });
            }
            Some(_) => self.read_tls(stream, buffer)?,
        };
        if let Some(web_socket) = &mut self.web_socket {
            let decoded = web_socket.decode(&mut buffer[..taken.len]);
            taken.len = decoded.len;
            // The end comes with the next read.
            taken.may_have_more |= decoded.end.is_some();
            let owes = web_socket.owes_control();
            self.note_end(decoded.end);
            if owes && ignore_blocked(self.flush(stream)).is_err() {
                // What was read counts; the next read or write tells.
                taken.may_have_more = true;
            }
        }
        Ok(taken)
    }

    fn read_tls(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<Taken> {
        let Some(tls) = &mut self.tls else { return Err(ErrorKind::InvalidInput.into()) };
        // What came before a fault was taken; now it is told.
        tls.check().map_err(io::Error::other)?;
        let count = stream.read(&mut buffer[HEADROOM..])?;
        let is_full = count == buffer.len() - HEADROOM;
        let decrypted = tls.decrypt_in_place(buffer, HEADROOM..HEADROOM + count);
        // An answer of TLS, or the alert that tells the peer what is wrong. That it can't be written
        // does not undo what was read: a DISCONNECT may be the last of it.
        let flushed = if tls.has_pending() { tls.write_to(stream) } else { Ok(()) };
        let decrypted = decrypted.map_err(io::Error::other)?;
        let is_broken = ignore_blocked(flushed).is_err();
        let may_have_more = is_full || decrypted.is_closed || decrypted.is_broken || is_broken;
        Ok(Taken { len: decrypted.len, may_have_more, is_end: count == 0 })
    }

    /// Nothing counts that comes now. What the kernel still had when the socket is closed would
    /// become a reset, and take the close frame with it.
    fn read_past_end(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<Taken> {
        ignore_blocked(self.flush(stream))?;
        for _ in 0..DISCARDS_MAX {
            match stream.read(buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Ok(Taken { len: 0, may_have_more: false, is_end: true })
    }

    /// Takes as much of the output as may be under way at a time. `total` bytes are there to be
    /// written, and a packet ends with them: one frame has them all unless it would be very long,
    /// since there are clients that look for whole packets in it.
    pub(super) fn write(
        &mut self,
        stream: &mut Stream,
        pieces: &[&[u8]],
        total: usize,
    ) -> io::Result<Written> {
        if !self.pending.is_empty() {
            return Ok(Written { len: 0, is_blocked: true });
        }
        let len = match (&mut self.web_socket, &mut self.tls) {
            (Some(web_socket), _) => frame(web_socket, pieces, total, &mut self.pending)?,
            (None, Some(tls)) => {
                let mut slices = [IoSlice::new(&[]); super::socket::PIECES_MAX];
                tls.encrypt(slices_of(pieces, &mut slices))?
            }
            (None, None) => return write_plain(stream, pieces),
        };
        let is_blocked = match self.flush(stream) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        Ok(Written { len, is_blocked })
    }

    /// Whether the socket did not take all of what it was given.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || self.tls.as_ref().is_some_and(TlsSession::has_pending)
    }

    /// Writes what is held, then what WebSocket owes: a pong, or its close frame.
    pub(super) fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        loop {
            if let Some(tls) = &mut self.tls
                && tls.has_pending()
            {
                tls.write_to(stream)?;
            }
            if self.pending.is_empty() {
                let Some(web_socket) = &mut self.web_socket else { return Ok(()) };
                // Only now, so that who pings and never reads costs one pong.
                if !web_socket.poll_control(None, &mut self.pending) {
                    if !web_socket.has_sent_close() || !self.close_tls() {
                        return Ok(());
                    }
                    continue;
                }
            }
            let taken = match &mut self.tls {
                Some(tls) => tls.encrypt(&[IoSlice::new(&self.pending)]),
                None => stream.write(&self.pending),
            };
            match taken {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) if len == self.pending.len() => self.pending = BytesMut::new(),
                Ok(len) => self.pending.advance(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says goodbye on every layer.
    pub(super) fn close(&mut self, stream: &mut Stream) -> io::Result<()> {
        if let Some(web_socket) = &mut self.web_socket {
            web_socket.begin_close(CloseCode::NORMAL);
        }
        self.flush(stream)?;
        self.close_tls();
        self.flush(stream)
    }

    /// Says goodbye within TLS, once; whether there is something to be written now.
    fn close_tls(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return false };
        tls.close();
        tls.has_pending()
    }
}

/// Puts the first bytes of the output into a frame, or goes on with the one that is not full.
fn frame(
    web_socket: &mut WebSocket,
    pieces: &[&[u8]],
    total: usize,
    framed: &mut BytesMut,
) -> io::Result<usize> {
    let header = match web_socket.frame_remaining() {
        0 => Some(
            web_socket.begin_frame(total.min(FRAME_LEN_MAX), None).ok_or(ErrorKind::BrokenPipe)?,
        ),
        _ => None,
    };
    let offered = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let len = offered.min(FRAMED_LEN_MAX).min(web_socket.frame_remaining());
    let header = header.as_ref().map_or(&[][..], |header| header.as_bytes());
    framed.reserve(header.len() + len);
    framed.extend_from_slice(header);
    let mut left = len;
    for piece in pieces {
        let part = &piece[..piece.len().min(left)];
        framed.extend_from_slice(part);
        left -= part.len();
    }
    Ok(web_socket.advance(len))
}
