//! Sessions of both sides against each other, with the bytes between them cut anywhere, and files
//! that are of no use.

use super::*;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fs;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Certificates of a test, in files.
struct Files {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("ca.pem"), ca.pem()).expect("a file");
        Self { folder, ca }
    }

    fn issue(&self, name: &str) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> ServerFiles {
        ServerFiles {
            certificate: self.path("localhost.pem"),
            key: self.path("localhost.key"),
            ..ServerFiles::default()
        }
    }

    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        roots.add(ca).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn configurations() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static MADE: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let files = Files::new();
        files.issue("localhost");
        (files.server().load().expect("a configuration"), files.client())
    })
}

/// Both ends of a connection.
struct Pair {
    client: TlsSession,
    server: TlsSession,
}

impl Pair {
    fn new() -> Self {
        let (server, client) = configurations();
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(client.clone(), name).expect("a connection");
        let server = TlsSession::server(server.clone()).expect("a session");
        Self { client: TlsSession::client(connection), server }
    }

    /// Brings to the other side what one has, in pieces of these lengths in turn; gives what came
    /// out.
    fn carry(from: &mut TlsSession, to: &mut TlsSession, lens: &[usize]) -> Vec<u8> {
        let mut wire = Vec::new();
        from.write_to(&mut wire).expect("a vector takes all");
        let mut plaintext = Vec::new();
        let mut buffer = vec![0; HEADROOM + 64 * 1024];
        let mut lens = lens.iter().cycle();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let len = rest.len().min(*lens.next().expect("it has no end"));
            buffer[HEADROOM..HEADROOM + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            let decrypted = to.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + len);
            plaintext.extend_from_slice(&buffer[..decrypted.expect("sound").len]);
        }
        plaintext
    }

    fn shake_hands(&mut self, lens: &[usize]) {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            assert!(Self::carry(&mut self.client, &mut self.server, lens).is_empty());
            assert!(Self::carry(&mut self.server, &mut self.client, lens).is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out_however_the_bytes_are_cut(
        lens in prop::collection::vec(1_usize..40_000, 1..8),
        sent in prop::collection::vec(prop::collection::vec(0_usize..30_000, 1..5), 1..5),
    ) {
        let mut pair = Pair::new();
        pair.shake_hands(&lens);
        for (nth, pieces) in sent.iter().enumerate() {
            let bytes: Vec<Vec<u8>> = pieces.iter().map(|len| vec![nth as u8; *len]).collect();
            let slices: Vec<_> = bytes.iter().map(|piece| IoSlice::new(piece)).collect();
            let taken = pair.server.encrypt(&slices).expect("open");
            let all = bytes.concat();
            // A part is taken only where more is held than should be.
            prop_assert!(taken == all.len() || taken > 32 * 1024);
            let got = Pair::carry(&mut pair.server, &mut pair.client, &lens);
            prop_assert_eq!(&got, &all[..taken]);
            let taken = pair.client.encrypt(&slices).expect("open");
            let got = Pair::carry(&mut pair.client, &mut pair.server, &lens);
            prop_assert_eq!(&got, &all[..taken]);
        }
        pair.client.close();
        prop_assert!(Pair::carry(&mut pair.client, &mut pair.server, &lens).is_empty());
        prop_assert!(pair.server.is_closed());
    }

    #[test]
    fn no_bytes_harm_a_server(noise in prop::collection::vec(any::<u8>(), 1..4_000)) {
        let mut pair = Pair::new();
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&noise);
        let ciphertext = HEADROOM..buffer.len();
        if let Ok(decrypted) = pair.server.decrypt_in_place(&mut buffer, ciphertext) {
            prop_assert_eq!(decrypted.len, 0);
            prop_assert!(pair.server.is_handshaking());
        }
    }
}

#[test]
fn every_first_cut_of_a_handshake_is_right() {
    for len in 1..600 {
        Pair::new().shake_hands(&[len, 10_000]);
    }
}

#[test]
fn a_full_session_takes_no_more_until_it_is_written() {
    let mut pair = Pair::new();
    pair.shake_hands(&[10_000]);
    let much = vec![7; 300_000];
    let mut taken = 0;
    while let count @ 1.. = pair.server.encrypt(&[IoSlice::new(&much)]).expect("open") {
        taken += count;
        assert!(taken < 150_000, "there is a limit");
    }
    assert!(pair.server.has_pending());
    assert_eq!(Pair::carry(&mut pair.server, &mut pair.client, &[16_000]).len(), taken);
    assert!(!pair.server.has_pending());
    assert!(pair.server.encrypt(&[IoSlice::new(&much)]).expect("open") > 0);
}

#[test]
fn a_file_that_is_of_no_use_is_named_with_the_mend() {
    let files = Files::new();
    files.issue("localhost");
    files.issue("other");
    files.write("empty", "");
    files.write("noise", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let server = files.server();
    let required = ClientCertificate::Required;
    let cases = [
        (
            ServerFiles { certificate: files.path("none"), ..server.clone() },
            "none",
            "can't be read",
        ),
        (ServerFiles { certificate: files.path("empty"), ..server.clone() }, "empty", "PEM"),
        (ServerFiles { certificate: files.path("noise"), ..server.clone() }, "noise", "PEM"),
        (ServerFiles { key: files.path("ca.pem"), ..server.clone() }, "ca.pem", "openssl pkey"),
        (
            ServerFiles { key: files.path("other.key"), ..server.clone() },
            "other.key",
            "not the key of",
        ),
        (
            ServerFiles { client_certificate: required, ..server.clone() },
            "localhost.pem",
            "client_ca",
        ),
        (
            ServerFiles {
                client_certificate: required,
                client_ca: Some(files.path("empty")),
                ..server
            },
            "empty",
            "no certificate",
        ),
    ];
    for (server, name, reason) in cases {
        let error = server.load().expect_err("a file is of no use");
        assert_eq!(error.path, files.path(name));
        assert!(error.reason.contains(reason), "{error}");
    }
}
