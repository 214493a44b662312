//! Listeners by a socket in the file system.

use crate::peer::{Peer, connect, publish, subscribe};
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, StartError};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;

fn start(path: &Path, options: &str) -> Result<Broker, StartError> {
    let url = format!("unix://{}{options}", path.display());
    let listeners: Vec<Listener> = vec![url.parse().expect("a listener")];
    Broker::builder().config(Config { listeners, workers: 2, ..Config::default() }).start()
}

fn join(path: &Path, client_identifier: &str) -> Peer {
    let mut peer = Peer::new(UnixStream::connect(path).expect("it listens"));
    peer.send(&connect(client_identifier));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
    peer
}

/// What the system says to a start that fails, and what may help.
fn refusal(started: Result<Broker, StartError>) -> (io::Error, &'static str) {
    match started {
        Err(StartError::Listen { source, hint, .. }) => (source, hint),
        started => panic!("no error but {started:?}"),
    }
}

fn in_use(started: Result<Broker, StartError>) {
    let (error, hint) = refusal(started);
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(hint.contains("another"), "{hint}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn messages_cross_and_the_file_goes_with_the_broker() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a b.sock");
    for (options, expected) in [("", 0o600), ("?mode=0660", 0o660)] {
        let broker = start(&path, options).expect("it can listen");
        assert_eq!((mode(&path), broker.addresses()), (expected, &[][..]));
        let mut subscribers: Vec<_> = (0..4).map(|at| join(&path, &format!("s-{at}"))).collect();
        for subscriber in &mut subscribers {
            subscriber.send(&subscribe("a", QoS::AtLeastOnce));
            assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
        }
        join(&path, "p").send(&publish("a", b"x", QoS::AtLeastOnce));
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.take_message().payload, "x");
        }
        broker.stop();
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}

#[test]
fn a_file_that_nobody_listens_by_is_replaced_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).expect("it can listen"));
    let first = start(&path, "").expect("nobody listens there");
    in_use(start(&path, ""));
    join(&path, "still served");
    // Somebody else's by now.
    fs::rename(&path, folder.path().join("t")).expect("it moves");
    fs::write(&path, "important").expect("a file");
    in_use(start(&path, ""));
    first.stop();
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "important");
}

#[test]
fn of_those_who_replace_a_file_at_the_same_time_one_listens() {
    const ROUNDS: usize = 60;
    const MANY: usize = 4;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    for _ in 0..ROUNDS {
        drop(UnixListener::bind(&path).expect("it can listen"));
        let begin = Barrier::new(MANY);
        let started: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                begin.wait();
                start(&path, "")
            };
            let threads = [(); MANY].map(|()| scope.spawn(start));
            threads.map(|thread| thread.join().expect("no panic")).into()
        });
        let (brokers, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        assert_eq!(brokers.len(), 1);
        refused.into_iter().for_each(in_use);
        join(&path, "served");
        for broker in brokers {
            broker.expect("it listens").stop();
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}

#[test]
fn who_is_about_to_listen_is_not_disturbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let lock = fs::File::create(folder.path().join("s.lock")).expect("a file");
    lock.lock().expect("nobody has it");
    in_use(start(&path, ""));
    // One who was killed then has left it.
    drop(lock);
    start(&path, "").expect("nobody listens there").stop();
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_file_that_cannot_be_asked_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let other = UnixDatagram::bind(&path).expect("it can be bound");
    refusal(start(&path, ""));
    let missing = refusal(start(&folder.path().join("none/s"), ""));
    assert!(missing.1.contains("no such folder"), "{missing:?}");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.send_to(b"still served", &path).expect("it is there");
    let mut received = [0; 12];
    other.recv(&mut received).expect("it has come");
    assert_eq!(&received, b"still served");
}

#[test]
fn who_is_too_busy_to_accept_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let address = SockAddr::unix(&path).expect("an address");
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let busy = socket();
    busy.bind(&address).expect("it can be bound");
    busy.listen(0).expect("it listens");
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        client.set_nonblocking(true).expect("a socket");
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    in_use(start(&path, ""));
}

#[test]
fn what_a_broker_left_that_was_killed_as_it_started_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let beside = |end: &str| folder.path().join(format!("s.{end}"));
    let own = std::process::id().to_string();
    for end in [own.as_str(), "1", "old", ""] {
        drop(UnixListener::bind(beside(end)).expect("it can listen"));
    }
    fs::write(beside("2"), "important").expect("a file");
    let served = UnixListener::bind(beside("3")).expect("it can listen");
    let broker = start(&path, "").expect("nobody listens there");
    join(&path, "served");
    broker.stop();
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["s.", "s.2", "s.3", "s.old"]);
    drop(served);
}
