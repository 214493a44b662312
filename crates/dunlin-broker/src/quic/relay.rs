//! The bytes of a connection's stream, copied to its worker and back. Little is held: what one side
//! does not take is not read of the other.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// What a connection is closed with: nothing is wrong. All else is said by MQTT.
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);
/// What it is closed with if its client may not come in.
pub(super) const NOT_LET_IN: VarInt = VarInt::from_u32(1);

/// Bytes that are copied at once.
const READ_LEN: usize = 16 * 1024;
/// Pieces that a client has not acknowledged: each costs some 200 bytes, however short it is. With so many
/// on their way nothing is read of the worker, and what it writes meanwhile is one piece then.
const PIECES_MAX: usize = 512;
/// How long a client may take for what is left when its worker has ended the connection.
const DELIVERY: Duration = Duration::from_secs(10);
/// How long it may take then to close, as it does when it has read a DISCONNECT: when we close, it may
/// lose what it has not read.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether the worker has ended what its client does not take.
const LOOK: Duration = Duration::from_secs(1);

/// Copies until the connection is over. One that its worker has ended, and no longer counts, needs one
/// of the places among those who leave; without one it is closed at once.
pub(super) async fn relay(
    connection: &Connection,
    (send, recv): (SendStream, RecvStream),
    worker: UnixStream,
    leaving: &Semaphore,
) {
    let (from_worker, to_worker) = worker.into_split();
    let mut up = pin!(copy_up(recv, to_worker));
    let pieces = Arc::new(Semaphore::new(PIECES_MAX));
    let mut down = pin!(copy_down(from_worker, send, &pieces, leaving));
    let (is_up_over, place) = tokio::select! {
        () = &mut up => (true, down.await),
        leaves = &mut down => (false, leaves),
    };
    if connection.close_reason().is_some() {
        // Nobody waits any more, but what has come is the worker's to read in its time.
        if !is_up_over {
            up.await;
        }
        return;
    }
    let closed = async {
        if !is_up_over {
            up.await;
        }
        connection.closed().await;
    };
    if place.is_some() {
        let _ = timeout(LINGER, closed).await;
    }
    connection.close(NO_ERROR, b"");
}

/// From the client to the worker, which learns of the end, whatever it is: what came before it counts.
async fn copy_up(mut recv: RecvStream, mut to_worker: OwnedWriteHalf) {
    while let Ok(Some(chunk)) = recv.read_chunk(READ_LEN, true).await {
        if to_worker.write_all(&chunk.bytes).await.is_err() {
            // The worker has closed, and has said before what there was to say.
            let _ = recv.stop(NO_ERROR);
            return;
        }
    }
    let _ = to_worker.shutdown().await;
}

/// From the worker to the client, until the client has all of it, or has had its time; gives the place
/// among those who leave, if there was one.
async fn copy_down<'a>(
    from_worker: OwnedReadHalf,
    mut send: SendStream,
    pieces: &Arc<Semaphore>,
    leaving: &'a Semaphore,
) -> Option<SemaphorePermit<'a>> {
    let mut leave = Leave { leaving, place: None, until: None };
    while let Ok(bytes) = read(&from_worker).await
        && !bytes.is_empty()
    {
        let is_taken = tokio::select! {
            biased;
            written = write(&mut send, bytes, pieces) => written.is_ok(),
            () = leave.is_overdue(&from_worker) => return None,
        };
        if !is_taken {
            return None;
        }
    }
    if let Some(until) = leave.begin()
        && send.finish().is_ok()
    {
        let _ = timeout_at(until, send.stopped()).await;
    }
    leave.place
}

/// Writes all of it; what the client's window cuts off is a piece of its own.
async fn write(
    send: &mut SendStream,
    mut bytes: Bytes,
    pieces: &Arc<Semaphore>,
) -> Result<(), WriteError> {
    while !bytes.is_empty() {
        let Ok(place) = pieces.clone().acquire_owned().await else {
            unreachable!("the places for pieces are never closed")
        };
        let mut piece = [Bytes::from_owner(Piece { bytes, _place: place })];
        send.write_chunks(&mut piece).await?;
        bytes = Bytes::copy_from_slice(&piece[0]);
    }
    Ok(())
}

/// What is written at once, with its place among those that are not acknowledged.
struct Piece {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The last moments of a connection that its worker has ended.
struct Leave<'a> {
    leaving: &'a Semaphore,
    place: Option<SemaphorePermit<'a>>,
    /// When the client's time is over.
    until: Option<Instant>,
}

impl Leave<'_> {
    /// The worker has ended: says how long the client has, if there is a place for it.
    fn begin(&mut self) -> Option<Instant> {
        if self.until.is_none() {
            self.place = Some(self.leaving.try_acquire().ok()?);
            self.until = Some(Instant::now() + DELIVERY);
        }
        self.until
    }

    /// Waits until the worker has ended, and the client has not taken in time what came before: while
    /// that waits nothing is read that would tell of the end.
    async fn is_overdue(&mut self, from_worker: &OwnedReadHalf) {
        while self.until.is_none() {
            sleep(LOOK).await;
            if has_ended(from_worker) && self.begin().is_none() {
                return;
            }
        }
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }
}

/// Whether the other side has closed, whatever is still to be read.
fn has_ended(from_worker: &OwnedReadHalf) -> bool {
    let mut asked = [PollFd::new(from_worker.as_ref(), PollFlags::RDHUP)];
    let is_answered = poll(&mut asked, Some(&Timespec::default())).is_ok();
    is_answered && asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
}

/// Reads once, and holds no memory while there is nothing.
async fn read(from_worker: &OwnedReadHalf) -> io::Result<Bytes> {
    loop {
        from_worker.readable().await?;
        match read_now(from_worker) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

fn read_now(from_worker: &OwnedReadHalf) -> io::Result<Bytes> {
    let mut buffer = [0; READ_LEN];
    let len = from_worker.try_read(&mut buffer)?;
    Ok(Bytes::copy_from_slice(&buffer[..len]))
}
