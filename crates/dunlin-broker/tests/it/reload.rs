//! Files of certificates that change while the broker runs.

use crate::authority::Authority;
use crate::peer::{PATIENCE, Peer, connect, publish, subscribe};
use crate::secure::TlsStream;
use dunlin_broker::config::{Config, Listener, ServerFiles};
use dunlin_broker::{Broker, Limits, ReloadError};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use dunlin_transport::tls::ClientTls;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;
use tempfile::TempDir;

/// A broker with one listener, whose files are in a folder that a link names, as they are where an
/// orchestrator mounts them.
struct Bed {
    broker: Broker,
    authority: Authority,
    folder: TempDir,
}

impl Bed {
    fn new(watch_files_secs: u32) -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        write_new(&folder, "first", &authority);
        symlink("first", folder.path().join("data")).expect("a link");
        for name in ["server.pem", "server.key"] {
            symlink(PathBuf::from("data").join(name), folder.path().join(name)).expect("a link");
        }
        let files = ServerFiles {
            certificate: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
            ..ServerFiles::default()
        };
        let listener = Listener::tls("127.0.0.1:0".parse().expect("an address"), files);
        let limits = Limits { sys_interval_secs: 1, ..Limits::default() };
        let listeners = vec![listener];
        let config =
            Config { listeners, workers: 2, watch_files_secs, limits, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("it can listen");
        Self { broker, authority, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Turns the link to other files, with one step.
    fn turn_to(&self, name: &str) {
        symlink(name, self.path("other")).expect("a link");
        fs::rename(self.path("other"), self.path("data")).expect("it is replaced");
    }

    /// A Client, and the certificate that it was shown.
    fn join(&self, client_identifier: &str) -> (Peer, Vec<u8>) {
        let socket = TcpStream::connect(self.broker.addresses()[0]).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // One that has been here before would go on with what it was shown then.
        let tls = ClientTls::new().ca_pem(self.authority.pem());
        let mut stream = TlsStream::new(socket, &tls.connector().expect("settings of use"));
        stream.shake_hands().expect("a handshake");
        let shown = stream.certificate();
        let mut peer = Peer::over(stream);
        peer.send(&connect(client_identifier));
        match peer.receive() {
            Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
            packet => panic!("no CONNACK but {packet:?}"),
        }
        (peer, shown)
    }

    /// What is shown now.
    fn shown(&self) -> Vec<u8> {
        self.join("onlooker").1
    }
}

/// A certificate and its key in a folder of their own.
fn write_new(folder: &TempDir, name: &str, authority: &Authority) {
    let folder = folder.path().join(name);
    fs::create_dir(&folder).expect("a folder");
    authority.write_server(&folder);
}

#[test]
fn a_new_certificate_is_shown_from_the_reload_on_and_nobody_has_to_go() {
    let bed = Bed::new(0);
    let (mut before, first) = bed.join("before");
    before.send(&subscribe("a", QoS::AtLeastOnce));
    assert!(matches!(before.receive(), Some(Packet::SubAck(_))));
    write_new(&bed.folder, "second", &bed.authority);
    bed.turn_to("second");
    assert_eq!(bed.shown(), first, "nobody has asked for it");
    bed.broker.reload().expect("they fit");
    let (mut after, second) = bed.join("after");
    assert_ne!(second, first);
    after.send(&publish("a", b"still here", QoS::AtLeastOnce));
    assert_eq!(before.take_message().payload, "still here");
}

#[test]
fn files_that_are_of_no_use_change_nothing() {
    let bed = Bed::new(0);
    let first = bed.shown();
    write_new(&bed.folder, "second", &bed.authority);
    let certificate = fs::read(bed.path("second/server.pem")).expect("a file");
    let key = fs::read(bed.path("second/server.key")).expect("a file");
    let own_key = fs::read(bed.path("first/server.key")).expect("a file");
    let half = &certificate[..certificate.len() / 2];
    for (certificate, key, at_fault) in [
        (half, &key[..], "server.pem"),
        (&[], &key, "server.pem"),
        (&certificate, &key[..key.len() / 2], "server.key"),
        (&certificate, &own_key, "server.key"),
    ] {
        fs::write(bed.path("second/server.pem"), certificate).expect("a file");
        fs::write(bed.path("second/server.key"), key).expect("a file");
        bed.turn_to("second");
        match bed.broker.reload() {
            Err(ReloadError::Tls { source, .. }) => assert_eq!(source.path, bed.path(at_fault)),
            reloaded => panic!("no fault but {reloaded:?}"),
        }
        assert_eq!(bed.shown(), first);
    }
    fs::create_dir(bed.path("ended")).expect("a folder");
    bed.authority.write_server_until(&bed.path("ended"), 2020);
    bed.turn_to("ended");
    match bed.broker.reload() {
        Err(ReloadError::Tls { source, .. }) => {
            assert_eq!(source.path, bed.path("server.pem"));
            assert!(source.reason.contains("has ended"), "{source}");
        }
        reloaded => panic!("no fault but {reloaded:?}"),
    }
    assert_eq!(bed.shown(), first);
    fs::remove_file(bed.path("data")).expect("a link");
    assert!(bed.broker.reload().is_err());
    assert_eq!(bed.shown(), first);
    symlink("first", bed.path("data")).expect("a link");
    bed.broker.reload().expect("they are there again");
}

#[test]
fn files_that_change_are_taken_up_and_what_is_wrong_is_counted() {
    let bed = Bed::new(1);
    let first = bed.shown();
    write_new(&bed.folder, "second", &bed.authority);
    fs::write(bed.path("second/server.key"), "no key").expect("a file");
    bed.turn_to("second");
    let (mut peer, _) = bed.join("operator");
    peer.send(&subscribe("$SYS/broker/tls/reload-failed", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    // A fault is counted once, however often it is seen.
    while peer.take_message().payload != "1" {}
    assert_eq!(bed.shown(), first);
    write_new(&bed.folder, "third", &bed.authority);
    bed.turn_to("third");
    let since = Instant::now();
    while bed.shown() == first {
        assert!(since.elapsed() < PATIENCE, "it is not taken up");
    }
    peer.send(&subscribe("$SYS/broker/tls/reloads", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    while peer.take_message().payload != "1" {}
}
