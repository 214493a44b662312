//! TLS of the hostile, and of those who only come all at once: sessions, and the tickets with which
//! they are resumed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::client::{Tls12Resumption, Tls13ClientSessionValue};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore};

/// What a server's certificate has to name.
const SERVER_NAME: &str = "localhost";

/// Plaintext that is read at once.
const PLAINTEXT_LEN: usize = 1024;

/// How clients exchange keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// X25519MLKEM768 or X25519, as the server likes best.
    Offered,
    /// X25519 alone, which servers of any age have.
    X25519,
}

/// What clients have in common.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    config: Arc<ClientConfig>,
}

impl Clients {
    /// Clients that trust the authority in a folder of `dunlin cert`; with or without tickets.
    ///
    /// # Errors
    /// When there is no authority.
    pub(crate) fn new(certificates: &Path, exchange: Exchange, resumes: bool) -> Result<Self> {
        let mut provider: CryptoProvider = default_provider();
        if exchange == Exchange::X25519 {
            provider.kx_groups = vec![kx_group::X25519];
        }
        let file = certificates.join("ca.pem");
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&file)
            .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        roots.add(authority).context("the authority is of no use")?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = match resumes {
            true => Resumption::store(Arc::new(Tickets::default()))
                .tls12_resumption(Tls12Resumption::Disabled),
            false => Resumption::disabled(),
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// A new client.
    ///
    /// # Errors
    /// Those of the library.
    pub(crate) fn connect(&self) -> Result<ClientConnection> {
        let name = ServerName::try_from(SERVER_NAME)?;
        Ok(ClientConnection::new(Arc::clone(&self.config), name)?)
    }

    /// The same over QUIC.
    ///
    /// # Errors
    /// Those of the library.
    pub(crate) fn quic(&self) -> Result<quinn_proto::ClientConfig> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let crypto = QuicClientConfig::try_from(config)?;
        Ok(quinn_proto::ClientConfig::new(Arc::new(crypto)))
    }

    /// What a client says first.
    ///
    /// # Errors
    /// Those of the library.
    pub(crate) fn hello(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.connect()?.write_tls(&mut bytes)?;
        Ok(bytes)
    }
}

/// What came of ciphertext.
pub(crate) enum Decrypted {
    /// So far so good.
    Well,
    /// The session is over.
    Over,
}

/// Takes all of `input` and appends what it says to `plaintext`, and what is to be sent to `out`.
pub(crate) fn take(
    session: &mut ClientConnection,
    mut input: &[u8],
    plaintext: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Decrypted {
    let mut room = [0; PLAINTEXT_LEN];
    let mut result = Decrypted::Well;
    while !input.is_empty() {
        if !matches!(session.read_tls(&mut input), Ok(1..))
            || session.process_new_packets().is_err()
        {
            result = Decrypted::Over;
            break;
        }
        while let Ok(len @ 1..) = io::Read::read(&mut session.reader(), &mut room) {
            plaintext.extend_from_slice(&room[..len]);
        }
    }
    send(session, out);
    result
}

/// Appends what a session has to send.
pub(crate) fn send(session: &mut ClientConnection, out: &mut Vec<u8>) {
    while session.wants_write() {
        // Writing to a vector does not fail.
        let _ = session.write_tls(out);
    }
}

/// Whether a session took up an earlier one.
pub(crate) fn is_resumed(session: &ClientConnection) -> bool {
    session.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// How the keys of a session were exchanged.
pub(crate) fn group(session: &ClientConnection) -> Option<NamedGroup> {
    session.negotiated_key_exchange_group().map(SupportedKxGroup::name)
}

/// The tickets of all clients; each is used once.
#[derive(Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

/// The most that are kept; with more than one for each client nothing is lost.
const TICKETS_MAX: usize = 20_000;

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS_MAX {
            tickets.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
