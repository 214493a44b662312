//! Each conformance check of messages notices a fault: a proxy in front of this program's own
//! broker, which is right, makes one thing wrong at a time.

mod table;

use crate::broker::Broker;
use bytes::BytesMut;
use dunlin_codec::{Decoder, Packet, ProtocolVersion};
use dunlin_conformance::server::{Case, TABLES, Target, judge, probe};
use dunlin_conformance::{BOTH, Finding, cases, encoded, run};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use table::FAULTS;

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

/// What a fault remembers of a connection.
#[derive(Default)]
struct Memory {
    has_session: bool,
    seen: usize,
}

/// What becomes of a packet.
type Spoil = fn(From, Packet, &mut Memory) -> Vec<Packet>;

/// One thing that is wrong.
struct Fault {
    name: &'static str,
    spoil: Spoil,
    /// The checks that have to notice, as `--only` names them.
    noticed_by: &'static [&'static str],
}

/// A server that has this fault, for as long as the test program runs.
fn start(broker: SocketAddr, fault: &'static Fault) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(broker).unwrap();
            let memory = Arc::new(Mutex::new(Memory::default()));
            let version = Arc::new(Mutex::new(ProtocolVersion::V3_1_1));
            let relay = |from, input: &TcpStream, output: &TcpStream| {
                let (input, output) = (input.try_clone().unwrap(), output.try_clone().unwrap());
                let (memory, version) = (Arc::clone(&memory), Arc::clone(&version));
                thread::spawn(move || relay(fault, from, input, output, &memory, &version));
            };
            relay(From::Client, &client, &server);
            relay(From::Server, &server, &client);
        }
    });
    target
}

/// What is no packet passes as it is.
fn relay(
    fault: &Fault,
    from: From,
    mut input: TcpStream,
    mut output: TcpStream,
    memory: &Mutex<Memory>,
    version: &Mutex<ProtocolVersion>,
) {
    let mut bytes = BytesMut::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = input.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
        loop {
            let decoder = Decoder::new(*version.lock().unwrap(), u32::MAX);
            let before = bytes.clone();
            let spoiled = match decoder.decode(&mut bytes) {
                Ok(Some(packet)) => {
                    if let Packet::Connect(connect) = &packet {
                        *version.lock().unwrap() = connect.protocol_version;
                    }
                    let packets = (fault.spoil)(from, packet, &mut memory.lock().unwrap());
                    let version = *version.lock().unwrap();
                    packets.into_iter().flat_map(|packet| encoded(packet, version)).collect()
                }
                Ok(None) => break,
                Err(_) => {
                    bytes.clear();
                    before.to_vec()
                }
            };
            if output.write_all(&spoiled).is_err() {
                break;
            }
        }
    }
    // A server that ends no connection does not end this one either.
    if from == From::Client || fault.name != FAULTS[0].name {
        let _ = output.shutdown(Shutdown::Both);
    }
}

/// The parts of the names of the checks that this is about.
const PARTS: [&str; 15] = [
    "publish",
    "malformed-publish",
    "properties",
    "topic-alias",
    "message-expiry",
    "retained",
    "retain-handling",
    "retain-as-published",
    "acknowledgements",
    "qos-flows",
    "redelivery",
    "ordering",
    "offline",
    "flow-control",
    "packet-size",
];

#[test]
fn every_check_of_messages_notices_a_fault() {
    let broker = Broker::start(&["--workers", "2"]);
    let address = format!("127.0.0.1:{}", broker.port).parse().unwrap();
    let all: Vec<Case> = cases(TABLES, BOTH)
        .into_iter()
        .filter(|case| PARTS.contains(&case.check.name.split('/').next().unwrap_or_default()))
        .collect();
    // Each waits most of the time.
    let findings = thread::scope(|scope| {
        let all = &all;
        let judge = |fault| scope.spawn(move || judged(address, fault, all));
        let threads: Vec<_> = FAULTS.iter().map(judge).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (noticed, passed_over): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|(_, finding)| finding.is_failed());
    let names: BTreeSet<String> = noticed.into_iter().map(|(_, finding)| finding.name).collect();
    let mut all: BTreeSet<String> = all.iter().map(Case::name).collect();
    all.retain(|name| !names.contains(name));
    assert!(all.is_empty(), "no fault is noticed by {all:#?}\n{passed_over:#?}");
    assert!(passed_over.is_empty(), "{passed_over:#?}");
}

/// What the checks find that have to notice this fault.
fn judged(broker: SocketAddr, fault: &'static Fault, all: &[Case]) -> Vec<(&'static str, Finding)> {
    let mut target = start(broker, fault);
    target.capabilities = probe(&target).unwrap();
    // Only what never comes is waited for so long.
    target.patience = Duration::from_millis(1500);
    let is_meant = |case: &&Case| fault.noticed_by.iter().any(|name| case.matches(name));
    let meant: Vec<Case> = all.iter().filter(is_meant).copied().collect();
    let findings = run(&meant, 16, |case, number| judge(&target, case, number), |_| {});
    findings.into_iter().map(|finding| (fault.name, finding)).collect()
}
