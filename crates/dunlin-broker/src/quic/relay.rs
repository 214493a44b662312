//! The bytes of a connection's stream, copied to its worker and back. Little is held: what one side
//! does not take is not read of the other.

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// What a connection is closed with: nothing is wrong. All else is said by MQTT.
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);
/// What it is closed with if its client may not come in.
pub(super) const NOT_LET_IN: VarInt = VarInt::from_u32(1);

/// Bytes that are copied at once.
const READ_LEN: usize = 16 * 1024;
/// How long a client may take to acknowledge the last bytes.
const DELIVERY: Duration = Duration::from_secs(10);
/// How long it may take then to close, as it does when it has read a DISCONNECT: when we close, it may
/// lose what it has not read.
const LINGER: Duration = Duration::from_secs(1);

/// Copies until the connection is over.
pub(super) async fn relay(
    connection: &Connection,
    (send, recv): (SendStream, RecvStream),
    worker: UnixStream,
) {
    let (from_worker, to_worker) = worker.into_split();
    let mut up = pin!(copy_up(recv, to_worker));
    let mut down = pin!(copy_down(from_worker, send));
    let is_up_over = tokio::select! {
        () = &mut up => {
            down.await;
            true
        }
        () = &mut down => false,
    };
    let closed = async {
        if !is_up_over {
            up.await;
        }
        connection.closed().await;
    };
    let _ = timeout(LINGER, closed).await;
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

/// From the worker to the client, until the client has all of it.
async fn copy_down(from_worker: OwnedReadHalf, mut send: SendStream) {
    while let Ok(bytes) = read(&from_worker).await
        && !bytes.is_empty()
    {
        if send.write_chunk(bytes).await.is_err() {
            return;
        }
    }
    if send.finish().is_ok() {
        let _ = timeout(DELIVERY, send.stopped()).await;
    }
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
