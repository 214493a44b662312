//! CONNECT: who is let in, under which name, and what ends a connection. Spec: §3.1.

use super::{Bench, Check};
use crate::{
    BOTH, End, Peer, Stop, V3, V5, Verdict, encoded, ensure, failed, frame, message, passed, seen,
    skipped,
};
use dunlin_codec::{Connect, ConnectProperties, Packet, QoS, ReasonCode, Text};
use std::fmt;
use std::time::{Duration, Instant};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "connect/accepted",
        versions: BOTH,
        statements: &["MQTT-3.1.4-5", "MQTT-3.2.0-1", "MQTT3-3.1.4-4", "MQTT3-3.2.0-1"],
        looks_for: "a plain CONNECT is answered by a CONNACK that accepts, and nothing before it",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            peer.ping()?;
            passed()
        },
    },
    Check {
        name: "connect/in-single-bytes",
        versions: BOTH,
        statements: &["MQTT-3.1.4-5", "MQTT3-3.1.4-4"],
        looks_for: "a CONNECT that arrives byte by byte is a CONNECT",
        run: |bench| {
            let mut peer = bench.open("client")?;
            for byte in encoded(bench.connect_packet("client"), bench.version()) {
                peer.send_bytes(&[byte]);
            }
            peer.expect_accepted()?;
            peer.ping()?;
            passed()
        },
    },
    Check {
        name: "connect/packets-before-connack",
        versions: BOTH,
        statements: &["MQTT-3.1.4-5", "MQTT-3.2.0-1", "MQTT3-3.1.4-4", "MQTT3-3.2.0-1"],
        looks_for: "packets sent right after CONNECT are answered, after CONNACK",
        run: |bench| {
            let mut peer = bench.open("client")?;
            let mut bytes = encoded(bench.connect_packet("client"), bench.version());
            bytes.extend(encoded(Packet::PingReq, bench.version()));
            peer.send_bytes(&bytes);
            peer.expect_accepted()?;
            peer.expect_pingresp()?;
            passed()
        },
    },
    Check {
        name: "connect/second-connect-closes",
        versions: BOTH,
        statements: &["MQTT-3.1.0-2", "MQTT3-3.1.0-2"],
        looks_for: "a second CONNECT ends the connection",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            peer.ping()?;
            peer.send(bench.connect_packet("client"));
            peer.expect_closed()?.passed()
        },
    },
    Check {
        name: "connect/first-packet-pingreq",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT-4.13.1-1", "MQTT3-3.1.0-1", "MQTT3-4.8.0-1"],
        looks_for: "a PINGREQ before CONNECT ends the connection",
        run: |bench| first_packet(bench, |_, peer| peer.send(Packet::PingReq)),
    },
    Check {
        name: "connect/first-packet-publish",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT-4.13.1-1", "MQTT3-3.1.0-1", "MQTT3-4.8.0-1"],
        looks_for: "a PUBLISH before CONNECT ends the connection",
        run: |bench| {
            first_packet(bench, |bench, peer| peer.send(message(&bench.topic_name("early"), "x")))
        },
    },
    Check {
        name: "connect/first-packet-subscribe",
        versions: V5,
        statements: &["MQTT-3.1.0-1", "MQTT-4.13.1-1"],
        looks_for: "a SUBSCRIBE before CONNECT ends the connection",
        run: |bench| {
            first_packet(bench, |_, peer| peer.send_bytes(&frame(0x82, "0001 00 'early' 00")))
        },
    },
    Check {
        name: "connect/first-packet-of-the-server",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT-4.13.1-1", "MQTT3-3.1.0-1", "MQTT3-4.8.0-1"],
        looks_for: "a packet that only servers send ends the connection",
        run: |bench| first_packet(bench, |_, peer| peer.send(Packet::PingResp)),
    },
    Check {
        name: "connect/wrong-protocol-name",
        versions: BOTH,
        statements: &["MQTT-3.1.2-1", "MQTT3-3.1.2-1"],
        looks_for: "the Protocol Name MQTQ is refused",
        run: |bench| wrong_name(bench, "MQTQ"),
    },
    Check {
        name: "connect/protocol-name-in-small-letters",
        versions: BOTH,
        statements: &["MQTT-3.1.2-1", "MQTT3-3.1.2-1"],
        looks_for: "the Protocol Name mqtt is refused",
        run: |bench| wrong_name(bench, "mqtt"),
    },
    Check {
        name: "connect/unknown-version",
        versions: BOTH,
        statements: &["MQTT-3.1.2-2", "MQTT3-3.1.2-2", "MQTT3-3.2.2-5"],
        looks_for: "a protocol version of the future is refused, with CONNACK as the standard of the server says",
        run: unknown_version,
    },
    Check {
        name: "connect/nothing-processed-after-refusal",
        versions: BOTH,
        statements: &["MQTT-3.1.4-6", "MQTT3-3.1.4-5"],
        looks_for: "a PUBLISH behind a CONNECT that is refused is not delivered",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let (mut publisher, mut subscriber) = bench.pair("t", QoS::AtMostOnce)?;
            let mut refused = bench.open("refused")?;
            let mut bytes = frame(0x10, &connect_body(bench, "03", ""));
            bytes.extend(encoded(message(&topic_name, "smuggled"), bench.version()));
            refused.send_bytes(&bytes);
            refused.expect_closed()?;
            publisher.publish(&topic_name, QoS::AtMostOnce, "marker")?;
            let before = subscriber.publishes_before(b"marker")?;
            ensure(before.is_empty(), "a message of a client that was refused is delivered")?;
            passed()
        },
    },
    Check {
        name: "connect/identifier-of-23-letters-and-digits",
        versions: BOTH,
        statements: &["MQTT-3.1.3-5", "MQTT3-3.1.3-5"],
        looks_for: "a Client Identifier of 23 letters and digits is allowed",
        run: |bench| {
            let connect = bench.connect_packet("abcXYZ019");
            ensure(connect.client_identifier.len() == 23, "the bench makes it of 23 bytes")?;
            bench.connect_with("client", connect)?.0.ping()?;
            passed()
        },
    },
    Check {
        name: "connect/identifier-of-one-letter",
        versions: BOTH,
        statements: &["MQTT-3.1.3-5", "MQTT3-3.1.3-5"],
        looks_for: "a Client Identifier of one letter is allowed",
        run: |bench| {
            let client_identifier = Text::from_static(if bench.is_v5() { "Q" } else { "W" });
            let connect = Connect { client_identifier, ..bench.connect_packet("") };
            bench.connect_with("client", connect)?.0.ping()?;
            passed()
        },
    },
    Check {
        name: "connect/assigned-identifier",
        versions: V5,
        statements: &["MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16", "MQTT-3.1.3-8"],
        looks_for: "an empty Client Identifier gets a new one, which CONNACK tells",
        run: |bench| {
            let (Some((_first, one)), Some((_second, other))) =
                (connect_unnamed(bench)?, connect_unnamed(bench)?)
            else {
                return seen("an empty Client Identifier is refused");
            };
            ensure(one != other, format!("two clients at once are both named {one:?}"))?;
            passed()
        },
    },
    Check {
        name: "connect/assigned-identifier-names-the-session",
        versions: V5,
        statements: &["MQTT-3.1.3-7", "MQTT-3.1.3-2"],
        looks_for: "the session of an Assigned Client Identifier is found again under it",
        run: |bench| {
            let Some((peer, client_identifier)) = connect_unnamed(bench)? else {
                return skipped("an empty Client Identifier is refused");
            };
            peer.disconnect()?;
            let again = Connect { client_identifier, ..bench.persistent("") };
            let (_peer, connack) = bench.connect_with("again", again)?;
            ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
            passed()
        },
    },
    Check {
        name: "connect/empty-identifier",
        versions: V3,
        statements: &["MQTT3-3.1.3-6", "MQTT3-3.1.3-9"],
        looks_for: "an empty Client Identifier with Clean Session is taken, or refused with 2",
        run: |bench| {
            let mut peer = bench.open("client")?;
            let client_identifier = Text::from_static("");
            peer.send(Connect { client_identifier, ..bench.connect_packet("") });
            if peer.expect_connack()?.reason_code == ReasonCode::Success {
                peer.ping()?;
                return seen("an empty Client Identifier is allowed");
            }
            peer.expect_closed()?;
            seen("an empty Client Identifier is refused")
        },
    },
    Check {
        name: "connect/empty-identifier-without-clean-session",
        versions: V3,
        statements: &["MQTT3-3.1.3-8", "MQTT3-3.1.3-7", "MQTT3-3.2.2-4"],
        looks_for: "an empty Client Identifier without Clean Session is refused with 2",
        run: |bench| {
            let mut peer = bench.open("client")?;
            let client_identifier = Text::from_static("");
            peer.send(Connect { client_identifier, ..bench.persistent("") });
            match peer.expect_closed()? {
                End::Refused(ReasonCode::ClientIdentifierNotValid) => passed(),
                other => failed(format!("CONNACK with return code 2 expected; {other}")),
            }
        },
    },
    Check {
        name: "connect/takeover",
        versions: BOTH,
        statements: &["MQTT-3.1.4-3", "MQTT3-3.1.4-2"],
        looks_for: "a second connection with the same Client Identifier ends the first",
        run: |bench| {
            let mut old = bench.connect("client")?;
            let mut new = bench.connect("client")?;
            let end = old.expect_closed()?;
            new.ping()?;
            match end {
                End::Closed if bench.is_v5() => failed("DISCONNECT 0x8E expected before the end"),
                End::Refused(_) => failed(format!("{end}, after it was accepted")),
                _ => end.with_code_of(&[ReasonCode::SessionTakenOver])?.passed(),
            }
        },
    },
    Check {
        name: "connect/keep-alive",
        versions: BOTH,
        statements: &["MQTT-3.1.2-22", "MQTT-3.2.2-22", "MQTT3-3.1.2-24"],
        looks_for: "a client that is silent for 1.5 Keep Alives is cut off, and not before",
        run: keep_alive,
    },
    Check {
        name: "connect/no-response-information-unasked",
        versions: V5,
        statements: &["MQTT-3.1.2-28"],
        looks_for: "no Response Information for a client that does not ask for it",
        run: |bench| {
            let properties = ConnectProperties {
                request_response_information: Some(false),
                ..ConnectProperties::default()
            };
            let connect = Connect { properties, ..bench.connect_packet("client") };
            let (_peer, connack) = bench.connect_with("client", connect)?;
            ensure(
                connack.properties.response_information.is_none(),
                "no Response Information expected; CONNACK has it",
            )?;
            passed()
        },
    },
];

/// Sends something before CONNECT, which ends the connection.
fn first_packet(bench: &Bench, send: fn(&Bench, &mut Peer)) -> Verdict {
    let mut peer = bench.open("client")?;
    send(bench, &mut peer);
    peer.expect_closed()?.passed()
}

/// The body of a CONNECT with these Connect Flags, no Keep Alive, no properties, the Client
/// Identifier and then `rest`, to be made a packet by [`frame`].
pub(super) fn connect_body(bench: &Bench, flags: &str, rest: &str) -> String {
    let client_identifier = bench.client_identifier("client");
    let (level, properties) = if bench.is_v5() { ("05", "00") } else { ("04", "") };
    format!("'MQTT' {level} {flags} 0000 {properties} '{client_identifier}' {rest}")
}

fn wrong_name(bench: &Bench, name: &str) -> Verdict {
    let body = connect_body(bench, "02", "").replace("MQTT", name);
    seen(unsupported(bench, &body)?)
}

fn unknown_version(bench: &mut Bench) -> Verdict {
    let body = connect_body(bench, "02", "").replace("'MQTT' 0", "'MQTT' 1");
    match unsupported(bench, &body)? {
        // MQTT 5.0 says "may"; a server that speaks it as well goes by that.
        Unsupported::Silent if !bench.can().versions.iter().any(|version| version.is_v5()) => {
            failed("CONNACK with return code 1 expected; the connection is closed without it")
        }
        answer => seen(answer),
    }
}

/// How a server answers what is not its protocol. Which form the CONNACK has is its choice: it
/// can't know what the client reads.
enum Unsupported {
    Silent,
    ReturnCode,
    ReasonCode,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "closes without a word",
            Self::ReturnCode => "CONNACK of MQTT 3.1.1 with return code 1, closes",
            Self::ReasonCode => "CONNACK of MQTT 5.0 with 0x84, closes",
        })
    }
}

fn unsupported(bench: &Bench, body: &str) -> Result<Unsupported, Stop> {
    let mut peer = bench.open("client")?;
    peer.send_bytes(&frame(0x10, body));
    match peer.expect_closed_raw()?.as_slice() {
        [] => Ok(Unsupported::Silent),
        [0x20, 0x02, 0x00, 0x01] => Ok(Unsupported::ReturnCode),
        [0x20, _, 0x00, 0x84, ..] => Ok(Unsupported::ReasonCode),
        _ => failed("a CONNACK that refuses the protocol expected, or nothing; another came"),
    }
}

/// A client without a Client Identifier, with the one that the server gave it; `None` when the
/// server refuses that.
fn connect_unnamed(bench: &Bench) -> Result<Option<(Peer, Text)>, Stop> {
    let mut peer = bench.open("unnamed")?;
    let connect = Connect { clean_start: true, ..bench.persistent("") };
    peer.send(Connect { client_identifier: Text::from_static(""), ..connect });
    let connack = peer.expect_connack()?;
    if connack.reason_code != ReasonCode::Success {
        let refused = connack.reason_code == ReasonCode::ClientIdentifierNotValid;
        ensure(refused, format!("0x85 expected; CONNACK says {}", connack.reason_code))?;
        peer.expect_closed()?;
        return Ok(None);
    }
    match connack.properties.assigned_client_identifier {
        Some(assigned) if !assigned.is_empty() => Ok(Some((peer, assigned))),
        _ => failed("Assigned Client Identifier expected; CONNACK has none"),
    }
}

fn keep_alive(bench: &mut Bench) -> Verdict {
    let connect = Connect { keep_alive: 1, ..bench.connect_packet("client") };
    let (mut peer, connack) = bench.connect_with("client", connect)?;
    // MQTT 3.1.1 can't say it: the server may be one that said it in MQTT 5.0.
    let imposed = connack.properties.server_keep_alive.or(bench.can().server_keep_alive);
    if imposed.is_some_and(|secs| secs != 1) {
        return skipped("the server imposes a Keep Alive of its own");
    }
    peer.wait_longer(Duration::from_secs(2));
    let start = Instant::now();
    let end = peer.expect_closed()?.with_code_of(&[ReasonCode::KeepAliveTimeout])?;
    let took = start.elapsed();
    // The server began to count before its CONNACK was here: some slack is fair.
    ensure(took.as_millis() > 1200, format!("closed after {took:?}, before 1.5 Keep Alives"))?;
    end.passed()
}
