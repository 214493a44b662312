//! Sessions of both sides against each other, with the bytes between them cut anywhere, and files
//! that are of no use.

use super::*;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fs;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::OnceLock;
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
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("ca.pem"), ca.pem()).expect("a file");
        Self { folder, ca }
    }

    /// A certificate whose serial number is the length of its name.
    fn issue(&self, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.serial_number = Some(SerialNumber::from(name.len() as u64));
        params.not_after = date_time_ymd(2200, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A list of revoked certificates, after whose year there should be a newer one.
    fn revoke(&self, names: &[&str], year: i32) {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(name.len() as u64),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.ca).expect("a list");
        self.write("revoked.crl", &list.pem().expect("PEM"));
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

    fn client(&self) -> ClientTls {
        ClientTls::new().ca_pem(fs::read(self.path("ca.pem")).expect("a file"))
    }
}

fn configurations() -> &'static (ServerTls, TlsConnector) {
    static MADE: OnceLock<(ServerTls, TlsConnector)> = OnceLock::new();
    MADE.get_or_init(|| {
        let files = Files::new();
        files.issue("localhost");
        let client = files.client().connector().expect("settings of use");
        (files.server().load(ALPN_MQTT).expect("a configuration"), client)
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
        Self::of(server, client)
    }

    fn of(server: &ServerTls, client: &TlsConnector) -> Self {
        let server = server.session().expect("a session");
        Self { client: client.session("localhost").expect("a session"), server }
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

    /// What a handshake comes to that fails on one side or the other.
    fn failure(&mut self) -> Option<TlsError> {
        let mut buffer = vec![0; HEADROOM + 64 * 1024];
        for _ in 0..10 {
            for is_upward in [true, false] {
                let (from, to) = match is_upward {
                    true => (&mut self.client, &mut self.server),
                    false => (&mut self.server, &mut self.client),
                };
                let mut wire = Vec::new();
                from.write_to(&mut wire).expect("a vector takes all");
                buffer[HEADROOM..HEADROOM + wire.len()].copy_from_slice(&wire);
                let end = HEADROOM + wire.len();
                if let Err(error) = to.decrypt_in_place(&mut buffer, HEADROOM..end) {
                    return Some(error);
                }
            }
        }
        None
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
    files.write("bad.crl", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
    files.write("noise", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let server = files.server();
    let required = ClientCertificate::Required;
    let asks = ServerFiles {
        client_certificate: required,
        client_ca: Some(files.path("ca.pem")),
        ..server.clone()
    };
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
                ..server.clone()
            },
            "empty",
            "no certificate",
        ),
        (
            ServerFiles { client_ca: Some(files.path("ca.pem")), ..server.clone() },
            "ca.pem",
            "client_certificate is none",
        ),
        (ServerFiles { client_crl: Some(files.path("empty")), ..asks.clone() }, "empty", "no rev"),
        (ServerFiles { client_crl: Some(files.path("bad.crl")), ..asks }, "bad.crl", "of use"),
    ];
    for (server, name, reason) in cases {
        let error = server.load(ALPN_MQTT).expect_err("a file is of no use");
        assert_eq!(error.path, files.path(name));
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn both_sides_know_each_other_or_end() {
    let (files, strange) = (Files::new(), Files::new());
    for name in ["localhost", "lamp"] {
        files.issue(name);
        strange.issue(name);
    }
    let read = |files: &Files, name: &str| fs::read(files.path(name)).expect("a file");
    let shows = |tls: ClientTls, files: &Files| {
        tls.client_certificate_pem(read(files, "lamp.pem"), read(files, "lamp.key"))
    };
    let open = files.server();
    let asks = |client_certificate| ServerFiles {
        client_ca: Some(files.path("ca.pem")),
        client_certificate,
        ..files.server()
    };
    let (optional, required) =
        (asks(ClientCertificate::Optional), asks(ClientCertificate::Required));
    let cases = [
        (&open, files.client(), None),
        (&open, strange.client(), Some("invalid peer certificate")),
        (&open, files.client().server_name("elsewhere"), Some("elsewhere")),
        (&open, files.client().server_name("elsewhere").accept_any_name(), None),
        (&open, strange.client().accept_any_name(), Some("invalid peer certificate")),
        (&open, files.client().alpn(["mqtt"]), None),
        (&open, files.client().alpn(["http/1.1"]), Some("known protocol")),
        (&optional, files.client(), None),
        (&optional, shows(files.client(), &files), None),
        (&optional, shows(files.client(), &strange), Some("invalid peer certificate")),
        (&required, files.client(), Some("no certificates")),
        (&required, shows(files.client(), &files), None),
    ];
    for (nth, (server, client, expected)) in cases.into_iter().enumerate() {
        let server = server.load(ALPN_MQTT).expect("a configuration");
        let connector = client.connector().expect("settings of use");
        let mut pair = Pair::of(&server, &connector);
        let failure = pair.failure().map(|error| error.to_string());
        match expected {
            Some(expected) => {
                let failure = failure.expect("a side ends it");
                assert!(failure.contains(expected), "case {nth}: {failure}");
            }
            None => assert_eq!(failure, None, "case {nth}"),
        }
    }
}

/// What comes of bytes that arrive.
fn receive(session: &mut TlsSession, bytes: &[u8]) -> Result<Decrypted, TlsError> {
    let mut buffer = vec![0; HEADROOM + bytes.len()];
    buffer[HEADROOM..].copy_from_slice(bytes);
    session.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + bytes.len())
}

#[test]
fn what_a_client_has_against_a_server_can_be_told_apart() {
    let (files, namesake) = (Files::new(), Files::new());
    files.issue("localhost");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let key = KeyPair::generate().expect("a key");
    let own = params.self_signed(&key).expect("a certificate");
    files.write("own.pem", &own.pem());
    files.write("own.key", &key.serialize_pem());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "another");
    let another = params.self_signed(&key).expect("a certificate");
    let another = ClientTls::new().ca_pem(another.pem());
    let of_own = ServerFiles {
        certificate: files.path("own.pem"),
        key: files.path("own.key"),
        ..ServerFiles::default()
    };
    let misnamed = CertificateFault::Name {
        asked: "elsewhere".to_owned(),
        names: Some(vec!["localhost".to_owned()]),
    };
    for (server, client, expected) in [
        // It has the name of its authority, and has not signed itself for that.
        (files.server(), another.clone(), CertificateFault::UnknownIssuer),
        (files.server(), namesake.client(), CertificateFault::BadSignature),
        (of_own, another, CertificateFault::SelfSigned),
        (files.server(), files.client().server_name("elsewhere"), misnamed),
    ] {
        let server = server.load(ALPN_MQTT).expect("a configuration");
        let connector = client.connector().expect("settings of use");
        let mut pair = Pair::of(&server, &connector);
        let error = pair.failure().expect("the client ends it");
        assert_eq!(*error.fault(), TlsFault::Certificate(expected));
        let expected = error.fault().clone();
        let error = std::io::Error::other(error);
        assert_eq!(TlsFault::of(&error), Some(&expected));
    }
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsFault::Http),
        (b"220 mail.example ESMTP\r\n", TlsFault::NoTls),
        // An alert: the version is none of ours.
        (b"\x15\x03\x03\0\x02\x02\x46", TlsFault::Alert(TlsAlert::ProtocolVersion)),
        (b"\x15\x03\x03\0\x02\x02\x59", TlsFault::Alert(TlsAlert::Other(0x59))),
    ] {
        let mut client = Pair::new().client;
        let error = receive(&mut client, answer).expect_err("it is over");
        assert_eq!(*error.fault(), expected);
    }
    assert_eq!(TlsFault::of(&std::io::ErrorKind::UnexpectedEof.into()), None);
}

#[test]
fn a_client_learns_what_a_server_has_against_it() {
    let (files, namesake) = (Files::new(), Files::new());
    ["localhost", "lamp", "gauge"].into_iter().for_each(|name| files.issue(name));
    namesake.issue("lamp");
    files.revoke(&["gauge"], 2100);
    let server = asking(&files).load(ALPN_MQTT).expect("a configuration");
    let read = |name: &str| fs::read(namesake.path(name)).expect("a file");
    let strange = files.client().client_certificate_pem(read("lamp.pem"), read("lamp.key"));
    for (client, expected) in [
        (files.client().connector().expect("settings of use"), TlsAlert::CertificateRequired),
        (showing(&files, "gauge"), TlsAlert::CertificateRevoked),
        (strange.connector().expect("settings of use"), TlsAlert::DecryptError),
    ] {
        let mut pair = Pair::of(&server, &client);
        let refused = pair.failure().expect("the server ends it");
        assert!(refused.is_of_certificate(), "{refused}");
        // In TLS 1.3 its handshake is over by now.
        assert!(!pair.client.is_handshaking());
        let mut wire = Vec::new();
        pair.server.write_to(&mut wire).expect("a vector takes all");
        let error = receive(&mut pair.client, &wire).expect_err("it is over");
        assert_eq!(*error.fault(), TlsFault::Alert(expected));
    }
}

#[test]
fn a_client_is_told_which_of_its_settings_is_of_no_use() {
    let files = Files::new();
    files.issue("lamp");
    files.issue("other");
    let read = |name: &str| fs::read(files.path(name)).expect("a file");
    let error = |tls: ClientTls| tls.connector().expect_err("of no use").to_string();
    assert!(error(ClientTls::new().ca_pem("?")).contains("PEM"));
    assert!(error(files.client().server_name("a b")).contains("a b"));
    let shown = files.client().client_certificate_pem("", read("lamp.key"));
    assert!(error(shown).contains("no certificate of the client"));
    for key in [read("other.key"), Vec::new()] {
        let shown = files.client().client_certificate_pem(read("lamp.pem"), key);
        assert!(error(shown).contains("no key of the client"));
    }
}

/// A server that asks for certificates, and has a list of those that count no more.
fn asking(files: &Files) -> ServerFiles {
    ServerFiles {
        client_ca: Some(files.path("ca.pem")),
        client_crl: Some(files.path("revoked.crl")),
        client_certificate: ClientCertificate::Required,
        ..files.server()
    }
}

fn showing(files: &Files, name: &str) -> TlsConnector {
    let read = |extension: &str| fs::read(files.path(&format!("{name}.{extension}")));
    let (certificate, key) = (read("pem").expect("a file"), read("key").expect("a file"));
    let tls = files.client().client_certificate_pem(certificate, key);
    tls.connector().expect("settings of use")
}

#[test]
fn a_list_counts_until_it_is_old_or_as_long_as_one_says() {
    let files = Files::new();
    ["localhost", "lamp", "gauge"].into_iter().for_each(|name| files.issue(name));
    let accepting = ServerFiles { accepts_old_crl: true, ..asking(&files) };
    for (revoked, year, server, name, expected) in [
        (&["gauge"][..], 2100, asking(&files), "lamp", None),
        (&["gauge"], 2100, asking(&files), "gauge", Some("Revoked")),
        (&["gauge"], 2021, asking(&files), "lamp", Some("expired")),
        (&["gauge"], 2021, accepting.clone(), "lamp", None),
        (&["gauge"], 2021, accepting, "gauge", Some("Revoked")),
    ] {
        files.revoke(revoked, year);
        let server = server.load(ALPN_MQTT).expect("a configuration");
        let failure = Pair::of(&server, &showing(&files, name)).failure();
        let failure = failure.map(|error| error.to_string().to_lowercase());
        match expected.map(str::to_lowercase) {
            Some(expected) => {
                let failure = failure.expect("a side ends it");
                assert!(failure.contains(&expected), "{name} in {year}: {failure}");
            }
            None => assert_eq!(failure, None, "{name} in {year}"),
        }
        let of_lists = |validity: &&Validity| validity.dated == Dated::RevocationList;
        let validity = server.validities().iter().find(of_lists).expect("its date");
        assert!(validity.to_string().starts_with(&format!("Jan  1 00:00:00 {year}")), "{validity}");
    }
}

#[test]
fn dates_are_those_of_the_files() {
    let files = Files::new();
    ["localhost", "lamp"].into_iter().for_each(|name| files.issue(name));
    files.revoke(&[], 2030);
    let server = asking(&files).load(ALPN_MQTT).expect("a configuration");
    let found: Vec<_> = server
        .validities()
        .iter()
        .map(|validity| (validity.path.clone(), validity.dated, validity.until))
        .collect();
    let certificate = Dated::Certificate;
    assert_eq!(
        found,
        [
            (files.path("localhost.pem"), certificate, 7_258_118_400),
            (files.path("ca.pem"), certificate, 67_090_118_400),
            (files.path("revoked.crl"), Dated::RevocationList, 1_893_456_000),
        ]
    );
}

#[test]
fn keys_for_other_purposes_last_as_long_as_the_private_key() {
    let files = Files::new();
    files.issue("localhost");
    let load = || files.server().load(ALPN_MQTT).expect("a configuration");
    let before = load();
    let key = before.derive_key(&[b"a", b"b"]);
    assert_eq!(load().derive_key(&[b"a", b"b"]), key);
    assert_ne!(before.derive_key(&[b"a", b"c"]), key);
    files.issue("localhost");
    let after = before.reload().expect("of use").expect("it has changed");
    assert_ne!(after.derive_key(&[b"a", b"b"]), key);
}

#[test]
fn who_comes_back_is_looked_at_again() {
    let files = Files::new();
    ["localhost", "lamp", "gauge"].into_iter().for_each(|name| files.issue(name));
    files.revoke(&[], 2100);
    let first = asking(&files).load(ALPN_MQTT).expect("a configuration");
    let (lamp, gauge) = (showing(&files, "lamp"), showing(&files, "gauge"));
    let resumes = |server: &ServerTls, connector: &TlsConnector| {
        let mut pair = Pair::of(server, connector);
        pair.shake_hands(&[10_000]);
        // The ticket.
        Pair::carry(&mut pair.server, &mut pair.client, &[10_000]);
        assert_eq!(pair.server.peer_certificates().count(), 1);
        pair.server.is_resumed()
    };
    for connector in [&lamp, &gauge] {
        assert!(!resumes(&first, connector));
        assert!(resumes(&first, connector));
    }
    assert!(first.reload().expect("they can be read").is_none(), "nothing has changed");
    // Another certificate of the server: tickets stay good.
    files.issue("localhost");
    let second = first.reload().expect("they fit").expect("it has changed");
    assert!(resumes(&second, &lamp));
    // Another list: nobody comes in by a ticket of before.
    files.revoke(&["gauge"], 2100);
    let third = second.reload().expect("they fit").expect("it has changed");
    assert!(!resumes(&third, &lamp));
    assert!(resumes(&third, &lamp));
    let failure = Pair::of(&third, &gauge).failure().expect("it is revoked");
    assert!(failure.to_string().contains("Revoked"), "{failure}");
    // Files that don't fit change nothing.
    fs::copy(files.path("lamp.key"), files.path("localhost.key")).expect("a file");
    let error = third.reload().expect_err("the key of another");
    assert_eq!(error.path, files.path("localhost.key"));
    assert!(resumes(&third, &lamp));
}

#[test]
fn a_ticket_does_not_outlive_its_certificate() {
    // The verifier of one server with the tickets of another: as if the certificate had ended since.
    let files = Files::new();
    ["localhost", "lamp"].into_iter().for_each(|name| files.issue(name));
    files.revoke(&[], 2100);
    let before = asking(&files).load(ALPN_MQTT).expect("a configuration");
    let lamp = showing(&files, "lamp");
    let mut pair = Pair::of(&before, &lamp);
    pair.shake_hands(&[10_000]);
    Pair::carry(&mut pair.server, &mut pair.client, &[10_000]);
    files.revoke(&["lamp"], 2100);
    let after = asking(&files).load(ALPN_MQTT).expect("a configuration");
    let mut pair = Pair::of(&before.with_verifier_of(&after), &lamp);
    let failure = pair.failure().expect("it is revoked");
    assert!(failure.to_string().contains("Revoked"), "{failure}");
    assert!(pair.server.is_resumed());
    assert!(pair.server.check().is_err());
}

#[test]
fn what_came_before_a_broken_record_counts() {
    let mut pair = Pair::new();
    pair.shake_hands(&[10_000]);
    pair.client.encrypt(&[IoSlice::new(b"goodbye")]).expect("open");
    let mut wire = Vec::new();
    pair.client.write_to(&mut wire).expect("a vector takes all");
    wire.extend_from_slice(&[23, 3, 3, 0, 20]);
    wire.extend_from_slice(&[7; 20]);
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(&wire);
    let ciphertext = HEADROOM..buffer.len();
    let decrypted = pair.server.decrypt_in_place(&mut buffer, ciphertext).expect("plaintext");
    assert_eq!((&buffer[..decrypted.len], decrypted.is_broken), (&b"goodbye"[..], true));
    assert!(pair.server.check().is_err());
    assert!(pair.server.has_pending(), "an alert");
    let nothing = HEADROOM..HEADROOM;
    assert!(pair.server.decrypt_in_place(&mut buffer, nothing).is_err());
}

#[test]
fn nothing_that_comes_after_a_goodbye_does_harm() {
    let mut pair = Pair::new();
    pair.shake_hands(&[10_000]);
    pair.server.close();
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(&[23, 3, 3, 0, 20]);
    buffer.extend_from_slice(&[7; 20]);
    let ciphertext = HEADROOM..buffer.len();
    let decrypted = pair.server.decrypt_in_place(&mut buffer, ciphertext).expect("it is forgotten");
    assert_eq!(decrypted, Decrypted { len: 0, is_closed: false, is_broken: false });
}

#[test]
fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let files = Files::new();
    let names = ["localhost", "a.example", "*.b.example", "other"];
    names.into_iter().for_each(|name| files.issue(name));
    let further = |name: &str| CertificateFiles {
        certificate: files.path(&format!("{name}.pem")),
        key: files.path(&format!("{name}.key")),
    };
    let several = ServerFiles {
        further: vec![further("a.example"), further("*.b.example")],
        ..files.server()
    };
    let shown = |server: &ServerTls, name: &str| {
        // Without a ticket of before, by which no certificate is shown.
        let client = files.client().connector().expect("settings of use");
        let mut pair = Pair {
            client: client.session(name).expect("a session"),
            server: server.session().expect("a session"),
        };
        let failure = pair.failure();
        let shown = pair.client.peer_certificates().next().map(<[u8]>::to_vec);
        (shown, failure.map(|error| error.to_string()))
    };
    let of = |name: &str| {
        let pem = fs::read(files.path(&format!("{name}.pem"))).expect("a file");
        let certificate = CertificateDer::from_pem_slice(&pem).expect("PEM");
        (Some(certificate.to_vec()), None)
    };
    let server = several.load(ALPN_MQTT).expect("a configuration");
    for (name, expected) in [
        ("localhost", "localhost"),
        ("a.example", "a.example"),
        ("A.Example", "a.example"),
        ("x.b.example", "*.b.example"),
    ] {
        assert_eq!(shown(&server, name), of(expected), "{name}");
    }
    // None of them: the first is shown, and is not taken. Nor is there a name in an address.
    for name in ["c.example", "b.example", "127.0.0.1"] {
        let (_, failure) = shown(&server, name);
        let failure = failure.expect("it is for others");
        assert!(failure.contains("localhost"), "{name}: {failure}");
    }
    let first = CertificateFiles {
        certificate: files.path("*.b.example.pem"),
        key: files.path("*.b.example.key"),
    };
    files.issue("x.b.example");
    let wide_first = ServerFiles {
        certificate: first.certificate,
        key: first.key,
        further: vec![further("x.b.example")],
        ..ServerFiles::default()
    };
    let wide_first = wide_first.load(ALPN_MQTT).expect("a configuration");
    for (name, expected) in [("x.b.example", "x.b.example"), ("y.b.example", "*.b.example")] {
        assert_eq!(shown(&wide_first, name), of(expected), "{name}");
    }
    let ends: Vec<_> = server.validities().iter().map(|validity| &validity.path).collect();
    let certificates = several.paths().filter(|path| path.extension().is_some_and(|e| e == "pem"));
    assert!(ends.into_iter().eq(certificates));

    files.issue("a.example");
    let renewed = server.reload().expect("they fit").expect("one has changed");
    assert_eq!(shown(&renewed, "a.example"), of("a.example"));
    assert_ne!(shown(&server, "a.example"), of("a.example"));
    fs::copy(files.path("other.key"), files.path("a.example.key")).expect("a file");
    let error = renewed.reload().expect_err("the key of another");
    assert_eq!(error.path, files.path("a.example.key"));
}
