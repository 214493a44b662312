//! Back ends of logins that are down, hang, lie or come back: who depends on them is refused, nobody
//! else is kept waiting.

use super::back_end::{BackEnd, Mood, bad_moods};
use super::peer::{PATIENCE, Peer, connect, encode, publish, subscribe};
use super::tokens::{Folder, Issuer, claims, log_in, log_in_at};
use dunlin_broker::Broker;
use dunlin_broker::config::{Auth, Config, Http, Jwt, Limits, Listener};
use dunlin_identity::jwt::Algorithm;
use dunlin_identity::password_file::{Cost, set_password};
use dunlin_protocol::codec::{Packet, ProtocolVersion, PublishTopic, QoS, ReasonCode};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Instant;

/// Where nobody listens any more.
fn gone() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port")
}

/// A broker with two listeners that knows one user by the password file, and others by a back end.
fn start(folder: &Folder, auth: Auth) -> Broker {
    let cost = Cost::new(8, 1, 1).expect("next to none");
    let passwords = set_password("", "pump", b"swordfish", cost, &[7; 16]).expect("a user");
    let auth = Auth { password_file: Some(folder.write("passwords", passwords)), ..auth };
    let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address")); 2];
    let limits = Limits { sys_interval_secs: 1, ..Limits::default() };
    let config = Config { listeners, workers: 2, auth, limits, ..Config::default() };
    Broker::builder().config(config).start().expect("it starts without its back end")
}

fn with_keys_at(folder: &Folder, keys_at: SocketAddr) -> Broker {
    let jwt = Jwt {
        jwks_url: Some(format!("http://{keys_at}/jwks.json")),
        algorithms: vec![Algorithm::EdDsa],
        ..Jwt::default()
    };
    start(folder, Auth { jwt, ..Auth::default() })
}

/// What a back end at an address may take so long for.
fn asking(address: SocketAddr, timeout_millis: u32) -> Auth {
    let url = Some(format!("http://{address}/login"));
    Auth { http: Http { url, timeout_millis, ..Http::default() }, ..Auth::default() }
}

/// What a token of this issuer leads to.
fn by_token(broker: &Broker, issuer: &Issuer, key: &str) -> ReasonCode {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{key}"}}"#);
    let token = issuer.token_for(&header, &claims("gauge", ""));
    log_in(broker, "one", None, &token, None).1
}

/// What a login leads to that the back end has to decide about.
fn by_back_end(broker: &Broker, user: &str) -> ReasonCode {
    log_in(broker, user, Some(user), "sesame", None).1
}

/// Two Clients that are logged in at the other listener, and one that comes and goes there.
struct Bystanders {
    address: SocketAddr,
    publisher: Peer,
    subscriber: Peer,
}

impl Bystanders {
    fn new(broker: &Broker) -> Self {
        let address = broker.addresses()[1];
        let join = |name| {
            let (peer, reason_code) = log_in_at(address, name, Some("pump"), "swordfish", None);
            assert_eq!(reason_code, ReasonCode::Success);
            peer
        };
        let (publisher, mut subscriber) = (join("publisher"), join("subscriber"));
        subscriber.send(&subscribe("a", QoS::AtLeastOnce));
        assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
        Self { address, publisher, subscriber }
    }

    /// They get what they ask for.
    fn are_served(&mut self) {
        self.publisher.send(&publish("a", b"x", QoS::AtLeastOnce));
        assert!(matches!(self.publisher.receive(), Some(Packet::PubAck(_))));
        self.subscriber.take_message();
        let (_, reason_code) = log_in_at(self.address, "guest", Some("pump"), "swordfish", None);
        assert_eq!(reason_code, ReasonCode::Success);
    }
}

#[test]
fn without_the_keys_of_an_issuer_its_tokens_are_refused_and_nothing_else_is() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let check = |broker: Broker| {
        let mut bystanders = Bystanders::new(&broker);
        for _ in 0..10 {
            assert_eq!(by_token(&broker, &issuer, "k"), ReasonCode::ServerUnavailable);
            bystanders.are_served();
        }
        broker.stop();
    };
    check(with_keys_at(&folder, gone()));
    for (name, mood) in bad_moods() {
        let leaves = matches!(mood, Mood::Leaves);
        let back_end = BackEnd::new(mood);
        let broker = with_keys_at(&folder, back_end.address);
        if !leaves {
            let request = back_end.next();
            assert!(request.head.starts_with("GET /jwks.json "), "{name}: {request:?}");
        }
        check(broker);
        assert!(!back_end.was_asked_more(), "{name}: one question, however many tokens");
    }
}

#[test]
fn tokens_are_taken_as_soon_as_the_keys_have_come() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let back_end = BackEnd::new(Mood::Hangs);
    let broker = with_keys_at(&folder, back_end.address);
    back_end.next();
    assert_eq!(by_token(&broker, &issuer, "k"), ReasonCode::ServerUnavailable, "not yet");
    back_end.set(Mood::answers("200 OK", &issuer.key_set("k")));
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
    assert!(!back_end.was_asked_more(), "one question");
    let stranger = Issuer::new(Algorithm::EdDsa);
    assert_eq!(by_token(&broker, &stranger, "k"), ReasonCode::BadUserNameOrPassword);
}

#[test]
fn whatever_a_back_end_does_its_logins_are_refused_and_nothing_else_is() {
    let folder = Folder::new();
    // Far more than it takes to open the circuit.
    let check = |name: &str, broker: Broker| {
        let mut bystanders = Bystanders::new(&broker);
        for _ in 0..20 {
            assert_eq!(by_back_end(&broker, "gauge"), ReasonCode::ServerUnavailable, "{name}");
            bystanders.are_served();
        }
        broker.stop();
    };
    check("gone", start(&folder, asking(gone(), 200)));
    for (name, mood) in bad_moods() {
        let back_end = BackEnd::new(mood);
        check(name, start(&folder, asking(back_end.address, 200)));
    }
}

#[test]
fn a_back_end_that_hangs_keeps_no_more_waiting_than_there_is_room_for() {
    let folder = Folder::new();
    let back_end = BackEnd::new(Mood::Hangs);
    let mut auth = asking(back_end.address, 60_000);
    (auth.timeout_secs, auth.waiting_max, auth.http.requests_max) = (60, 3, 2);
    let broker = start(&folder, auth);
    let mut bystanders = Bystanders::new(&broker);
    let (ended, has_ended) = channel();
    std::thread::scope(|scope| {
        let come = |users: std::ops::Range<u32>| {
            for user in users {
                let (broker, ended) = (&broker, ended.clone());
                scope.spawn(move || {
                    let reason_code = by_back_end(broker, &format!("user-{user}"));
                    ended.send(reason_code).expect("somebody listens");
                });
            }
        };
        let next = || has_ended.recv_timeout(PATIENCE).expect("an answer");
        come(0..2);
        for _ in 0..2 {
            back_end.next();
        }
        // All requests hang that there may be: three wait for them, and the others are told.
        come(2..20);
        for _ in 5..20 {
            assert_eq!(next(), ReasonCode::ServerBusy);
        }
        assert!(!back_end.was_asked_more() && has_ended.try_recv().is_err());
        for _ in 0..10 {
            bystanders.are_served();
        }
        // Those who wait are served as soon as it is well.
        back_end.set(Mood::answers("200 OK", r#"{"allow": true}"#));
        for _ in 0..5 {
            assert_eq!(next(), ReasonCode::Success);
        }
        for _ in 0..3 {
            back_end.next();
        }
    });
    assert!(!back_end.was_asked_more());
    broker.stop();
}

/// A Client may send what it has behind its CONNECT, and leave [MQTT-3.1.4-5].
#[test]
fn what_was_sent_behind_connect_is_taken_once_its_client_is_known_though_it_has_left() {
    let folder = Folder::new();
    let back_end = BackEnd::new(Mood::Hangs);
    let auth = Auth { timeout_secs: 60, ..asking(back_end.address, 60_000) };
    let broker = start(&folder, auth);
    let mut bystanders = Bystanders::new(&broker);
    let mut connect = connect("leaves");
    if let Packet::Connect(connect) = &mut connect {
        connect.user_name = Some("leaves".parse().expect("text"));
        connect.password = Some(b"sesame".to_vec().into());
    }
    let mut leaver = Peer::over(TcpStream::connect(broker.addresses()[0]).expect("a broker"));
    let message = publish("a", b"behind", QoS::AtMostOnce);
    let [connect, message] = [connect, message].map(|packet| encode(ProtocolVersion::V5, &packet));
    let disconnect = [0xE0, 0x00];
    leaver.send_bytes(&[&connect[..], &message, &disconnect].concat());
    drop(leaver);
    back_end.next();
    back_end.set(Mood::answers("200 OK", r#"{"allow": true}"#));
    assert_eq!(bystanders.subscriber.take_message().payload[..], b"behind"[..]);
    broker.stop();
}

#[test]
fn the_end_of_a_broker_does_not_wait_for_a_back_end() {
    let folder = Folder::new();
    let back_end = BackEnd::new(Mood::Hangs);
    let mut auth = asking(back_end.address, 60_000);
    auth.timeout_secs = 3_600;
    let broker = start(&folder, auth);
    std::thread::scope(|scope| {
        let address = broker.addresses()[0];
        let login = scope.spawn(move || {
            let socket = TcpStream::connect(address).expect("a broker");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut peer = Peer::over(socket);
            peer.send(&connect("one"));
            peer.receive()
        });
        back_end.next();
        broker.stop();
        let told = login.join().expect("no panic");
        assert!(
            !matches!(&told, Some(Packet::ConnAck(connack)) if !connack.reason_code.is_error())
        );
    });
}

#[test]
fn the_circuit_closes_whenever_the_back_end_is_well_again() {
    let folder = Folder::new();
    let allow = || Mood::Decides(|_| r#"{"allow": true}"#.to_owned());
    let back_end = BackEnd::new(allow());
    // One that is well is never late, however busy the machine is.
    let broker = start(&folder, asking(back_end.address, 2_000));
    let (mut watcher, reason_code) =
        log_in_at(broker.addresses()[1], "watcher", Some("pump"), "swordfish", None);
    assert_eq!(reason_code, ReasonCode::Success);
    for mood in [Mood::Leaves, Mood::answers("200 OK", "lies"), Mood::Hangs] {
        back_end.set(mood);
        for _ in 0..30 {
            assert_eq!(by_back_end(&broker, "gauge"), ReasonCode::ServerUnavailable);
        }
        back_end.set(allow());
        let well_since = Instant::now();
        while by_back_end(&broker, "gauge") != ReasonCode::Success {
            assert!(well_since.elapsed() < PATIENCE, "it never closed");
        }
        for _ in 0..100 {
            assert_eq!(by_back_end(&broker, "gauge"), ReasonCode::Success);
        }
    }
    // What there was of it is told under `$SYS`.
    watcher.send(&subscribe("$SYS/broker/logins/#", QoS::AtMostOnce));
    let mut wanted = vec![("http/open", "0"), ("http/opened", "3"), ("busy", "0")];
    while !wanted.is_empty() {
        match watcher.receive() {
            Some(Packet::Publish(message)) => {
                let PublishTopic::Name(topic_name) = &message.topic else {
                    panic!("no name: {message:?}");
                };
                let name = topic_name.strip_prefix("$SYS/broker/logins/").expect("of those");
                wanted.retain(|(other, value)| *other != name || message.payload != *value);
            }
            Some(Packet::SubAck(_)) => {}
            packet => panic!("nothing more is told: {packet:?}, not {wanted:?}"),
        }
    }
    broker.stop();
}
