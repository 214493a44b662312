//! Back ends of logins that are down, hang or come back: who depends on them is refused, nobody else
//! is kept waiting.

use super::tokens::{Folder, Issuer, claims, log_in};
use dunlin_broker::Broker;
use dunlin_broker::config::{Auth, Config, Jwt, Listener};
use dunlin_identity::jwt::Algorithm;
use dunlin_identity::password_file::{Cost, set_password};
use dunlin_protocol::codec::ReasonCode;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use super::peer::PATIENCE;

/// Where nobody listens any more.
fn gone() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port")
}

/// A broker that knows users by the keys at an address, and one by the password file.
fn start(folder: &Folder, keys_at: SocketAddr) -> Broker {
    let cost = Cost::new(8, 1, 1).expect("next to none");
    let passwords = set_password("", "pump", b"swordfish", cost, &[7; 16]).expect("a user");
    let jwt = Jwt {
        jwks_url: Some(format!("http://{keys_at}/jwks.json")),
        algorithms: vec![Algorithm::EdDsa],
        ..Jwt::default()
    };
    let password_file = Some(folder.write("passwords", passwords));
    let auth = Auth { password_file, jwt, ..Auth::default() };
    let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
    let config = Config { listeners, workers: 2, auth, ..Config::default() };
    Broker::builder().config(config).start().expect("it starts without its back end")
}

/// What a token of this issuer leads to.
fn by_token(broker: &Broker, issuer: &Issuer, key: &str) -> ReasonCode {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{key}"}}"#);
    let token = issuer.token_for(&header, &claims("gauge", ""));
    log_in(broker, "one", None, &token, None).1
}

fn by_password(broker: &Broker) -> ReasonCode {
    log_in(broker, "two", Some("pump"), "swordfish", None).1
}

#[test]
fn without_the_keys_of_an_issuer_its_tokens_are_refused_and_nothing_else_is() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hanging_at = hanging.local_addr().expect("an address");
    for keys_at in [gone(), hanging_at] {
        let broker = start(&folder, keys_at);
        // From here on to the end of the round the broker has asked, and got no answer.
        let asked = (keys_at == hanging_at).then(|| hanging.accept().expect("a request"));
        for _ in 0..20 {
            assert_eq!(by_token(&broker, &issuer, "k"), ReasonCode::ServerUnavailable);
            assert_eq!(by_password(&broker), ReasonCode::Success);
        }
        broker.stop();
        drop(asked);
    }
}

#[test]
fn tokens_are_taken_as_soon_as_the_keys_have_come() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let broker = start(&folder, server.local_addr().expect("an address"));
    let (mut request, _) = server.accept().expect("a request");
    assert_eq!(by_token(&broker, &issuer, "k"), ReasonCode::ServerUnavailable, "not yet");
    let mut head = [0; 15];
    request.read_exact(&mut head).expect("a request");
    assert_eq!(&head, b"GET /jwks.json ");
    let set = issuer.key_set("k");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{set}", set.len());
    request.write_all(answer.as_bytes()).expect("sent");
    // Nobody is told when the broker has read it, so that each login is one more question.
    let asked_at = Instant::now();
    while by_token(&broker, &issuer, "k") != ReasonCode::Success {
        assert!(asked_at.elapsed() < PATIENCE, "the keys were never taken up");
    }
    // The issuer is not asked again within 30 seconds, whatever tokens name.
    for key in 0..100 {
        let expected = ReasonCode::ServerUnavailable;
        assert_eq!(by_token(&broker, &issuer, &key.to_string()), expected);
    }
    server.set_nonblocking(true).expect("an option");
    assert!(server.accept().is_err(), "one question");
    let stranger = Issuer::new(Algorithm::EdDsa);
    assert_eq!(by_token(&broker, &stranger, "k"), ReasonCode::BadUserNameOrPassword);
}
