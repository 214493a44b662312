//! AUTH and enhanced authentication. Spec: §3.15, §4.12.
//!
//! No method is known to every server, so these are about methods that it does not have and about
//! clients without one.

use super::Check;
use super::steps::{only_the_marker, refuses, refuses_each};
use crate::{End, V5, Verdict, ensure, failed, frame, passed};
use dunlin_codec::{Connect, ConnectProperties, Packet, QoS, ReasonCode, Text};

/// Nobody has it, it is hoped.
const METHOD: &str = "DUNLIN-CONFORMANCE-UNKNOWN";

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "authentication/unknown-method",
        versions: V5,
        statements: &["MQTT-4.12.0-1", "MQTT-3.1.4-2", "MQTT-3.2.2-7", "MQTT-3.2.2-8"],
        looks_for: "a method that the server does not have is refused with 0x8C or 0x87, if not in silence",
        run: |bench| {
            let mut peer = bench.open("client")?;
            peer.send(with_method(bench.connect_packet("client"), None));
            unknown_method(peer.expect_closed()?)
        },
    },
    Check {
        name: "authentication/unknown-method-with-data",
        versions: V5,
        statements: &["MQTT-4.12.0-1", "MQTT-4.12.0-4", "MQTT-3.2.2-6"],
        looks_for: "the same with Authentication Data, and a session that is there is not present",
        run: |bench| {
            bench.connect_with("client", bench.persistent("client"))?.0.disconnect()?;
            let mut peer = bench.open("client")?;
            peer.send(with_method(bench.persistent("client"), Some("data")));
            // Session Present in a refusal is a failure already.
            unknown_method(peer.expect_closed()?)
        },
    },
    Check {
        name: "authentication/none-asked-none-said",
        versions: V5,
        statements: &["MQTT-4.12.0-6"],
        looks_for: "without a method in CONNECT there is none in CONNACK, and no AUTH",
        run: |bench| {
            let (mut peer, connack) =
                bench.connect_with("client", bench.connect_packet("client"))?;
            ensure(
                connack.properties.authentication_method.is_none()
                    && connack.properties.authentication_data.is_none(),
                "no Authentication Method or Data expected; CONNACK has it",
            )?;
            peer.ping()?;
            passed()
        },
    },
    Check {
        name: "authentication/auth-without-method",
        versions: V5,
        statements: &["MQTT-4.12.0-7", "MQTT-4.13.1-1"],
        looks_for: "AUTH on a connection without a method ends it",
        run: |bench| {
            let faults = ["18 06 15 'abc'", "19 06 15 'abc'", "", "19 00"];
            refuses_each(bench, faults.map(|body| frame(0xF0, body)))
        },
    },
    Check {
        name: "authentication/re-authentication-fails",
        versions: V5,
        statements: &["MQTT-4.12.1-2", "MQTT-4.12.0-7", "MQTT-4.13.1-1"],
        looks_for: "a re-authentication with a method that CONNECT did not have ends the connection",
        run: |bench| refuses(bench, &frame(0xF0, "19 08 15 'PLAIN'")),
    },
    Check {
        name: "authentication/auth-before-connect",
        versions: V5,
        statements: &["MQTT-3.1.0-1", "MQTT-4.13.1-1"],
        looks_for: "AUTH before CONNECT ends the connection",
        run: |bench| {
            let mut peer = bench.open("client")?;
            peer.send_bytes(&frame(0xF0, "18 06 15 'abc'"));
            match peer.expect_closed()? {
                end @ End::Disconnect(_) => failed(format!("{end}, before any CONNACK")),
                end => end.passed(),
            }
        },
    },
    Check {
        name: "authentication/code-of-no-table",
        versions: V5,
        statements: &["MQTT-3.15.2-1", "MQTT-4.13.1-1"],
        looks_for: "an AUTH with a code that AUTH does not have ends the connection",
        run: |bench| {
            let faults = ["01 06 15 'abc'", "80 06 15 'abc'", "FF 00"];
            refuses_each(bench, faults.map(|body| frame(0xF0, body)))
        },
    },
    Check {
        name: "authentication/property-of-another-packet",
        versions: V5,
        statements: &["MQTT-4.13.1-1"],
        looks_for: "an AUTH with a Topic Alias, or with two methods, ends the connection",
        run: |bench| {
            let faults = ["18 09 15 'abc' 23 0001", "18 0C 15 'abc' 15 'abc'", "18 7F"];
            refuses_each(bench, faults.map(|body| frame(0xF0, body)))
        },
    },
    Check {
        name: "authentication/nothing-processed-after-refusal",
        versions: V5,
        statements: &["MQTT-3.1.4-6", "MQTT-4.12.0-4"],
        looks_for: "what a client with an unknown method sends at once is not processed",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let mut watch = bench.connect("watch")?;
            watch.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            let mut peer = bench.open("client")?;
            peer.send(with_method(bench.connect_packet("client"), None));
            peer.send(crate::message(&topic_name, "smuggled"));
            peer.expect_closed()?;
            let mut publisher = bench.connect("pub")?;
            only_the_marker(
                &mut publisher,
                &mut watch,
                &topic_name,
                QoS::AtMostOnce,
                "the client was refused",
            )?;
            passed()
        },
    },
    Check {
        name: "authentication/no-auth-instead-of-connack",
        versions: V5,
        statements: &["MQTT-4.12.0-6", "MQTT-3.2.0-1"],
        looks_for: "the first packet to a client without a method is CONNACK",
        run: |bench| {
            let mut peer = bench.open("client")?;
            peer.send(bench.connect_packet("client"));
            match peer.next_packet()? {
                Some(Packet::ConnAck(connack)) if connack.reason_code == ReasonCode::Success => {
                    passed()
                }
                Some(other) => failed(format!("CONNACK expected; what comes is {other}")),
                None => failed("CONNACK expected; the connection is closed"),
            }
        },
    },
];

fn with_method(connect: Connect, data: Option<&'static str>) -> Connect {
    let properties = ConnectProperties {
        authentication_method: Some(Text::from_static(METHOD)),
        authentication_data: data.map(|data| data.as_bytes().into()),
        ..connect.properties
    };
    Connect { properties, ..connect }
}

fn unknown_method(end: End) -> Verdict {
    let allowed = [ReasonCode::BadAuthenticationMethod, ReasonCode::NotAuthorized];
    match end.with_code_of(&allowed)? {
        end @ End::Disconnect(_) => failed(format!("{end}, before any CONNACK")),
        end => end.passed(),
    }
}
