//! One TLS session between the bytes of the network and those of MQTT.

use super::fault::HTTP;
use super::refusal::Refusals;
use super::{TlsError, TlsFault};
#[cfg(feature = "tls-server")]
use rustls::pki_types::{CertificateDer, UnixTime};
#[cfg(feature = "tls-server")]
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConnection, Connection, Error, HandshakeKind};
#[cfg(feature = "tls-server")]
use rustls::{ServerConfig, ServerConnection};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
#[cfg(feature = "tls-server")]
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
    /// Whether the peer has said that nothing follows.
    is_closed: bool,
    /// Whether we have.
    has_sent_close: bool,
    /// Why it is over, if the peer is to blame.
    error: Option<Box<TlsError>>,
    /// Where a client's verifier says more of what it refuses than TLS hands on.
    refusals: Option<Box<Refusals>>,
    /// Who looks again at the certificate of a client that comes back with a ticket; until the
    /// handshake is over.
    #[cfg(feature = "tls-server")]
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// What came of ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes of plaintext, at the front of the buffer.
    pub len: usize,
    /// Whether the peer has said that nothing follows.
    pub is_closed: bool,
    /// Whether what follows the plaintext breaks the protocol: [`TlsSession::check`] tells how.
    pub is_broken: bool,
}

impl TlsSession {
    /// The server's side; [`super::ServerTls`] makes it.
    #[cfg(feature = "tls-server")]
    pub(super) fn server(
        config: Arc<ServerConfig>,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Self, TlsError> {
        let connection = ServerConnection::new(config).map_err(|error| TlsError::new(&error))?;
        Ok(Self { verifier, ..Self::new(connection.into()) })
    }

    /// The client's side; [`super::TlsConnector`] makes it.
    pub(super) fn client(connection: ClientConnection, refusals: Refusals) -> Self {
        Self { refusals: Some(refusals.into()), ..Self::new(connection.into()) }
    }

    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(WRITE_LEN_MAX));
        Self {
            connection,
            is_closed: false,
            has_sent_close: false,
            error: None,
            refusals: None,
            #[cfg(feature = "tls-server")]
            verifier: None,
        }
    }

    /// Whether the session is of use.
    ///
    /// # Errors
    /// Why it is over.
    pub fn check(&self) -> Result<(), TlsError> {
        self.error.as_deref().cloned().map_or(Ok(()), Err)
    }

    /// Whether no application data can be sent yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said that nothing follows.
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether the handshake took up an earlier session, in which certificates were shown.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The peer's certificates in DER, its own first; empty if it has shown none.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        certificates.iter().map(|certificate| &**certificate)
    }

    /// Decrypts what lies at `ciphertext` in `buffer`, and moves the plaintext to the buffer's front.
    /// The beginning of a record whose end has not arrived is kept inside: at most one record. After
    /// [`TlsSession::close`] all is forgotten that comes.
    ///
    /// # Errors
    /// The session is over, and no plaintext came before; [`TlsSession::write_to`] still has the
    /// alert that tells the peer why.
    ///
    /// # Panics
    /// When less than [`HEADROOM`] is free in front of the ciphertext.
    pub fn decrypt_in_place(
        &mut self,
        buffer: &mut [u8],
        ciphertext: Range<usize>,
    ) -> Result<Decrypted, TlsError> {
        assert!(ciphertext.start >= HEADROOM, "room in front of the ciphertext");
        self.check()?;
        let Range { start: mut from, end } = ciphertext;
        let is_http = self.is_handshaking() && buffer[from..end].starts_with(HTTP);
        let mut len = 0;
        // After our goodbye there are no alerts left for what the peer does wrong.
        while from < end && !self.is_closed && !self.has_sent_close && self.error.is_none() {
            let taken = self.connection.read_tls(&mut &buffer[from..end]);
            from += taken.map_err(|error| TlsError::new(&error))?;
            self.error = self.process().err().map(|error| match is_http && error.is_no_tls() {
                true => error.with(TlsFault::Http).into(),
                false => error.into(),
            });
            // Of a record that is whole the plaintext counts, whatever follows it.
            len += self.take_plaintext(&mut buffer[len..from])?;
        }
        match &self.error {
            Some(error) if len == 0 => Err((**error).clone()),
            error => Ok(Decrypted { len, is_closed: self.is_closed, is_broken: error.is_some() }),
        }
    }

    /// Takes up what has been read.
    fn process(&mut self) -> Result<(), TlsError> {
        let state = self.connection.process_new_packets();
        let state = state.map_err(|error| explain(self.refusals.as_deref(), &error))?;
        self.is_closed = state.peer_has_closed();
        #[cfg(feature = "tls-server")]
        if !self.connection.is_handshaking()
            && let Some(verifier) = self.verifier.take()
        {
            self.check_resumed(&*verifier)?;
        }
        Ok(())
    }

    /// Looks at the certificate of a client that has come back with a ticket. The handshake has not:
    /// it may have been revoked, or have ended, since it was shown.
    #[cfg(feature = "tls-server")]
    fn check_resumed(&mut self, verifier: &dyn ClientCertVerifier) -> Result<(), TlsError> {
        if !self.is_resumed() {
            return Ok(());
        }
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let checked = check_client(verifier, certificates);
        if checked.is_err() {
            // Nothing that was sent along is taken, and the peer learns that nothing comes.
            self.close();
        }
        checked
    }

    fn take_plaintext(&mut self, room: &mut [u8]) -> Result<usize, TlsError> {
        let mut len = 0;
        if self.has_sent_close {
            return Ok(len);
        }
        while len < room.len() {
            match self.connection.reader().read(&mut room[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(TlsError::new(&error)),
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

    /// Says that nothing follows; nor is anything taken that the peer still sends.
    pub fn close(&mut self) {
        self.has_sent_close = true;
        self.connection.send_close_notify();
    }
}

/// What an error means; of a certificate that a client's verifier has refused it knows more.
fn explain(refusals: Option<&Refusals>, error: &Error) -> TlsError {
    let refused = match error {
        Error::InvalidCertificate(_) => refusals.and_then(Refusals::take),
        _ => None,
    };
    let explained = TlsError::of(error);
    match refused {
        Some(fault) => explained.with(TlsFault::Certificate(fault)),
        None => explained,
    }
}

/// Whether these certificates, or none, let a client in now.
#[cfg(feature = "tls-server")]
pub(super) fn check_client(
    verifier: &dyn ClientCertVerifier,
    certificates: &[CertificateDer<'_>],
) -> Result<(), TlsError> {
    match certificates {
        [] if verifier.client_auth_mandatory() => {
            Err(TlsError::no_certificate("the session that is resumed has no certificate"))
        }
        [] => Ok(()),
        [first, others @ ..] => verifier
            .verify_client_cert(first, others, UnixTime::now())
            .map(drop)
            .map_err(|error| TlsError::of(&error)),
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
