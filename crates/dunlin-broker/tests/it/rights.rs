//! A file of rules: read at start, read again, and asked by a broker with workers and sockets.

use super::peer::{Peer, connect, publish, subscribe};
use dunlin_broker::config::{Config, Listener, Rights};
use dunlin_broker::rights::RightsFileError;
use dunlin_broker::{Broker, StartError};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file of rules in a folder of its own.
struct Rules {
    _folder: TempDir,
    path: PathBuf,
}

impl Rules {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.toml");
        let rules = Self { _folder: folder, path };
        rules.write(text);
        rules
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).expect("its owner's");
    }
}

fn config(path: &Path, workers: usize) -> Config {
    let rights = Rights { file: Some(path.to_owned()) };
    Config { listeners: Vec::new(), workers, rights, ..Config::default() }
}

fn start(config: Config) -> Broker {
    Broker::builder().config(config).start().expect("legal rules")
}

fn join(mut peer: Peer, client_identifier: &str) -> Peer {
    peer.send(&connect(client_identifier));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
    peer
}

fn local(broker: &Broker, client_identifier: &str) -> Peer {
    join(Peer::new(broker.connect_local().expect("a pipe")), client_identifier)
}

/// What a PUBLISH at QoS 1 is answered with.
fn says(peer: &mut Peer, topic_name: &str) -> ReasonCode {
    peer.send(&publish(topic_name, b"x", QoS::AtLeastOnce));
    match peer.receive() {
        Some(Packet::PubAck(ack)) => ack.reason_code,
        packet => panic!("no PUBACK but {packet:?}"),
    }
}

/// What a SUBSCRIBE is answered with.
fn asks(peer: &mut Peer, topic_filter: &str) -> ReasonCode {
    peer.send(&subscribe(topic_filter, QoS::AtLeastOnce));
    match peer.receive() {
        Some(Packet::SubAck(suback)) => suback.reason_codes[0],
        packet => panic!("no SUBACK but {packet:?}"),
    }
}

const ALL: &str = "[[rule]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n";
const OWN: &str = "[[rule]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"%c/#\"]\n";

#[test]
fn anonymous_clients_have_the_rights_that_the_rules_give_them() {
    for workers in [1, 3] {
        let rules = Rules::new(OWN);
        let broker = start(config(&rules.path, workers));
        for at in 0..4 {
            let name = format!("c-{at}");
            let mut peer = local(&broker, &name);
            assert_eq!(asks(&mut peer, &format!("{name}/#")), ReasonCode::GrantedQoS1);
            assert_eq!(asks(&mut peer, "#"), ReasonCode::NotAuthorized);
            assert_eq!(says(&mut peer, "other/a"), ReasonCode::NotAuthorized);
            peer.send(&publish(&format!("{name}/a"), b"x", QoS::AtMostOnce));
            assert_eq!(&peer.take_message().payload[..], b"x");
        }
        broker.stop();
    }
}

#[test]
fn rules_count_for_open_connections_from_the_reload_on_and_faults_change_nothing() {
    for workers in [1, 3] {
        let rules = Rules::new(ALL);
        let broker = start(config(&rules.path, workers));
        let mut reader = local(&broker, "reader");
        assert_eq!(asks(&mut reader, "t/#"), ReasonCode::GrantedQoS1);
        let mut sayer = local(&broker, "sayer");
        assert_eq!(says(&mut sayer, "t/a"), ReasonCode::Success);
        assert_eq!(&reader.take_message().payload[..], b"x");
        for bad in ["", "# nothing\n", "[[rule]]\nallow = [\"publish\"", "[[rule]]\nalow = 1\n"] {
            rules.write(bad);
            let error = broker.reload_rights().expect_err("refused");
            assert!(matches!(error, RightsFileError::Invalid { .. }), "{bad:?}: {error}");
            assert_eq!(says(&mut sayer, "t/a"), ReasonCode::Success);
            assert_eq!(&reader.take_message().payload[..], b"x");
        }
        fs::remove_file(&rules.path).expect("gone");
        let error = broker.reload_rights().expect_err("refused");
        assert!(matches!(error, RightsFileError::Unreadable { .. }), "{error}");
        assert_eq!(says(&mut sayer, "t/a"), ReasonCode::Success);
        assert_eq!(&reader.take_message().payload[..], b"x");

        rules.write(OWN);
        assert_eq!(broker.reload_rights().expect("legal rules"), Some(1));
        for peer in [&mut sayer, &mut reader] {
            // Its worker is about to take them up.
            while says(peer, "u/a") != ReasonCode::NotAuthorized {}
        }
        assert_eq!(says(&mut sayer, "t/a"), ReasonCode::NotAuthorized);
        assert_eq!(says(&mut sayer, "sayer/a"), ReasonCode::NoMatchingSubscribers);
        assert_eq!(asks(&mut reader, "t/#"), ReasonCode::NotAuthorized);
        rules.write(ALL);
        broker.reload().expect("there is no password file");
        for peer in [&mut reader, &mut sayer] {
            while says(peer, "u/a") == ReasonCode::NotAuthorized {}
        }
        assert_eq!(says(&mut sayer, "t/a"), ReasonCode::Success);
        assert_eq!(&reader.take_message().payload[..], b"x");
        broker.stop();
    }
}

#[test]
fn a_file_that_may_be_half_written_changes_nothing() {
    let two = format!("{OWN}user = \"ann\"\n{}", ALL.replace('#', "b/#"));
    let rules = Rules::new(&two);
    let broker = start(config(&rules.path, 1));
    // Each cut of what is in force: some are legal rules, of which one has lost its user.
    for cut in 0..two.len() {
        rules.write(&two[..cut]);
        broker.reload_rights().expect_err("half-written");
    }
    // A whole one ends as it says, and from then on each has to.
    let ended = format!("{ALL}# end\n");
    rules.write(&ended);
    assert_eq!(broker.reload_rights().expect("whole"), Some(1));
    let longer = format!("{OWN}user = \"ann\"\n{ended}");
    for cut in 0..longer.len() {
        rules.write(&longer[..cut]);
        broker.reload_rights().expect_err("half-written");
    }
    let mut peer = local(&broker, "sayer");
    assert_eq!(says(&mut peer, "a"), ReasonCode::NoMatchingSubscribers);
    rules.write(&longer);
    assert_eq!(broker.reload_rights().expect("whole"), Some(2));
    broker.stop();
}

#[test]
fn a_broker_does_not_start_with_rules_of_no_use() {
    let rules = Rules::new("");
    let message = |config: Config| {
        let error = Broker::builder().config(config).start().expect_err("refused");
        assert!(matches!(error, StartError::RightsFile(_)), "{error}");
        error.to_string()
    };
    let told = message(config(&rules.path, 1));
    assert!(
        told.contains("rules.toml:1:1: there is no rule") && told.contains("[[rule]]"),
        "{told}"
    );
    rules.write("[[rule]]\nallow = [\"publish\"]\ntopics = [\"a\"]\nuzer = \"b\"\n");
    let told = message(config(&rules.path, 1));
    assert!(told.contains("rules.toml:4:1") && told.contains("`user`"), "{told}");
    rules.write(ALL);
    fs::set_permissions(&rules.path, fs::Permissions::from_mode(0o666)).expect("for all");
    assert!(message(config(&rules.path, 1)).contains("chmod o-w"));
    fs::remove_file(&rules.path).expect("gone");
    let told = message(config(&rules.path, 1));
    assert!(told.contains("rules.toml: No such file"), "{told}");
}

#[test]
fn rules_may_tell_listeners_and_addresses_apart() {
    let rules = Rules::new(
        "[[rule]]\nallow = [\"publish\"]\ntopics = [\"outside\"]\nlistener = \"mqtt://*\"\n\
         address = \"127.0.0.0/8\"\n\
         [[rule]]\nallow = [\"publish\"]\ntopics = [\"inside\"]\nlistener = \"local\"\n",
    );
    for workers in [1, 3] {
        let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
        let broker = start(Config { listeners, ..config(&rules.path, workers) });
        for at in 0..4 {
            let name = format!("c-{at}");
            let socket = TcpStream::connect(broker.addresses()[0]).expect("it listens");
            let mut outside = join(Peer::over(socket), &name);
            assert_eq!(says(&mut outside, "outside"), ReasonCode::NoMatchingSubscribers);
            assert_eq!(says(&mut outside, "inside"), ReasonCode::NotAuthorized);
            let mut inside = local(&broker, &format!("d-{at}"));
            assert_eq!(says(&mut inside, "outside"), ReasonCode::NotAuthorized);
            assert_eq!(says(&mut inside, "inside"), ReasonCode::NoMatchingSubscribers);
        }
        broker.stop();
    }
}
