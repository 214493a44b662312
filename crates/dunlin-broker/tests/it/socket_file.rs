//! Listeners by a socket in the file system.

use crate::peer::{Peer, connect, publish, subscribe};
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, StartError};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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
    let in_use = |started: Result<Broker, StartError>| match started {
        Err(StartError::Listen { source, .. }) => assert_eq!(source.kind(), ErrorKind::AddrInUse),
        started => panic!("no error but {started:?}"),
    };
    in_use(start(&path, ""));
    join(&path, "still served");
    // Somebody else's by now.
    fs::rename(&path, folder.path().join("t")).expect("it moves");
    fs::write(&path, "important").expect("a file");
    in_use(start(&path, ""));
    first.stop();
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "important");
}
