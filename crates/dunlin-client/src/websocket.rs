//! MQTT within WebSocket, as `ws://` and `wss://` ask for it. Spec: §6.

use crate::wakers::{Side, Wakers};
use bytes::{Buf, BytesMut};
use dunlin_transport::websocket::upgrade::{ClientUpgrade, Request};
use dunlin_transport::websocket::{CloseCode, End, Role, WebSocket};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// What is read at once.
const READ_LEN: usize = 16 * 1024;

/// The longest frame that is sent.
const FRAME_LEN_MAX: usize = 64 * 1024;

/// A stream whose bytes of MQTT are within frames.
#[derive(Debug)]
pub(crate) struct WebSocketStream<Io> {
    io: Io,
    web_socket: WebSocket,
    keys: Keys,
    /// Bytes of MQTT that were read and are not taken.
    payload: BytesMut,
    /// Frames that are not written.
    pending: BytesMut,
    /// Where frames are read; without memory while there is nothing to read.
    scratch: Vec<u8>,
    has_ended: bool,
    /// Who waits until the stream takes more.
    wakers: Wakers,
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

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocketStream<Io> {
    /// Asks the server to go on with WebSocket.
    pub(crate) async fn connect(mut io: Io, host: &str, path: &str) -> io::Result<Self> {
        let mut keys = Keys::default();
        let (mut output, mut input) = (BytesMut::new(), BytesMut::new());
        let request = Request { host, path, headers: &[] };
        let mut upgrade =
            ClientUpgrade::new(&request, keys.nonce(), &mut output).map_err(invalid)?;
        io.write_all(&output).await?;
        io.flush().await?;
        while !upgrade.handle_input(&mut input).map_err(invalid)? {
            if io.read_buf(&mut input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let mut stream = Self {
            io,
            web_socket: WebSocket::new(Role::Client),
            keys,
            payload: BytesMut::new(),
            pending: BytesMut::new(),
            scratch: Vec::new(),
            has_ended: false,
            wakers: Wakers::default(),
        };
        stream.unframe(&mut input)?;
        Ok(stream)
    }

    /// Takes the bytes of MQTT out of what has come.
    fn unframe(&mut self, input: &mut [u8]) -> io::Result<()> {
        let decoded = self.web_socket.decode(input);
        self.payload.extend_from_slice(&input[..decoded.len]);
        match decoded.end {
            Some(End::Violation(violation)) => return Err(invalid(violation)),
            end => self.has_ended |= end.is_some(),
        }
        self.answer();
        Ok(())
    }

    /// Adds the pong, or the close frame, that is owed.
    fn answer(&mut self) {
        if self.web_socket.owes_control() {
            let key = Some(self.keys.mask());
            self.web_socket.poll_control(key, &mut self.pending);
        }
    }

    fn poll_send(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let waker = self.wakers.join(side, cx.waker());
            let mut cx = Context::from_waker(&waker);
            let written = ready!(Pin::new(&mut self.io).poll_write(&mut cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        self.pending = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Has the stream below write what it holds.
    fn poll_flush_below(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waker = self.wakers.join(side, cx.waker());
        Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(&waker))
    }

    /// Reads once; whether there was anything before the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(READ_LEN, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let len = buffer.filled().len();
        self.unframe(&mut scratch[..len])?;
        self.scratch = scratch;
        Poll::Ready(Ok(len > 0))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // A pong goes out while somebody reads.
            if !self.pending.is_empty() {
                // Whoever writes is told if it can't: there may still be something to read.
                let _ = self.poll_send(Side::Reader, cx);
                let _ = self.poll_flush_below(Side::Reader, cx);
            }
            if !self.payload.is_empty() {
                let len = self.payload.len().min(out.remaining());
                out.put_slice(&self.payload[..len]);
                self.payload.advance(len);
                if self.payload.is_empty() {
                    self.payload = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if self.has_ended || !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(Side::Writer, cx))?;
        let len = bytes.len().min(FRAME_LEN_MAX);
        let stream = &mut *self;
        let key = Some(stream.keys.mask());
        if !stream.web_socket.encode(&bytes[..len], key, &mut stream.pending) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(sent) = self.poll_send(Side::Writer, cx) {
            sent?;
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(Side::Writer, cx))?;
        self.poll_flush_below(Side::Writer, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.web_socket.begin_close(CloseCode::NORMAL);
        self.answer();
        ready!(self.poll_send(Side::Writer, cx))?;
        let waker = self.wakers.join(Side::Writer, cx.waker());
        Pin::new(&mut self.io).poll_shutdown(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{duplex, split};

    /// A stream whose upgrade is over.
    fn upgraded<Io>(io: Io) -> WebSocketStream<Io> {
        WebSocketStream {
            io,
            web_socket: WebSocket::new(Role::Client),
            keys: Keys::default(),
            payload: BytesMut::new(),
            pending: BytesMut::new(),
            scratch: Vec::new(),
            has_ended: false,
            wakers: Wakers::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_is_woken_though_another_task_reads() {
        // Far less than a frame with its header: whoever writes waits.
        let (ours, mut theirs) = duplex(64);
        let (mut reader, mut writer) = split(upgraded(ours));
        let writing = tokio::spawn(async move { writer.write_all(&[7; 500]).await });
        // A ping, so that the reader has something to send, too, and waits for the same room.
        theirs.write_all(&[0x89, 0]).await.expect("room");
        let reading = tokio::spawn(async move { reader.read(&mut [0; 10]).await });
        tokio::task::yield_now().await;
        let mut got = vec![0; 8 + 500 + 6];
        let all = theirs.read_exact(&mut got);
        // The clock goes on when nobody can do anything.
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("woken").expect("all");
        writing.await.expect("it ends").expect("it is written");
        theirs.write_all(&[0x82, 2, b'h', b'i']).await.expect("room");
        assert_eq!(reading.await.expect("it ends").expect("a message"), 2);
    }
}
