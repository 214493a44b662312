//! Each check of clients can fail: clients that do wrong, and checks that have to notice.

use dunlin_conformance::client::{Case, Client, Seat, TABLES, Target, probe, run};
use dunlin_conformance::{BOTH, Finding, bytes, cases, frame};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// What comes from these clients comes at once, on any machine that is not asleep.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What a bad client does once it has sent its CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// Subscribes and publishes, again on each connection, and then does nothing whatever comes.
    Mute,
    /// The same with a new session for each connection, but the messages of the old.
    Fresh,
    /// Answers whatever comes by every acknowledgement there is, on its first connection.
    Babbler,
    /// The same, with another Packet Identifier than it should.
    Liar,
    /// Sends all messages again, whatever comes, and in another order on the next connection.
    Stubborn,
    /// Uses Topic Aliases as if nobody had limits, and without names on the next connection.
    Careless,
    /// Leaves as soon as it has subscribed.
    Leaver,
    /// Closes without having done anything.
    Closer,
    /// Says goodbye, and stays.
    Lingerer,
    /// Sends CONNECT twice.
    Impatient,
    /// Has another name on each connection.
    Renamer,
    /// Publishes with DUP, also at QoS 0.
    Doubler,
    /// Keeps its connection when the server has closed.
    Clinging,
}

/// Makes a function for each, because a client is a function without memory.
macro_rules! clients {
    ($($manners:ident)*) => {
        const ALL: &[(Manners, fn(Seat))] = &[
            $((Manners::$manners, |seat| play(Manners::$manners, &seat)),)*
        ];
    };
}

clients! {
    Mute Fresh Babbler Liar Stubborn Careless Leaver Closer Lingerer Impatient Renamer Doubler Clinging
}

/// Plays until nobody listens any more.
fn play(manners: Manners, seat: &Seat) {
    let mut clung_to = Vec::new();
    for connection in 0.. {
        let Ok(mut stream) = TcpStream::connect(seat.address) else { return };
        if serve(manners, seat, connection, &mut stream).is_err() {
            thread::yield_now();
        }
        if manners == Manners::Clinging {
            clung_to.push(stream);
        }
    }
}

fn serve(
    manners: Manners,
    seat: &Seat,
    connection: u32,
    stream: &mut TcpStream,
) -> std::io::Result<()> {
    stream.write_all(&connect(manners, seat, connection))?;
    if manners == Manners::Closer {
        return Ok(());
    }
    let mut chunk = [0; 4096];
    let mut count = 0;
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        count += 1;
        if manners == Manners::Leaver && count > 1 {
            return stream.write_all(&frame(0xE0, if seat.version == "5" { "82" } else { "" }));
        }
        stream.write_all(&answer(manners, seat, connection, count, &chunk[..read]))?;
    }
}

fn connect(manners: Manners, seat: &Seat, connection: u32) -> Vec<u8> {
    let clean = if manners == Manners::Fresh { "02" } else { "00" };
    let name = match manners {
        Manners::Renamer => format!("{}{connection}", seat.client_identifier),
        _ => seat.client_identifier.clone(),
    };
    // Keep Alive 1; Receive Maximum 10, Topic Alias Maximum 5, Maximum Packet Size 300,000.
    let body = match seat.version {
        "5" => {
            format!("'MQTT' 05 {clean} 0001 10 11 000000FF 21 000A 22 0005 27 000493E0 '{name}'")
        }
        _ => format!("'MQTT' 04 {clean} 0001 '{name}'"),
    };
    let packet = frame(0x10, &body);
    if manners == Manners::Impatient { packet.repeat(2) } else { packet }
}

/// A PUBLISH; `properties` are for MQTT 5.0.
fn publish(seat: &Seat, first: u8, topic: &str, identifier: &str, properties: &str) -> Vec<u8> {
    let properties = if seat.version == "5" { properties } else { "" };
    frame(first, &format!("'{topic}' {identifier} {properties} \"hello\""))
}

fn answer(manners: Manners, seat: &Seat, connection: u32, count: u32, heard: &[u8]) -> Vec<u8> {
    let topic = &seat.topic_name;
    let is_v5 = seat.version == "5";
    let mut answer = Vec::new();
    if count == 1 {
        let properties = if is_v5 { "00" } else { "" };
        let subscribe = frame(0x82, &format!("0001 {properties} '{topic}' 02"));
        match manners {
            Manners::Doubler => {
                // QoS 0 with DUP on one connection of three: it ends what comes behind it.
                if seat.client_identifier.ends_with(['0', '3', '6', '9']) {
                    answer.extend(publish(seat, 0x38, topic, "", "00"));
                }
                answer.extend(publish(seat, 0x3A, topic, "0002", "00"));
                answer.extend(publish(seat, 0x3C, topic, "0003", "00"));
            }
            Manners::Careless if is_v5 => {
                let alias = if connection == 0 { "03 23 0009" } else { "03 23 0001" };
                let name = if connection == 0 { topic } else { "" };
                answer.extend(publish(seat, 0x32, name, "0002", alias));
                if connection == 0 {
                    answer.extend(publish(seat, 0x34, topic, "0003", "05 02 00000001"));
                }
                answer.extend(publish(seat, 0x30, topic, "", "03 23 0008"));
            }
            Manners::Stubborn if connection > 0 => answer.extend(again(seat)),
            Manners::Stubborn => {
                for (first, identifier) in [(0x32, "0002"), (0x32, "0005"), (0x34, "0003")] {
                    answer.extend(publish(seat, first, topic, identifier, "00"));
                }
            }
            _ => {
                answer.extend(subscribe);
                answer.extend(publish(seat, 0x30, topic, "", "00"));
                let dup = if manners == Manners::Fresh && connection > 0 { 8 } else { 0 };
                answer.extend(publish(seat, 0x33 | dup, topic, "0002", "00"));
                answer.extend(publish(seat, 0x35 | dup, topic, "0003", "00"));
            }
        }
    }
    match manners {
        Manners::Babbler if connection == 0 => answer.extend(acks(heard, is_v5, 0)),
        Manners::Liar if connection == 0 => answer.extend(acks(heard, is_v5, 1)),
        Manners::Stubborn if count > 1 => answer.extend(again(seat)),
        Manners::Lingerer => answer.extend(bytes("E0 00 C0 00")),
        _ => {}
    }
    answer
}

/// All messages of [`Manners::Stubborn`] and the PUBREL of one.
fn again(seat: &Seat) -> Vec<u8> {
    let topic = &seat.topic_name;
    let mut again = bytes("62 02 0003");
    for (first, identifier) in [(0x3C, "0003"), (0x3A, "0005"), (0x3A, "0002")] {
        again.extend(publish(seat, first, topic, identifier, "00"));
    }
    again
}

/// Every acknowledgement for each packet that was heard.
fn acks(heard: &[u8], is_v5: bool, off: u16) -> Vec<u8> {
    let mut acks = Vec::new();
    let mut rest = heard;
    while let [first, len, body @ ..] = rest {
        let (packet, after) = body.split_at(body.len().min(usize::from(*len)));
        let identifier = match (first >> 4, packet) {
            // Behind the Topic Name, if that is not malformed itself.
            (3, [high, low, behind @ ..]) => {
                let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
                behind.get(topic_len..topic_len + 2).unwrap_or(&[0, 7])
            }
            (_, [_, _, ..]) => &packet[..2],
            _ => &[0, 7],
        };
        let identifier = u16::from_be_bytes([identifier[0], identifier[1]]).wrapping_add(off);
        let [high, low] = identifier.max(1).to_be_bytes();
        for first in [0x40, 0x50, 0x62, 0x70] {
            acks.extend([first, 2, high, low]);
        }
        rest = after;
    }
    acks.extend([0xD0, 0]);
    if is_v5 {
        acks.extend(bytes("F0 05 18 03 15 0000"));
    }
    acks
}

fn findings(function: fn(Seat), cases: &[Case]) -> Vec<Finding> {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut target = Target::new(Client::Function(function), listen);
    target.patience = PATIENCE;
    target.arrival = target.patience;
    for version in BOTH {
        // Some are not even fit to be probed: then each check looks for itself.
        target.habits.extend(probe(&target, *version));
    }
    run(&target, cases, 64, |_| {})
}

/// The rules that are watched have a test of their own.
fn active() -> Vec<Case> {
    let all = cases(TABLES, BOTH).into_iter();
    all.filter(|case| !case.check.name.starts_with("watched/")).collect()
}

#[test]
fn every_check_fails_against_a_bad_client() {
    let mut cases = active();
    let count = cases.len();
    let mut report = Vec::new();
    for (manners, function) in ALL {
        let findings = findings(*function, &cases);
        let noticed: BTreeSet<String> =
            findings.into_iter().filter(Finding::is_failed).map(|finding| finding.name).collect();
        report.push(format!("{manners:?}: {}", noticed.len()));
        cases.retain(|case| !noticed.contains(&case.name()));
    }
    let names: Vec<String> = cases.iter().map(Case::name).collect();
    assert!(names.is_empty(), "{names:#?} pass everywhere; of {count} fail {report:?}");
    println!("of {count} checks fail {report:?}");
}
