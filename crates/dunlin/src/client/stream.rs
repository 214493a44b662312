//! A socket to a broker, with TLS over it if that was asked for.

use bytes::BytesMut;
use dunlin_transport::tls::{HEADROOM, TlsConnector, TlsSession};
use std::io::{self, ErrorKind, IoSlice, Write};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

/// What is read at once, at most.
const READ_LEN: usize = 64 * 1024;

/// A socket to a broker.
pub(super) struct Stream {
    tcp: TcpStream,
    tls: Option<TlsSession>,
}

/// Writes to a socket as much as it takes now.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    pub(super) async fn connect(host: &str, port: u16) -> io::Result<Self> {
        let tcp = TcpStream::connect((host, port)).await?;
        // Small packets should not wait for each other; without it they are only slower.
        let _ = tcp.set_nodelay(true);
        Ok(Self { tcp, tls: None })
    }

    /// Puts TLS over the socket.
    pub(super) async fn secure(mut self, tls: &TlsConnector, host: &str) -> io::Result<Self> {
        let mut session = tls.session(host).map_err(io::Error::other)?;
        let mut buffer = vec![0; HEADROOM + READ_LEN];
        while session.is_handshaking() || session.has_pending() {
            match session.write_to(&mut Now(&self.tcp)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.tcp.writable().await?;
                    continue;
                }
                sent => sent?,
            }
            if !session.is_handshaking() {
                break;
            }
            self.tcp.readable().await?;
            match self.tcp.try_read(&mut buffer[HEADROOM..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let decrypted =
                        session.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + count);
                    if let Err(error) = decrypted {
                        // The alert tells the broker what is wrong.
                        let _ = session.write_to(&mut Now(&self.tcp));
                        return Err(io::Error::other(error));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.tls = Some(session);
        Ok(self)
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.tcp.ready(interest).await
    }

    /// Whether something was taken that is not written.
    pub(super) fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(TlsSession::has_pending)
    }

    /// Writes what was taken before.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.write_to(&mut Now(&self.tcp)),
            None => Ok(()),
        }
    }

    /// Takes as much as can be written now, or soon.
    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_flush()?;
        let Some(tls) = &mut self.tls else { return self.tcp.try_write_vectored(slices) };
        let taken = tls.encrypt(slices)?;
        match self.try_flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Reads once, to the end of the input; whether the end has come.
    pub(super) fn try_read(&mut self, input: &mut BytesMut) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            input.reserve(READ_LEN);
            return Ok(self.tcp.try_read_buf(input)? == 0);
        };
        let mut buffer = vec![0; HEADROOM + READ_LEN];
        let count = self.tcp.try_read(&mut buffer[HEADROOM..])?;
        let decrypted = tls.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + count);
        let flushed = self.try_flush();
        let decrypted = decrypted.map_err(io::Error::other)?;
        match flushed {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        input.extend_from_slice(&buffer[..decrypted.len]);
        Ok(count == 0 || decrypted.is_closed)
    }
}
