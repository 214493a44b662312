//! How a byte stream to the server comes about: TCP, or whatever the user brings.

use crate::ConnectError;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Makes byte streams to the server, a new one for every attempt to connect.
///
/// Implement it to bring a transport of your own and keep automatic reconnect.
pub trait Transport: Send + 'static {
    /// The byte stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Establishes a byte stream. The caller drops the future when it takes too long.
    ///
    /// # Errors
    /// [`ConnectError::Resolve`] or [`ConnectError::Transport`].
    fn connect(&mut self) -> impl Future<Output = Result<Self::Io, ConnectError>> + Send;
}

/// TCP without Nagle's delay.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Transport for Tcp {
    type Io = TcpStream;

    async fn connect(&mut self) -> Result<TcpStream, ConnectError> {
        let resolve_error = |source: io::Error| ConnectError::Resolve {
            host: self.host.clone(),
            source: Arc::new(source),
        };
        let transport_error = |source: io::Error| ConnectError::Transport {
            peer: format!("{}:{}", self.host, self.port),
            source: Arc::new(source),
        };
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(resolve_error)?;
        let mut last_error = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(transport_error)?;
                    return Ok(stream);
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(match last_error {
            Some(error) => transport_error(error),
            None => resolve_error(io::ErrorKind::NotFound.into()),
        })
    }
}

/// A byte stream that is there already, and cannot be made again.
pub(crate) struct Once<Io>(pub(crate) Option<Io>);

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for Once<Io> {
    type Io = Io;

    async fn connect(&mut self) -> Result<Io, ConnectError> {
        self.0.take().ok_or_else(|| ConnectError::Transport {
            peer: "the given stream".to_owned(),
            source: Arc::new(io::ErrorKind::NotConnected.into()),
        })
    }
}
