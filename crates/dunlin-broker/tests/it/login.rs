//! Users of a password file, and whoever else wants to come in.

use super::peer::{Peer, connect};
use dunlin_broker::config::{Auth, Config, Listener};
use dunlin_broker::{Broker, PasswordFileError, ReloadError, StartError};
use dunlin_identity::password_file::{Cost, set_password, set_scram};
use dunlin_identity::scram::{ClientStart, Credentials, Mechanism, NONCE_LEN};
use dunlin_protocol::codec::{self, AuthProperties, Packet, ProtocolVersion, ReasonCode, Text};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A password file in a folder of its own.
struct Passwords {
    _folder: TempDir,
    path: PathBuf,
}

impl Passwords {
    fn new(users: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passwords");
        let passwords = Self { _folder: folder, path };
        passwords.write(&text(users));
        passwords
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).expect("its owner's");
    }
}

fn text(users: &[(&str, &str)]) -> String {
    let cost = Cost::new(8, 1, 1).expect("next to none");
    users.iter().fold(String::new(), |text, (user, password)| {
        set_password(&text, user, password.as_bytes(), cost, &[7; 16]).expect("a user")
    })
}

fn config(path: &Path, workers: usize) -> Config {
    let auth = Auth { password_file: Some(path.to_owned()), ..Auth::default() };
    Config { listeners: Vec::new(), workers, auth, ..Config::default() }
}

fn start(config: Config) -> Broker {
    Broker::builder().config(config).start().expect("a legal file")
}

/// Sends CONNECT; the connection, and the Reason Code of its CONNACK.
fn log_in(broker: &Broker, as_whom: (&str, Option<&str>, Option<&str>)) -> (Peer, ReasonCode) {
    let (client_identifier, user_name, password) = as_whom;
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    let Packet::Connect(mut packet) = connect(client_identifier) else { panic!("a CONNECT") };
    packet.user_name = user_name.map(|user_name| user_name.parse().expect("a legal name"));
    packet.password = password.map(|password| password.as_bytes().to_vec().into());
    peer.send(&Packet::Connect(packet));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => (peer, connack.reason_code),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn who_has_the_password_comes_in_and_nobody_else() {
    let passwords = Passwords::new(&[("gauge", "open sesame"), ("pump", "swordfish")]);
    for workers in [1, 3] {
        let broker = start(config(&passwords.path, workers));
        // Each of them more than once: those that are remembered take another way.
        for at in 0..6 {
            let client_identifier = format!("c-{at}");
            for (user_name, password, expected) in [
                (Some("gauge"), Some("open sesame"), ReasonCode::Success),
                (Some("gauge"), Some("swordfish"), ReasonCode::BadUserNameOrPassword),
                (Some("gauge"), Some(""), ReasonCode::BadUserNameOrPassword),
                (Some("gauge"), None, ReasonCode::BadUserNameOrPassword),
                (Some("nobody"), Some("open sesame"), ReasonCode::BadUserNameOrPassword),
                (Some(""), Some(""), ReasonCode::BadUserNameOrPassword),
                (None, Some("open sesame"), ReasonCode::BadUserNameOrPassword),
                (None, None, ReasonCode::BadUserNameOrPassword),
            ] {
                let (mut peer, reason_code) =
                    log_in(&broker, (&client_identifier, user_name, password));
                assert_eq!(reason_code, expected, "{user_name:?} {password:?}");
                if expected != ReasonCode::Success {
                    assert_eq!(peer.receive(), None, "closed");
                }
            }
        }
        broker.stop();
    }
}

#[test]
fn clients_of_mqtt_3_are_told_in_their_way() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let broker = start(config(&passwords.path, 1));
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    peer.speak(ProtocolVersion::V3_1_1);
    let Packet::Connect(mut packet) = connect("one") else { panic!("a CONNECT") };
    packet.protocol_version = ProtocolVersion::V3_1_1;
    peer.send(&Packet::Connect(packet));
    let Some(Packet::ConnAck(connack)) = peer.receive() else { panic!("no CONNACK") };
    assert_eq!(connack.reason_code.connect_return_code(), 4);
}

#[test]
fn anonymous_clients_may_come_beside_users_if_that_is_said() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let allow_anonymous = Some(true);
    let broker = start(Config { allow_anonymous, ..config(&passwords.path, 1) });
    let (_gauge, reason_code) = log_in(&broker, ("one", Some("gauge"), Some("open sesame")));
    assert_eq!(reason_code, ReasonCode::Success);
    let (_anonymous, reason_code) = log_in(&broker, ("two", None, None));
    assert_eq!(reason_code, ReasonCode::Success);
    // Who names a user must be it, and nobody gets at the session of another.
    let (_, reason_code) = log_in(&broker, ("three", Some("nobody"), Some("x")));
    assert_eq!(reason_code, ReasonCode::BadUserNameOrPassword);
    let (_, reason_code) = log_in(&broker, ("one", None, None));
    assert_eq!(reason_code, ReasonCode::NotAuthorized);
}

#[test]
fn a_file_that_has_changed_counts_from_the_reload_on() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let broker = start(config(&passwords.path, 2));
    let (mut gauge, reason_code) = log_in(&broker, ("one", Some("gauge"), Some("open sesame")));
    assert_eq!(reason_code, ReasonCode::Success);

    for bad in ["gauge", "gauge:$argon2id$nonsense\n"] {
        passwords.write(bad);
        assert!(
            matches!(
                broker.reload(),
                Err(ReloadError::PasswordFile(PasswordFileError::Invalid { .. }))
            ),
            "{bad:?}"
        );
        let (_, reason_code) = log_in(&broker, ("two", Some("gauge"), Some("open sesame")));
        assert_eq!(reason_code, ReasonCode::Success);
    }
    passwords.write(&text(&[("gauge", "changed"), ("pump", "swordfish")]));
    assert_eq!(broker.reload().expect("a legal file"), Some(2));
    for (user_name, password, expected) in [
        ("gauge", "open sesame", ReasonCode::BadUserNameOrPassword),
        ("gauge", "changed", ReasonCode::Success),
        ("pump", "swordfish", ReasonCode::Success),
    ] {
        let (_, reason_code) = log_in(&broker, (user_name, Some(user_name), Some(password)));
        assert_eq!(reason_code, expected, "{user_name} {password}");
    }
    gauge.send(&Packet::PingReq);
    assert_eq!(gauge.receive(), Some(Packet::PingResp), "who was in stays in");
}

#[test]
fn a_file_that_may_be_half_written_changes_nothing() {
    let whole = text(&[("gauge", "open sesame"), ("pump", "swordfish")]);
    let passwords = Passwords::new(&[("gauge", "open sesame"), ("pump", "swordfish")]);
    let broker = start(config(&passwords.path, 1));
    // Each cut but those at the end of a line, after which nobody can tell.
    for cut in (0..whole.len()).filter(|cut| *cut == 0 || whole.as_bytes()[cut - 1] != b'\n') {
        passwords.write(&whole[..cut]);
        let error = broker.reload().expect_err("half-written");
        assert!(matches!(error, ReloadError::PasswordFile(_)), "{cut}: {error}");
    }
    for empty in ["", "\n", "# people\n"] {
        passwords.write(empty);
        let error = broker.reload().expect_err("emptied");
        assert!(matches!(error, ReloadError::PasswordFile(PasswordFileError::Emptied(_))));
        assert!(error.to_string().contains("`# no users`"), "{error}");
    }
    for (user, password) in [("gauge", "open sesame"), ("pump", "swordfish")] {
        let (_, reason_code) = log_in(&broker, (user, Some(user), Some(password)));
        assert_eq!(reason_code, ReasonCode::Success, "{user}");
    }
    // A start takes what has no end of its last line, and is told.
    passwords.write(whole.trim_end());
    let broker = start(config(&passwords.path, 1));
    let (_, reason_code) = log_in(&broker, ("one", Some("pump"), Some("swordfish")));
    assert_eq!(reason_code, ReasonCode::Success);
}

#[test]
fn a_file_whose_last_user_is_gone_lets_nobody_in() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let allow_anonymous = Some(true);
    let broker = start(Config { allow_anonymous, ..config(&passwords.path, 1) });
    let (mut gauge, reason_code) = log_in(&broker, ("one", Some("gauge"), Some("open sesame")));
    assert_eq!(reason_code, ReasonCode::Success);
    passwords.write("# no users\n");
    assert_eq!(broker.reload().expect("of use"), Some(0));
    let (_, reason_code) = log_in(&broker, ("two", Some("gauge"), Some("open sesame")));
    assert_eq!(reason_code, ReasonCode::BadUserNameOrPassword);
    // Of nobody a half-written file takes anything away.
    passwords.write("");
    assert_eq!(broker.reload().expect("as before"), Some(0));
    gauge.send(&Packet::PingReq);
    assert_eq!(gauge.receive(), Some(Packet::PingResp), "who was in stays in");
    broker.stop();

    // A broker that others can come into starts with such a file.
    let broker = start(Config { allow_anonymous, ..config(&passwords.path, 1) });
    let (_, reason_code) = log_in(&broker, ("one", Some("gauge"), Some("open sesame")));
    assert_eq!(reason_code, ReasonCode::BadUserNameOrPassword);
    let (_, reason_code) = log_in(&broker, ("one", None, None));
    assert_eq!(reason_code, ReasonCode::Success);
}

#[test]
fn what_is_too_long_to_be_right_is_refused_and_does_not_wait() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let broker = start(config(&passwords.path, 1));
    let long = "x".repeat(30_000);
    for (user_name, password) in [("gauge", &*long), (&*long, "open sesame"), (&long, &long)] {
        let (_, reason_code) = log_in(&broker, ("one", Some(user_name), Some(password)));
        assert_eq!(reason_code, ReasonCode::BadUserNameOrPassword);
    }
}

/// Proves a password by SCRAM; the Reason Code of CONNACK, and whether the broker is the right one.
fn prove(broker: &Broker, mechanism: Mechanism, user: &str, password: &str) -> (Peer, ReasonCode) {
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    let Packet::Connect(mut packet) = connect("one") else { panic!("a CONNECT") };
    let start = ClientStart::new(mechanism, user, password.as_bytes(), &[9; NONCE_LEN]);
    let start = start.expect("a legal name");
    packet.properties.authentication_method = Some(Text::from_static(mechanism.method()));
    packet.properties.authentication_data = Some(start.message().into());
    peer.send(&Packet::Connect(packet));
    let reason_code = go_on(&mut peer, mechanism, start);
    (peer, reason_code)
}

/// Goes on with an exchange to its end.
fn go_on(peer: &mut Peer, mechanism: Mechanism, start: ClientStart) -> ReasonCode {
    let challenge = match peer.receive() {
        Some(Packet::Auth(auth)) => auth.properties.authentication_data.expect("data"),
        Some(Packet::ConnAck(connack)) => return connack.reason_code,
        packet => panic!("no challenge but {packet:?}"),
    };
    let (proof, last) = start.handle_server_first(&challenge).expect("a challenge");
    peer.send(&step(mechanism, ReasonCode::ContinueAuthentication, proof));
    let (reason_code, data) = match peer.receive() {
        Some(Packet::ConnAck(connack)) => {
            (connack.reason_code, connack.properties.authentication_data)
        }
        Some(Packet::Auth(auth)) => (auth.reason_code, auth.properties.authentication_data),
        Some(Packet::Disconnect(disconnect)) => (disconnect.reason_code, None),
        packet => panic!("no end but {packet:?}"),
    };
    if reason_code == ReasonCode::Success {
        last.handle_server_final(&data.expect("data")).expect("the right broker");
    }
    reason_code
}

fn step(mechanism: Mechanism, reason_code: ReasonCode, data: Vec<u8>) -> Packet {
    let properties = AuthProperties {
        authentication_method: Some(Text::from_static(mechanism.method())),
        authentication_data: Some(data.into()),
        ..AuthProperties::default()
    };
    Packet::Auth(Box::new(codec::Auth { reason_code, properties }))
}

fn scram_text(text: &str, user: &str, password: &str) -> String {
    let derive = |mechanism| Credentials::derive(mechanism, password.as_bytes(), &[7; 16], 4_096);
    let credentials = Mechanism::ALL.map(|mechanism| derive(mechanism).expect("legal"));
    set_scram(text, user, &credentials, &[8; 32]).expect("a user")
}

#[test]
fn scram_proves_the_password_and_the_broker() {
    let passwords = Passwords::new(&[("pump", "swordfish")]);
    passwords.write(&scram_text(&text(&[("pump", "swordfish")]), "gauge", "open sesame"));
    for workers in [1, 3] {
        let broker = start(config(&passwords.path, workers));
        for mechanism in Mechanism::ALL {
            for (user, password, expected) in [
                ("gauge", "open sesame", ReasonCode::Success),
                ("gauge", "swordfish", ReasonCode::NotAuthorized),
                ("nobody", "open sesame", ReasonCode::NotAuthorized),
                ("pump", "swordfish", ReasonCode::NotAuthorized),
            ] {
                let (_peer, reason_code) = prove(&broker, mechanism, user, password);
                assert_eq!(reason_code, expected, "{mechanism:?} {user} {password}");
            }
        }
        // The plain password does, too, and the session is the same user's.
        let (_, reason_code) = log_in(&broker, ("one", Some("gauge"), Some("open sesame")));
        assert_eq!(reason_code, ReasonCode::Success);

        // Again, on the connection that stands: as the same user, then as nobody.
        let mechanism = Mechanism::SHA_256;
        let (mut peer, _) = prove(&broker, mechanism, "gauge", "open sesame");
        for (password, expected) in
            [("open sesame", ReasonCode::Success), ("open barley", ReasonCode::NotAuthorized)]
        {
            let start = ClientStart::new(mechanism, "gauge", password.as_bytes(), &[8; NONCE_LEN]);
            let start = start.expect("a legal name");
            peer.send(&step(mechanism, ReasonCode::ReAuthenticate, start.message()));
            assert_eq!(go_on(&mut peer, mechanism, start), expected, "{password}");
        }
        assert_eq!(peer.receive(), None, "closed");
        broker.stop();
    }
}

#[test]
fn methods_that_nobody_has_are_refused() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let allow_anonymous = Some(true);
    let broker = start(Config { allow_anonymous, ..config(&passwords.path, 1) });
    let (_, reason_code) = prove(&broker, Mechanism::SHA_256, "gauge", "open sesame");
    assert_eq!(reason_code, ReasonCode::BadAuthenticationMethod, "no credentials for it");
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    let Packet::Connect(mut packet) = connect("one") else { panic!("a CONNECT") };
    packet.properties.authentication_method = Some(Text::from_static("KERBEROS"));
    peer.send(&Packet::Connect(packet));
    let Some(Packet::ConnAck(connack)) = peer.receive() else { panic!("no CONNACK") };
    assert_eq!(connack.reason_code, ReasonCode::BadAuthenticationMethod);
}

#[test]
fn a_broker_does_not_start_with_a_file_that_is_of_no_use() {
    let passwords = Passwords::new(&[("gauge", "open sesame")]);
    let start = |config: Config| Broker::builder().config(config).start();
    let message = |config: Config| start(config).expect_err("refused").to_string();
    passwords.write("");
    let told = message(config(&passwords.path, 1));
    assert!(told.contains("passwords: no user") && told.contains("dunlin passwd"), "{told}");
    passwords.write("# gauge\ngauge\n");
    let told = message(config(&passwords.path, 1));
    assert!(told.contains("passwords: line 2"), "{told}");
    passwords.write(&text(&[("gauge", "open sesame")]));
    fs::set_permissions(&passwords.path, fs::Permissions::from_mode(0o666)).expect("for all");
    let told = message(config(&passwords.path, 1));
    assert!(told.contains("chmod o-w"), "{told}");
    fs::remove_file(&passwords.path).expect("gone");
    let told = message(config(&passwords.path, 1));
    assert!(told.contains("passwords: No such file"), "{told}");

    let listeners = vec![Listener::tcp("0.0.0.0:0".parse().expect("an address"))];
    let exposed = Config { listeners, ..config(&passwords.path, 1) };
    assert!(matches!(start(exposed), Err(StartError::Plaintext(_))));
}
