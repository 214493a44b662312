//! Clients whom a back end over HTTP knows.

use super::back_end::{BackEnd, Mood};
use super::peer::{PATIENCE, Peer, connect};
use super::tokens::{Folder, log_in, may_publish};
use dunlin_broker::config::{Auth, Config, Http, Listener, Rights};
use dunlin_broker::{Broker, ReloadError};
use dunlin_identity::password_file::{Cost, set_password};
use dunlin_protocol::codec::{Packet, ReasonCode};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::sync::Arc;

const REFUSED: ReasonCode = ReasonCode::BadUserNameOrPassword;

fn config(url: String) -> Config {
    let http = Http { url: Some(url), timeout_millis: 60_000, ..Http::default() };
    let auth = Auth { http, timeout_secs: 60, ..Auth::default() };
    let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
    Config { listeners, workers: 2, auth, ..Config::default() }
}

fn asking(back_end: &BackEnd) -> Config {
    config(format!("http://{}/login", back_end.address))
}

fn start(config: Config) -> Broker {
    Broker::builder().config(config).start().expect("legal settings")
}

/// A broker that asks one question, and gets this answer.
fn answered(body: &str) -> (BackEnd, Broker) {
    let back_end = BackEnd::new(Mood::answers("200 OK", body));
    let broker = start(asking(&back_end));
    (back_end, broker)
}

fn gauge(broker: &Broker) -> (Peer, ReasonCode) {
    log_in(broker, "one", Some("gauge"), "open sesame", None)
}

#[test]
fn a_back_end_is_told_who_wants_to_come_in_and_decides() {
    let back_end = BackEnd::new(Mood::Decides(|body| {
        let asked: Value = serde_json::from_str(body).expect("JSON");
        json!({"allow": asked["password"] == "open sesame"}).to_string()
    }));
    let broker = start(asking(&back_end));
    let address = broker.addresses()[0];
    for (client_identifier, user, password, expected) in [
        ("one", "gauge", "open sesame", ReasonCode::Success),
        ("two", "gauge", "open barley", REFUSED),
        ("three", "\"},", "\\", REFUSED),
        ("four", "pump", "open sesame", ReasonCode::Success),
    ] {
        let (_, reason_code) = log_in(&broker, client_identifier, Some(user), password, None);
        assert_eq!(reason_code, expected, "{user} {password}");
        let request = back_end.next();
        assert!(request.head.starts_with("POST /login HTTP/1.1\r\n"), "{request:?}");
        assert!(!request.head.contains(password) && !request.head.contains("uthorization"));
        let asked: Value = serde_json::from_str(&request.body).expect("JSON");
        let expected = json!({
            "listener": format!("mqtt://{address}"),
            "address": "127.0.0.1",
            "client_identifier": client_identifier,
            "user_name": user,
            "password": password,
            "certificate": null,
        });
        assert_eq!(asked, expected);
    }
    let long = "x".repeat(9_000);
    assert_eq!(log_in(&broker, "one", Some("gauge"), &long, None).1, REFUSED);
    assert_eq!(log_in(&broker, "one", Some(&long), "open sesame", None).1, REFUSED);
    assert!(!back_end.was_asked_more(), "what can't be right");
}

#[test]
fn an_answer_is_taken_by_its_letter() {
    let illegal = ReasonCode::NotAuthorized;
    let unavailable = ReasonCode::ServerUnavailable;
    for (body, expected) in [
        (r#"{"allow": true}"#, ReasonCode::Success),
        (r#"{"allow": true, "user": "pump", "groups": ["a"]}"#, ReasonCode::Success),
        (r#"{"allow": false}"#, REFUSED),
        (r#"{"allow": true, "user": "a\u0007b"}"#, illegal),
        (r#"{"allow": true, "user": ""}"#, illegal),
        (r#"{"allow": true, "groups": [""]}"#, illegal),
        // Without a file of rules nobody would heed them.
        (r#"{"allow": true, "rules": []}"#, illegal),
        (r#"{"allow": true, "expires_in": "soon"}"#, unavailable),
        (r#"{"allow": true, "admin": true}"#, unavailable),
        (r#"{"allow": 1}"#, unavailable),
        ("{}", unavailable),
    ] {
        let (_back_end, broker) = answered(body);
        assert_eq!(gauge(&broker).1, expected, "{body}");
    }
    for (status, expected) in [
        ("204 No Content", REFUSED),
        ("400 Bad Request", unavailable),
        ("403 Forbidden", unavailable),
        ("503 Service Unavailable", unavailable),
    ] {
        let back_end = BackEnd::new(Mood::answers(status, ""));
        let broker = start(asking(&back_end));
        // More than open the circuit: but what a client may have brought about does not.
        for _ in 0..10 {
            assert_eq!(gauge(&broker).1, expected, "{status}");
        }
        back_end.set(Mood::answers("200 OK", r#"{"allow": true}"#));
        if status != "503 Service Unavailable" {
            assert_eq!(gauge(&broker).1, ReasonCode::Success, "{status}");
        }
    }
}

#[test]
fn a_login_ends_when_the_back_end_says_so() {
    let (_back_end, broker) = answered(r#"{"allow": true, "expires_in": 3}"#);
    let (mut peer, reason_code) = gauge(&broker);
    assert_eq!(reason_code, ReasonCode::Success);
    match peer.receive() {
        Some(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason_code, ReasonCode::MaximumConnectTime);
        }
        packet => panic!("no DISCONNECT but {packet:?}"),
    }
    assert_eq!(peer.receive(), None, "closed");
}

#[test]
fn groups_and_rules_of_an_answer_count_beside_those_of_the_file() {
    let folder = Folder::new();
    let rules = "[[rule]]\ndeny = [\"publish\"]\ntopics = [\"secret/#\"]\n\
                 [[rule]]\nallow = [\"publish\"]\ntopics = [\"pumps/#\"]\ngroup = \"pumps\"\n";
    let rights = Rights { file: Some(folder.write("rules.toml", rules)) };
    let back_end = BackEnd::new(Mood::Leaves);
    let broker = start(Config { rights, ..asking(&back_end) });
    let own = r#","rules":[{"allow":["publish"],"topics":["own/%u","secret/#"]}]"#;
    for (further, pumps, owned) in
        [("", false, false), (r#","groups":["pumps"]"#, true, false), (own, false, true)]
    {
        let body = format!(r#"{{"allow":true{further}}}"#);
        back_end.set(Mood::answers("200 OK", &body));
        let (mut peer, reason_code) = gauge(&broker);
        assert_eq!(reason_code, ReasonCode::Success, "{body}");
        assert_eq!(may_publish(&mut peer, "pumps/a"), pumps, "{body}");
        assert_eq!(may_publish(&mut peer, "own/gauge"), owned, "{body}");
        assert!(!may_publish(&mut peer, "secret/a"), "{body}");
    }
    back_end.set(Mood::answers("200 OK", r#"{"allow":true,"rules":[5]}"#));
    assert_eq!(gauge(&broker).1, ReasonCode::NotAuthorized);
}

#[test]
fn whom_a_back_end_does_not_know_others_may() {
    let folder = Folder::new();
    let cost = Cost::new(8, 1, 1).expect("next to none");
    let passwords = set_password("", "pump", b"swordfish", cost, &[7; 16]).expect("a user");
    let back_end = BackEnd::new(Mood::answers("204 No Content", ""));
    let mut config = asking(&back_end);
    config.auth.password_file = Some(folder.write("passwords", passwords));
    config.allow_anonymous = Some(true);
    let broker = start(config);
    let anonymous = || {
        let socket = TcpStream::connect(broker.addresses()[0]).expect("a broker");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut peer = Peer::over(socket);
        peer.send(&connect("nobody"));
        match peer.receive() {
            Some(Packet::ConnAck(connack)) => connack.reason_code,
            packet => panic!("no CONNACK but {packet:?}"),
        }
    };
    assert_eq!(log_in(&broker, "two", Some("pump"), "swordfish", None).1, ReasonCode::Success);
    assert_eq!(log_in(&broker, "two", Some("pump"), "wrong", None).1, REFUSED);
    assert!(!back_end.was_asked_more(), "the file knows it");
    assert_eq!(gauge(&broker).1, REFUSED);
    assert_eq!(anonymous(), ReasonCode::Success);
    back_end.next();
    back_end.next();
    // Nobody comes in because the one who could have denied it is down.
    back_end.set(Mood::Leaves);
    assert_eq!(anonymous(), ReasonCode::ServerUnavailable);
    assert_eq!(gauge(&broker).1, ReasonCode::ServerUnavailable);
    assert_eq!(log_in(&broker, "two", Some("pump"), "swordfish", None).1, ReasonCode::Success);
}

#[test]
fn a_secret_is_sent_and_read_again() {
    let folder = Folder::new();
    let back_end = BackEnd::new(Mood::answers("200 OK", r#"{"allow": true}"#));
    let mut config = asking(&back_end);
    config.auth.http.bearer_file = Some(folder.write("secret", "first\n"));
    let broker = start(config);
    for (secret, expected) in [("first", "first"), ("second", "second"), ("no secret", "second")] {
        folder.write("secret", secret);
        let reloaded = broker.reload();
        if secret == expected {
            reloaded.expect("a secret");
        } else {
            assert!(matches!(reloaded, Err(ReloadError::HttpFile(_))));
        }
        assert_eq!(gauge(&broker).1, ReasonCode::Success);
        let head = back_end.next().head.to_ascii_lowercase();
        assert!(head.contains(&format!("\r\nauthorization: bearer {expected}\r\n")), "{head}");
    }
}

#[test]
fn a_back_end_must_show_a_certificate_that_is_trusted() {
    let folder = Folder::new();
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let own = rcgen::generate_simple_self_signed(names).expect("one");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .expect("a key and its certificate");
    let mood = Mood::answers("200 OK", r#"{"allow": true}"#);
    let back_end = BackEnd::with_tls(mood, Some(Arc::new(tls)));
    for host in ["localhost", "127.0.0.1"] {
        let asking = || config(format!("https://{host}:{}/", back_end.address.port()));
        let mut trusting = asking();
        trusting.auth.http.ca_file = Some(folder.write("ca.pem", own.cert.pem()));
        assert_eq!(gauge(&start(trusting)).1, ReasonCode::Success, "{host}");
        back_end.next();
        assert_eq!(gauge(&start(asking())).1, ReasonCode::ServerUnavailable, "{host}");
        assert!(!back_end.was_asked_more(), "no secret goes to a stranger");
    }
}
