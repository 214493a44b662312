//! DISCONNECT, of clients and of the server. Spec: §3.14, §4.13.

use super::steps::{add, ending, only_the_marker, packet};
use super::{Bench, Check};
use crate::{
    BOTH, End, Peer, Stop, V3, V5, Verdict, encoded, ensure, failed, frame, passed, seen, will,
};
use dunlin_codec::{
    Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, QoS, ReasonCode,
};
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "disconnect/server-closes",
        versions: BOTH,
        statements: &["MQTT-3.14.4-2", "MQTT3-3.14.4-1"],
        looks_for: "after a client's DISCONNECT the connection ends without a further packet",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            peer.ping()?;
            peer.send(Disconnect::new(ReasonCode::Success));
            match peer.next_packet()? {
                None => seen("the server closes, without waiting for the client"),
                Some(other) => failed(format!("the end without a packet expected; comes {other}")),
            }
        },
    },
    Check {
        name: "disconnect/every-form-of-normal",
        versions: V5,
        statements: &["MQTT-3.14.4-3", "MQTT-3.1.2-10"],
        looks_for: "a DISCONNECT without code, with 0x00, and with empty properties mean the same",
        run: |bench| {
            for (label, form) in [("a", ""), ("b", "00"), ("c", "00 00")] {
                ends_without_will(bench, label, &frame(0xE0, form))?;
            }
            passed()
        },
    },
    Check {
        name: "disconnect/reserved-flags",
        versions: BOTH,
        statements: &["MQTT-3.14.1-1", "MQTT-2.1.3-1", "MQTT3-3.14.1-1", "MQTT3-2.2.2-2"],
        looks_for: "a DISCONNECT with flags is none: the Will is published",
        run: |bench| no_disconnect(bench, &[0xE1, 0xE2, 0xE8, 0xEF].map(|first| vec![first, 0])),
    },
    Check {
        name: "disconnect/with-a-body",
        versions: V3,
        statements: &["MQTT3-4.8.0-1", "MQTT3-3.1.2-8"],
        looks_for: "a DISCONNECT whose Remaining Length is not 0 is none: the Will is published",
        run: |bench| no_disconnect(bench, &[frame(0xE0, "00")]),
    },
    Check {
        name: "disconnect/unknown-code",
        versions: V5,
        statements: &["MQTT-3.14.2-1", "MQTT-4.13.1-1"],
        looks_for: "a DISCONNECT with a code that no table has is none: the Will is published",
        run: |bench| no_disconnect(bench, &[frame(0xE0, "03"), frame(0xE0, "7F 00")]),
    },
    Check {
        name: "disconnect/session-expiry-interval-from-zero",
        versions: V5,
        statements: &["MQTT-4.13.1-1", "MQTT-3.1.2-8"],
        looks_for: "a Session Expiry Interval where CONNECT had none is an error: the Will is published",
        run: from_zero,
    },
    Check {
        name: "disconnect/session-expiry-interval-twice",
        versions: V5,
        statements: &["MQTT-4.13.1-1", "MQTT-3.1.2-8"],
        looks_for: "a DISCONNECT with two Session Expiry Intervals is none: the Will is published",
        run: |bench| no_disconnect(bench, &[frame(0xE0, "00 0A 11 00000000 11 00000000")]),
    },
    Check {
        name: "disconnect/session-expiry-interval-to-zero",
        versions: V5,
        statements: &["MQTT-4.1.0-2", "MQTT-3.2.2-3"],
        looks_for: "a Session Expiry Interval of 0 in DISCONNECT ends the session",
        run: |bench| {
            let (peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            with_expiry(peer, 0)?;
            session_present(bench, false)
        },
    },
    Check {
        name: "disconnect/session-expiry-interval-is-replaced",
        versions: V5,
        statements: &["MQTT-3.1.2-23", "MQTT-3.2.2-3"],
        looks_for: "a longer Session Expiry Interval in DISCONNECT replaces the one of CONNECT",
        run: |bench| {
            let (peer, _) = bench.connect_with("client", expiring_in(bench, 1))?;
            with_expiry(peer, 300)?;
            bench.wait(Duration::from_secs(3));
            session_present(bench, true)
        },
    },
    Check {
        name: "disconnect/server-tells-no-session-expiry",
        versions: V5,
        statements: &["MQTT-3.14.2-2", "MQTT-3.14.2-1", "MQTT-3.14.4-1", "MQTT-3.14.4-2"],
        looks_for: "a server's DISCONNECT has a code for servers, no Session Expiry Interval, and is the last",
        run: servers_disconnect,
    },
    Check {
        name: "disconnect/fits-the-maximum-packet-size",
        versions: V5,
        statements: &["MQTT-3.14.2-3", "MQTT-3.14.2-4", "MQTT-3.1.2-24"],
        looks_for: "a server's DISCONNECT is within the client's Maximum Packet Size",
        run: |bench| {
            const MAXIMUM: usize = 24;
            let properties = ConnectProperties {
                maximum_packet_size: Some(MAXIMUM as u32),
                ..ConnectProperties::default()
            };
            let connect = Connect { properties, ..bench.connect_packet("client") };
            let mut peer = bench.open("client")?;
            peer.send(connect);
            match peer.next_packet()? {
                None => return seen("does not answer within so small a maximum"),
                Some(connack) => fits(bench, connack, MAXIMUM)?,
            }
            peer.send_bytes(&frame(0x82, "0001 00 't' 03"));
            match peer.next_packet()? {
                None => seen("closes without DISCONNECT"),
                Some(disconnect) => {
                    fits(bench, disconnect, MAXIMUM)?;
                    seen("a DISCONNECT that fits")
                }
            }
        },
    },
    Check {
        name: "disconnect/none-before-connack",
        versions: V5,
        statements: &["MQTT-3.14.0-1"],
        looks_for: "a connection that was never accepted ends without DISCONNECT",
        run: |bench| {
            let identifier = bench.client_identifier("client");
            let faults = [
                // A reserved flag, a property of PUBLISH, Receive Maximum 0, and no CONNECT.
                frame(0x10, &format!("'MQTT' 05 03 0000 00 '{identifier}'")),
                frame(0x10, &format!("'MQTT' 05 02 0000 03 23 0001 '{identifier}'")),
                frame(0x10, &format!("'MQTT' 05 02 0000 03 21 0000 '{identifier}'")),
                encoded(Packet::PingReq, bench.version()),
            ];
            for fault in faults {
                let mut peer = bench.open("client")?;
                peer.send_bytes(&fault);
                if let end @ End::Disconnect(_) = peer.expect_closed()? {
                    return failed(format!("no DISCONNECT may come before CONNACK; {end}"));
                }
            }
            passed()
        },
    },
    Check {
        name: "disconnect/fault-with-its-code",
        versions: V5,
        statements: &["MQTT-4.13.1-1", "MQTT-4.13.2-1"],
        looks_for: "a malformed packet is told as 0x81, a protocol error as 0x82, if anything is told",
        run: faults_with_codes,
    },
    Check {
        name: "disconnect/fault-ends-that-connection-alone",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a client's fault ends its own connection and no other",
        run: |bench| {
            let mut other = bench.connect("other")?;
            other.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            let mut wrong = bench.connect("wrong")?;
            wrong.publish(&bench.topic_name("t"), QoS::AtMostOnce, "before")?;
            other.expect_message("before")?;
            wrong.send_bytes(&packet(bench, 0x82, "0001 {} 't' 03"));
            wrong.expect_closed()?;
            other.publish(&bench.topic_name("t"), QoS::AtMostOnce, "after")?;
            other.expect_message("after")?;
            passed()
        },
    },
    Check {
        name: "disconnect/nothing-of-the-faulty-packet",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "what a client sends behind a malformed packet is not processed",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let mut watch = bench.connect("watch")?;
            watch.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            let mut wrong = bench.connect("wrong")?;
            let mut bytes = packet(bench, 0x82, "0001 {} 't' 03");
            bytes.extend(encoded(crate::message(&topic_name, "smuggled"), bench.version()));
            wrong.send_bytes(&bytes);
            wrong.expect_closed()?;
            let mut publisher = bench.connect("pub")?;
            let why = "the connection had ended before";
            only_the_marker(&mut publisher, &mut watch, &topic_name, QoS::AtMostOnce, why)?;
            passed()
        },
    },
];

/// A client with a Will to `will/label`, and one that watches for it.
fn with_will(bench: &Bench, label: &str, expiry: Option<u32>) -> Result<(Peer, Peer), Stop> {
    let label = format!("will/{label}");
    let mut watch = bench.connect("watch")?;
    watch.subscribe(&bench.topic_filter(&label), QoS::AtMostOnce)?;
    let connect = Connect {
        will: Some(will(&bench.topic_name(&label), QoS::AtMostOnce, "the will")),
        properties: ConnectProperties {
            session_expiry_interval: expiry,
            ..ConnectProperties::default()
        },
        ..bench.connect_packet("client")
    };
    Ok((bench.connect_with("client", connect)?.0, watch))
}

/// These end the connection, and not as DISCONNECT does: the Will is published.
fn no_disconnect(bench: &Bench, faults: &[Vec<u8>]) -> Verdict {
    let mut ends = Vec::new();
    for (at, fault) in faults.iter().enumerate() {
        let (mut client, mut watch) = with_will(bench, &at.to_string(), None)?;
        client.send_bytes(fault);
        add(&mut ends, client.expect_closed()?.to_string());
        watch.expect_message("the will")?;
    }
    seen(ends.join(", "))
}

fn ends_without_will(bench: &Bench, label: &str, bytes: &[u8]) -> Result<(), Stop> {
    let (mut client, mut watch) = with_will(bench, label, None)?;
    client.send_bytes(bytes);
    client.finish_sending();
    client.expect_closed()?;
    let topic_name = bench.topic_name(&format!("will/{label}"));
    let mut publisher = bench.connect("pub")?;
    let why = "DISCONNECT 0x00 takes the Will away";
    only_the_marker(&mut publisher, &mut watch, &topic_name, QoS::AtMostOnce, why)
}

fn from_zero(bench: &mut Bench) -> Verdict {
    let (mut client, mut watch) = with_will(bench, "x", None)?;
    client.send_bytes(&frame(0xE0, "00 05 11 0000012C"));
    let end = client.expect_closed()?.with_code_of(&[ReasonCode::ProtocolError])?;
    watch.expect_message("the will")?;
    session_present(bench, false)?;
    end.passed()
}

fn expiring_in(bench: &Bench, seconds: u32) -> Connect {
    let properties = ConnectProperties {
        session_expiry_interval: Some(seconds),
        ..ConnectProperties::default()
    };
    Connect { properties, ..bench.persistent("client") }
}

fn with_expiry(mut peer: Peer, seconds: u32) -> Result<(), Stop> {
    let properties = DisconnectProperties {
        session_expiry_interval: Some(seconds),
        ..DisconnectProperties::default()
    };
    peer.send(Disconnect { reason_code: ReasonCode::Success, properties });
    peer.finish_sending();
    peer.expect_closed().map(drop)
}

fn session_present(bench: &Bench, expected: bool) -> Verdict {
    let (peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
    let (expected, came) = (u8::from(expected), u8::from(connack.session_present));
    ensure(came == expected, format!("Session Present {expected} expected; CONNACK says {came}"))?;
    peer.disconnect()?;
    passed()
}

/// Packets that a server may answer by DISCONNECT, with the codes that fit.
const FAULTS: &[(u8, &str, ReasonCode)] = &[
    (0x83, "0001 00 't' 00", ReasonCode::MalformedPacket),
    (0x82, "0001 00 't' 40", ReasonCode::MalformedPacket),
    (0x36, "'t' 0001 00", ReasonCode::MalformedPacket),
    (0x82, "0001 02 0B 00 't' 00", ReasonCode::ProtocolError),
    (0x30, "'t' 04 01 00 01 00", ReasonCode::ProtocolError),
    (0x30, "'' 00", ReasonCode::ProtocolError),
    (0x82, "0001 00", ReasonCode::ProtocolError),
];

/// The standard draws the line between the two with care, and its readers don't.
fn faults_with_codes(bench: &mut Bench) -> Verdict {
    let mut told = Vec::new();
    for (first_byte, body, code) in FAULTS {
        let end = ending(bench, &frame(*first_byte, body))?;
        let end = end.with_code_of(&[
            ReasonCode::MalformedPacket,
            ReasonCode::ProtocolError,
            ReasonCode::UnspecifiedError,
            ReasonCode::ImplementationSpecificError,
        ])?;
        if end.reason_code().is_some_and(|came| came != *code) {
            add(&mut told, format!("{end} instead of {code} in one case or more"));
        } else {
            add(&mut told, end.to_string());
        }
    }
    seen(told.join(", "))
}

fn servers_disconnect(bench: &mut Bench) -> Verdict {
    let mut told = Vec::new();
    for (first_byte, body, _) in FAULTS {
        let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
        peer.send_bytes(&frame(*first_byte, body));
        let Some(packet) = peer.next_packet()? else {
            add(&mut told, "closes without DISCONNECT");
            continue;
        };
        let Packet::Disconnect(disconnect) = packet else {
            return failed(format!("DISCONNECT or the end expected; what comes is {packet}"));
        };
        ensure(
            disconnect.properties.session_expiry_interval.is_none(),
            "no Session Expiry Interval expected in a server's DISCONNECT",
        )?;
        let code = disconnect.reason_code;
        ensure(
            code.is_error() && code != ReasonCode::DisconnectWithWillMessage,
            format!("a code for an error expected; DISCONNECT says {code}"),
        )?;
        if let Some(packet) = peer.next_packet()? {
            return failed(format!("nothing may follow DISCONNECT; comes {packet}"));
        }
        add(&mut told, format!("DISCONNECT with {code}"));
    }
    seen(told.join(", "))
}

fn fits(bench: &Bench, packet: Packet, maximum: usize) -> Result<(), Stop> {
    let text = packet.to_string();
    let len = encoded(packet, bench.version()).len();
    ensure(len <= maximum, format!("at most {maximum} bytes expected; {text} has {len}"))
}
