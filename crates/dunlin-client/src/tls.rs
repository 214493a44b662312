//! TLS over TCP, as `mqtts://` and `wss://` ask for it.

use crate::wakers::{Side, Wakers};
use bytes::{Buf, BytesMut};
use dunlin_transport::tls::{HEADROOM, TlsSession};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is read at once.
const READ_LEN: usize = 16 * 1024;

/// A TCP connection with its TLS session.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: TlsSession,
    /// What was read and is not taken.
    plaintext: BytesMut,
    /// Where ciphertext is read; without memory while there is none.
    scratch: Vec<u8>,
    /// Who waits until the socket takes more.
    wakers: Wakers,
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

impl TlsStream {
    /// Shakes hands.
    pub(crate) async fn connect(tcp: TcpStream, session: TlsSession) -> io::Result<Self> {
        let mut stream = Self {
            tcp,
            session,
            plaintext: BytesMut::new(),
            scratch: Vec::new(),
            wakers: Wakers::default(),
        };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_send(Side::Reader, cx)?;
            if !self.session.is_handshaking() {
                return sent.map(Ok);
            }
            if !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Writes what the session has to say.
    fn poll_send(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.has_pending() {
            let waker = self.wakers.join(side, cx.waker());
            ready!(self.tcp.poll_write_ready(&mut Context::from_waker(&waker)))?;
            match self.session.write_to(&mut Now(&self.tcp)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sent => sent?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; whether there was anything before the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // What came before a fault was taken; now it is told.
        self.session.check().map_err(io::Error::other)?;
        loop {
            if self.tcp.poll_read_ready(cx)?.is_pending() {
                self.scratch = Vec::new();
                return Poll::Pending;
            }
            self.scratch.resize(HEADROOM + READ_LEN, 0);
            let count = match self.tcp.try_read(&mut self.scratch[HEADROOM..]) {
                Ok(0) => return Poll::Ready(Ok(false)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            };
            let ciphertext = HEADROOM..HEADROOM + count;
            let decrypted = self.session.decrypt_in_place(&mut self.scratch, ciphertext);
            // An answer of TLS, or the alert that tells the server what is wrong. Whoever writes is
            // told if that fails: the server's last words may be what was read.
            let _ = self.poll_send(Side::Reader, cx);
            let decrypted = decrypted.map_err(io::Error::other)?;
            self.plaintext.extend_from_slice(&self.scratch[..decrypted.len]);
            return Poll::Ready(Ok(true));
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What a write has left behind goes on while somebody reads, who need not know whether it
        // can: there may still be something to read.
        let _ = self.poll_send(Side::Reader, cx);
        loop {
            if !self.plaintext.is_empty() {
                let len = self.plaintext.len().min(out.remaining());
                out.put_slice(&self.plaintext[..len]);
                self.plaintext.advance(len);
                if self.plaintext.is_empty() {
                    self.plaintext = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if self.session.is_closed() || !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(Side::Writer, cx))?;
        let taken = self.session.encrypt(slices)?;
        if let Poll::Ready(sent) = self.poll_send(Side::Writer, cx) {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(Side::Writer, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.session.is_handshaking() {
            self.session.close();
        }
        ready!(self.poll_send(Side::Writer, cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
