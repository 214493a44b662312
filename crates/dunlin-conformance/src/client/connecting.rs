//! CONNACK: what the client makes of it. Spec: §3.2.

use super::{Bench, Check, Left, Next};
use crate::{BOTH, V5, Verdict, encoded, failed, frame, passed, seen, skipped};
use dunlin_codec::{ConnAck, ConnAckProperties, Packet, PacketType, ReasonCode, Text};
use std::time::{Duration, Instant};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "connecting/goes-on-after-connack",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT-4.1.0-1", "MQTT3-3.1.0-1", "MQTT3-4.1.0-2"],
        looks_for: "a client that is accepted does something or stays",
        run: goes_on,
    },
    Check {
        name: "connecting/connack-in-single-bytes",
        versions: BOTH,
        statements: &["MQTT-4.2-1", "MQTT3-4.2.0-1"],
        looks_for: "a CONNACK that arrives byte by byte is a CONNACK",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            let connack = ConnAck {
                session_present: false,
                reason_code: ReasonCode::Success,
                properties: ConnAckProperties::default(),
            };
            for byte in encoded(Packet::ConnAck(Box::new(connack)), bench.version()) {
                visitor.send_bytes(&[byte]);
            }
            stays_or_works(&mut visitor)
        },
    },
    Check {
        name: "connecting/late-connack",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT-4.2-1", "MQTT3-3.1.0-1", "MQTT3-4.2.0-1"],
        looks_for: "a CONNACK after a second is in time; packets before it are allowed",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            let (before, closed) = visitor.observe(Duration::from_secs(1).min(bench.patience()))?;
            if closed {
                return failed("the client does not wait a second for CONNACK");
            }
            visitor.accept(false, ConnAckProperties::default());
            if before.is_empty() {
                stays_or_works(&mut visitor)?;
                seen("waits for CONNACK with its packets")
            } else {
                seen("sends packets before CONNACK")
            }
        },
    },
    Check {
        name: "connecting/refused",
        versions: BOTH,
        statements: &["MQTT-4.13.2-1", "MQTT3-4.8.0-1"],
        looks_for: "a CONNACK that refuses ends the connection",
        run: |bench| refused(bench, ReasonCode::NotAuthorized),
    },
    Check {
        name: "connecting/server-unavailable",
        versions: BOTH,
        statements: &["MQTT-4.13.2-1", "MQTT3-4.8.0-1"],
        looks_for: "a CONNACK that says that the server is unavailable ends the connection",
        run: |bench| refused(bench, ReasonCode::ServerUnavailable),
    },
    Check {
        name: "connecting/session-present-without-session",
        versions: V5,
        statements: &["MQTT-3.2.2-4", "MQTT-3.1.2-4"],
        looks_for: "Session Present after Clean Start ends the connection",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            if !visitor.connect().clean_start {
                return skipped("the client connects without Clean Start");
            }
            visitor.accept(true, ConnAckProperties::default());
            visitor.expect_left()?.passed()
        },
    },
    Check {
        name: "connecting/all-properties",
        versions: V5,
        statements: &["MQTT-4.2-1", "MQTT-1.5.7-1"],
        looks_for: "a CONNACK with every property that asks for nothing is accepted",
        run: |bench| {
            let text = |text: &str| text.parse::<Text>().expect("a plain text");
            let properties = ConnAckProperties {
                session_expiry_interval: Some(30),
                receive_maximum: Some(100),
                retain_available: Some(true),
                maximum_packet_size: Some(1_000_000),
                topic_alias_maximum: Some(10),
                reason_string: Some(text("welcome")),
                user_properties: vec![
                    (text("k"), text("v")),
                    (text("k"), text("")),
                    (text("ключ"), text("値")),
                ],
                wildcard_subscription_available: Some(true),
                subscription_identifiers_available: Some(true),
                shared_subscription_available: Some(true),
                server_keep_alive: Some(60),
                ..ConnAckProperties::default()
            };
            let mut visitor = bench.connected_with(properties)?;
            stays_or_works(&mut visitor)
        },
    },
    Check {
        name: "connecting/assigned-client-identifier",
        versions: V5,
        statements: &["MQTT-3.1.3-2", "MQTT-3.1.3-3"],
        looks_for: "a client without a name takes the one that the server gives it",
        run: |bench| {
            bench.choose_client_identifier("");
            let mut visitor = bench.arrival()?;
            if !visitor.connect().client_identifier.is_empty() {
                return skipped("the client chooses its Client Identifier itself");
            }
            let name: Text = "assigned-by-the-server".parse().expect("a plain text");
            visitor.accept(
                false,
                ConnAckProperties {
                    assigned_client_identifier: Some(name.clone()),
                    ..ConnAckProperties::default()
                },
            );
            stays_or_works(&mut visitor)?;
            visitor.abort();
            match bench.arrival() {
                Ok(again) if again.connect().client_identifier == name => {
                    seen("connects again with the name that the server gave")
                }
                Ok(_) => seen("connects again without the name that the server gave"),
                Err(_) => seen("does not connect again"),
            }
        },
    },
    Check {
        name: "connecting/same-name-again",
        versions: BOTH,
        statements: &["MQTT-3.1.3-2", "MQTT3-3.1.3-2"],
        looks_for: "a client that connects again has the same Client Identifier",
        run: |bench| {
            let (visitor, _) = bench.engaged()?;
            let before = visitor.connect().clone();
            visitor.abort();
            let again = bench.arrival()?;
            let after = &again.connect().client_identifier;
            if *after == before.client_identifier {
                return passed();
            }
            // A session that does not outlive the connection needs no name that lasts.
            if again.connect().clean_start {
                return seen("takes another name for another session");
            }
            failed(format!("{after:?} goes on with the session of {:?}", before.client_identifier))
        },
    },
    Check {
        name: "connecting/no-connack",
        versions: BOTH,
        statements: &["MQTT-3.1.0-1", "MQTT3-3.1.0-1"],
        looks_for: "without CONNACK the client waits or gives up, and sends no second CONNECT",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            let start = Instant::now();
            let (packets, closed) = visitor.observe(bench.patience())?;
            if packets.iter().any(|packet| packet.packet_type() == PacketType::Connect) {
                return failed("a second CONNECT on the same connection");
            }
            if closed && start.elapsed() < bench.patience() {
                seen("gives up within the patience of the check")
            } else {
                seen("waits longer than the check")
            }
        },
    },
    Check {
        name: "connecting/packet-before-connack",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a PUBLISH before CONNACK ends the connection",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            visitor.send_bytes(&frame(0x30, if bench.is_v5() { "'x' 00" } else { "'x'" }));
            ends(&mut visitor, bench)
        },
    },
    Check {
        name: "connecting/second-connack",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a second CONNACK ends the connection",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            visitor.accept(false, ConnAckProperties::default());
            ends(&mut visitor, bench)
        },
    },
];

fn goes_on(bench: &mut Bench) -> Verdict {
    let mut visitor = bench.connected()?;
    stays_or_works(&mut visitor)
}

/// The client sends a packet, or stays without one, or leaves with DISCONNECT; it does not merely
/// close.
fn stays_or_works(visitor: &mut super::Visitor) -> Verdict {
    match visitor.next(Instant::now() + visitor.patience())? {
        Next::Packet(Packet::Disconnect(disconnect)) if disconnect.reason_code.is_error() => {
            failed(format!("the client leaves with {}", disconnect.reason_code))
        }
        Next::Packet(_) | Next::Nothing => passed(),
        Next::Closed => failed("the client closes the connection that was accepted"),
    }
}

fn refused(bench: &mut Bench, reason_code: ReasonCode) -> Verdict {
    let mut visitor = bench.arrival()?;
    visitor.send(ConnAck {
        session_present: false,
        reason_code,
        properties: ConnAckProperties::default(),
    });
    visitor.expect_gone()
}

/// The client answers a Protocol Error: in MQTT 3.1.1 it has to close [MQTT3-4.8.0-1], in 5.0 it
/// should (§4.13.1). In no version it answers as if the packet were one to answer.
pub(super) fn ends(visitor: &mut super::Visitor, bench: &Bench) -> Verdict {
    // What it sends from here on answers the packet, and nothing else.
    visitor.answers_publishes = false;
    let deadline = Instant::now() + visitor.patience();
    let mut left = Left::Silently;
    loop {
        match visitor.next(deadline)? {
            Next::Packet(Packet::Disconnect(disconnect)) => {
                left = Left::Disconnect(disconnect.reason_code);
            }
            Next::Packet(
                packet @ (Packet::Connect(_)
                | Packet::PubAck(_)
                | Packet::PubRec(_)
                | Packet::PubRel(_)
                | Packet::PubComp(_)
                | Packet::SubAck(_)
                | Packet::UnsubAck(_)
                | Packet::PingResp
                | Packet::Auth(_)),
            ) => return failed(format!("the client is to close the connection; comes {packet}")),
            Next::Packet(_) => {}
            Next::Closed => return left.passed(),
            Next::Nothing if bench.is_v5() => {
                return seen("stays connected, though it should close");
            }
            Next::Nothing => {
                return failed(format!(
                    "the client is to close the connection, and has it open after {:?}",
                    visitor.patience()
                ));
            }
        }
    }
}

/// The code of a DISCONNECT, if the client sent one, is among these.
pub(super) fn with_code_of(left: Left, allowed: &[ReasonCode]) -> Verdict {
    match left {
        Left::Disconnect(code) if code.is_error() && !allowed.contains(&code) => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            failed(format!("{left}; the code is to be {}", allowed.join(" or ")))
        }
        left => left.passed(),
    }
}
