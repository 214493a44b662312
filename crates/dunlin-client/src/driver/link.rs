//! One Network Connection: the byte stream, its two buffers, and the state machine.

use crate::PublishAck;
use crate::driver::Config;
use crate::shared::{Appetite, PublishReply, Shared};
use bytes::BytesMut;
use dunlin_protocol::codec::{Connect, EncodeError, TransmitBuf};
use dunlin_protocol::{ClientConfig, ClientConnection, Instant, Session};
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Sleep};

/// Messages are added to the output while it holds fewer bytes than this.
const OUTPUT_LEN: usize = 256 * 1024;

/// With more bytes than this owed in answers to a Server that does not read them, we do not read
/// either. No window of 65,535 exchanges owes as much.
const ANSWERS_LEN_MAX: usize = 1024 * 1024;

/// Bytes read at once while traffic is heavy.
const READ_LEN: usize = 64 * 1024;

/// Bytes read at once into the stack while it is not.
const READ_SMALL_LEN: usize = 4 * 1024;

/// Pieces given to one write.
const PIECES: usize = 32;

/// How long a farewell may take to be written, and then the peer to close.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Link<Io> {
    io: Io,
    pub(crate) connection: ClientConnection,
    pub(crate) input: BytesMut,
    pub(crate) out: TransmitBuf,
    /// Bytes written since the connection began, and how many may be.
    written: u64,
    writable: u64,
    /// Up to where bytes wait for how many changes to be stored.
    holds: VecDeque<(u64, u64)>,
    /// QoS 0 messages that are not wholly written, each with the place where it ends.
    unwritten: VecDeque<(u64, PublishReply)>,
    needs_flush: bool,
    /// Whether the last read filled its buffer.
    busy: bool,
    /// Bytes that answers to the input have added since the output was last empty.
    pub(crate) answers_len: usize,
    pub(crate) failure: Option<Arc<io::Error>>,
    write_failed: bool,
    eof: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Link<Io> {
    pub(crate) fn new(
        now: Instant,
        io: Io,
        connect: Connect,
        config: &Config,
        session: Session,
    ) -> Result<Self, EncodeError> {
        let client_config = ClientConfig {
            connect,
            connect_timeout: config.connect_timeout,
            in_flight_max: config.in_flight_max,
            topic_alias_outbound_max: config.topic_alias_outbound_max,
        };
        let mut out = TransmitBuf::new();
        let connection = ClientConnection::new(now, client_config, session, &mut out)?;
        Ok(Self {
            io,
            connection,
            input: BytesMut::new(),
            out,
            written: 0,
            writable: if config.has_store { 0 } else { u64::MAX },
            holds: VecDeque::new(),
            unwritten: VecDeque::new(),
            needs_flush: false,
            busy: false,
            answers_len: 0,
            failure: None,
            write_failed: false,
            eof: false,
        })
    }

    /// How much of the queue of messages can be taken now.
    pub(crate) fn appetite(&self) -> Appetite {
        Appetite {
            acknowledged: usize::from(self.connection.send_quota()),
            bytes: OUTPUT_LEN.saturating_sub(self.out.len()),
        }
    }

    /// What is in the output by now waits until `needed` changes are stored; `stored` of them are.
    pub(crate) fn hold(&mut self, needed: u64, stored: u64) {
        let end = self.end();
        match self.holds.back_mut() {
            Some(last) if last.0 == needed => last.1 = end,
            _ => self.holds.push_back((needed, end)),
        }
        while let Some(&(needed, end)) = self.holds.front()
            && needed <= stored
        {
            self.writable = end;
            self.holds.pop_front();
        }
    }

    /// Nothing more is written, not even what was allowed.
    pub(crate) fn discard(&mut self) {
        self.out.advance(self.out.len());
        self.write_failed = true;
    }

    /// Where the output ends.
    fn end(&self) -> u64 {
        self.written + u64::try_from(self.out.len()).unwrap_or(u64::MAX)
    }

    /// The QoS 0 message that was just appended is to be told of when it is written.
    pub(crate) fn await_written(&mut self, reply: PublishReply) {
        let end = self.end();
        self.unwritten.push_back((end, reply));
    }

    /// QoS 0 messages that were appended and never wholly written.
    pub(crate) fn take_unwritten(&mut self) -> impl Iterator<Item = PublishReply> {
        std::mem::take(&mut self.unwritten).into_iter().map(|(_, reply)| reply)
    }

    /// Reads and writes what is possible, and is ready when the driver has something to do: bytes
    /// came or went, the deadline is over, or the inbox holds what there is appetite for.
    pub(crate) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        wants_publishes: bool,
        deadline: Pin<&mut Sleep>,
    ) -> Poll<()> {
        let mut is_ready = self.poll_write(cx);
        if !self.eof && self.answers_len <= ANSWERS_LEN_MAX {
            is_ready |= self.poll_read(cx);
        }
        let appetite = wants_publishes.then(|| self.appetite());
        is_ready |= shared.poll_inbox(cx, appetite.as_ref()).is_ready();
        is_ready |= deadline.poll(cx).is_ready();
        if is_ready {
            return Poll::Ready(());
        }
        // An idle connection keeps no buffer.
        drop(self.out.take_storage());
        Poll::Pending
    }

    /// Writes until the transport takes no more; whether bytes went.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progressed = false;
        while !self.out.is_empty() && self.written < self.writable {
            match self.poll_write_once(cx) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    progressed = true;
                    self.needs_flush = true;
                    self.out.advance(written);
                    self.written += u64::try_from(written).unwrap_or(0);
                }
                Poll::Ready(result) => {
                    self.on_write_failed(result.err());
                    return true;
                }
                Poll::Pending => break,
            }
        }
        if self.out.is_empty() {
            self.answers_len = 0;
        }
        if self.needs_flush && (self.out.is_empty() || self.written >= self.writable) {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(error)) => self.on_write_failed(Some(error)),
                Poll::Pending => {}
            }
        }
        while let Some((end, _)) = self.unwritten.front()
            && *end <= self.written
        {
            if let Some((_, reply)) = self.unwritten.pop_front() {
                let _ = reply.send(Ok(PublishAck::success()));
            }
        }
        progressed
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pieces: [&[u8]; PIECES] = [&[]; PIECES];
        let filled = self.out.pieces(&mut pieces);
        let filled = limit(&mut pieces[..filled], self.writable - self.written);
        let io = Pin::new(&mut self.io);
        if filled == 1 || !io.is_write_vectored() {
            return io.poll_write(cx, pieces[0]);
        }
        let slices = pieces.map(io::IoSlice::new);
        io.poll_write_vectored(cx, &slices[..filled])
    }

    /// Nothing more can be written; the Server's last words may still be read.
    fn on_write_failed(&mut self, error: Option<io::Error>) {
        self.out.advance(self.out.len());
        self.write_failed = true;
        let error = error.unwrap_or_else(|| io::ErrorKind::WriteZero.into());
        self.failure.get_or_insert_with(|| Arc::new(error));
    }

    /// Reads once; whether there is anything to handle.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let read = if self.busy || !self.input.is_empty() {
            self.input.reserve(READ_LEN);
            pin!(self.io.read_buf(&mut self.input)).poll(cx)
        } else {
            self.poll_read_small(cx)
        };
        match read {
            Poll::Ready(Ok(0)) => {
                self.eof = true;
                true
            }
            Poll::Ready(Ok(read)) => {
                self.busy = read >= READ_SMALL_LEN;
                true
            }
            Poll::Ready(Err(error)) => {
                self.failure.get_or_insert_with(|| Arc::new(error));
                self.eof = true;
                true
            }
            Poll::Pending => {
                self.busy = false;
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                // A transport that no longer takes bytes gives its last ones at once.
                self.eof |= self.write_failed;
                self.eof
            }
        }
    }

    fn poll_read_small(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut memory = [MaybeUninit::uninit(); READ_SMALL_LEN];
        let mut buffer = ReadBuf::uninit(&mut memory);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        read.map_ok(|()| {
            self.input.extend_from_slice(buffer.filled());
            buffer.filled().len()
        })
    }

    /// Tells the state machine of the end of the stream, once all that was read is handled.
    pub(crate) fn check_eof(&mut self) {
        if self.eof {
            self.connection.handle_network_closed();
        }
    }

    /// Writes what is left and closes, within a second or two.
    ///
    /// After a DISCONNECT of ours the Server closes first. A socket that is closed with input
    /// unread would be reset, which can destroy that DISCONNECT on its way.
    pub(crate) async fn say_farewell(&mut self, wait_for_peer: bool) {
        if self.eof || self.write_failed {
            return;
        }
        let flush = std::future::poll_fn(|cx| {
            self.poll_write(cx);
            if self.write_failed || (self.out.is_empty() && !self.needs_flush) {
                return Pin::new(&mut self.io).poll_shutdown(cx).map(drop);
            }
            Poll::Pending
        });
        if tokio::time::timeout(FAREWELL_TIMEOUT, flush).await.is_ok()
            && wait_for_peer
            && !self.write_failed
        {
            let until_closed = std::future::poll_fn(|cx| {
                loop {
                    self.input.clear();
                    match self.poll_read_small(cx) {
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                        Poll::Ready(Ok(_)) => {}
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, until_closed).await;
        }
    }
}

/// Cuts the pieces down to this many bytes, above zero; gives how many pieces are left.
fn limit(pieces: &mut [&[u8]], bytes: u64) -> usize {
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    for (at, piece) in pieces.iter_mut().enumerate() {
        if piece.len() >= left {
            *piece = &piece[..left];
            return at + 1;
        }
        left -= piece.len();
    }
    pieces.len()
}
