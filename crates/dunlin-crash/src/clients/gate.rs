//! TCP that can be cut from outside: the connection is lost, and none comes about until the gate
//! is open again. The client's state goes on, as it does when a network fails.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dunlin_client::{ConnectError, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Opens and shuts the way to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn open() -> Self {
        Self(Arc::new(watch::channel(true).0))
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.0.send_replace(open);
    }

    pub(crate) fn transport(&self, address: SocketAddr) -> GatedTcp {
        GatedTcp { address, gate: self.0.subscribe() }
    }
}

/// Makes connections while the gate is open.
#[derive(Debug)]
pub(crate) struct GatedTcp {
    address: SocketAddr,
    gate: watch::Receiver<bool>,
}

impl Transport for GatedTcp {
    type Io = Gated;

    async fn connect(&mut self) -> Result<Gated, ConnectError> {
        let failed = |source: io::Error| ConnectError::Transport {
            peer: self.address.to_string(),
            source: Arc::new(source),
        };
        if !*self.gate.borrow() {
            return Err(failed(io::ErrorKind::NetworkUnreachable.into()));
        }
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut gate = self.gate.clone();
        let shut = Box::pin(async move {
            // A gate that is gone never shuts.
            if gate.wait_for(|open| !open).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Ok(Gated { stream, shut })
    }
}

/// A connection that is lost when the gate shuts.
pub(crate) struct Gated {
    stream: TcpStream,
    shut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Gated {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.shut.as_mut().poll(cx) {
            Poll::Ready(()) => {
                // It stays shut for this connection, and may be asked again.
                self.shut = Box::pin(std::future::ready(()));
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
