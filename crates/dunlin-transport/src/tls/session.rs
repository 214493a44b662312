//! One TLS session between the bytes of the network and those of MQTT.

use rustls::{ClientConnection, Connection, ServerConfig, ServerConnection};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that must be free in front of ciphertext which is decrypted in place: an earlier read may
/// have left a record but for its end, and its plaintext comes out before what was read now.
pub const HEADROOM: usize = 20 * 1024;

/// Bytes of plaintext, and of ciphertext, that a session holds until they are written. Whoever
/// writes is told how much was taken, so what is beyond waits where its limit is kept.
const WRITE_LEN_MAX: usize = 64 * 1024;

/// A TLS session of either side.
pub struct TlsSession {
    connection: Connection,
    is_closed: bool,
}

/// What came of ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes of plaintext, at the front of the buffer.
    pub len: usize,
    /// Whether the peer has said that nothing follows.
    pub is_closed: bool,
}

/// Why a session is over: the peer broke the protocol, or is not whom it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    pub(super) fn new(error: &impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl TlsSession {
    /// The server's side.
    ///
    /// # Errors
    /// When the configuration is of no use.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = ServerConnection::new(config).map_err(|error| TlsError::new(&error))?;
        Ok(Self::new(connection.into()))
    }

    /// The client's side; [`super::TlsConnector`] makes it.
    pub(super) fn client(connection: ClientConnection) -> Self {
        Self::new(connection.into())
    }

    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(WRITE_LEN_MAX));
        Self { connection, is_closed: false }
    }

    /// Whether no application data can be sent yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said that nothing follows.
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The peer's certificates in DER, its own first; empty if it has shown none.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        certificates.iter().map(|certificate| &**certificate)
    }

    /// Decrypts what lies at `ciphertext` in `buffer`, and moves the plaintext to the buffer's front.
    /// The beginning of a record whose end has not arrived is kept inside: at most one record.
    ///
    /// # Errors
    /// The session is over; [`TlsSession::write_to`] still has the alert that tells the peer why.
    ///
    /// # Panics
    /// When less than [`HEADROOM`] is free in front of the ciphertext.
    pub fn decrypt_in_place(
        &mut self,
        buffer: &mut [u8],
        ciphertext: Range<usize>,
    ) -> Result<Decrypted, TlsError> {
        assert!(ciphertext.start >= HEADROOM, "room in front of the ciphertext");
        let Range { start: mut from, end } = ciphertext;
        let mut len = 0;
        while from < end && !self.is_closed {
            let taken = self.connection.read_tls(&mut &buffer[from..end]);
            from += taken.map_err(|error| TlsError::new(&error))?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| TlsError::new(&error))?;
            len += self.take_plaintext(&mut buffer[len..from], state.plaintext_bytes_to_read())?;
            self.is_closed = state.peer_has_closed();
        }
        Ok(Decrypted { len, is_closed: self.is_closed })
    }

    fn take_plaintext(&mut self, room: &mut [u8], waiting: usize) -> Result<usize, TlsError> {
        let mut len = 0;
        while len < waiting {
            let read = self.connection.reader().read(&mut room[len..]);
            match read.map_err(|error| TlsError::new(&error))? {
                0 => break,
                count => len += count,
            }
        }
        Ok(len)
    }

    /// Takes plaintext to be encrypted; gives how many bytes of it were taken, 0 when
    /// [`TlsSession::write_to`] has to be called first.
    ///
    /// # Errors
    /// The session is over.
    pub fn encrypt(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.writer().write_vectored(pieces)
    }

    /// Whether there is something to be written to the network.
    pub fn has_pending(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes what is to go out until nothing is left.
    ///
    /// # Errors
    /// Those of the stream, [`io::ErrorKind::WouldBlock`] among them: the rest waits.
    pub fn write_to(&mut self, stream: &mut dyn Write) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("is_handshaking", &self.is_handshaking())
            .field("is_closed", &self.is_closed)
            .finish_non_exhaustive()
    }
}
