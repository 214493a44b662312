//! Enhanced authentication, as far as a client shows it that was not asked for it. Spec: §4.12.

use super::Check;
use super::connecting::ends;
use crate::{V5, ensure, failed, frame};
use dunlin_codec::{Auth, AuthProperties, ConnAckProperties, Packet, ReasonCode};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "authentication/unasked-before-connack",
        versions: V5,
        statements: &["MQTT-4.12.0-7", "MQTT-4.13.1-1"],
        looks_for: "AUTH for a client without method is not answered by AUTH, and ends it",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            if visitor.connect().properties.authentication_method.is_some() {
                return crate::skipped("the client has an Authentication Method");
            }
            visitor.send(unasked());
            not_answered(&mut visitor, bench)
        },
    },
    Check {
        name: "authentication/unasked-later",
        versions: V5,
        statements: &["MQTT-4.12.0-7", "MQTT-4.13.1-1"],
        looks_for: "AUTH after CONNACK for a client without method is not answered by AUTH, and ends \
                    it",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            if visitor.connect().properties.authentication_method.is_some() {
                return crate::skipped("the client has an Authentication Method");
            }
            visitor.send(unasked());
            not_answered(&mut visitor, bench)
        },
    },
    Check {
        name: "authentication/method-of-the-server",
        versions: V5,
        statements: &["MQTT-4.12.0-5", "MQTT-4.13.1-1"],
        looks_for: "a CONNACK with a method that the client never named is answered without AUTH",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            if visitor.connect().properties.authentication_method.is_some() {
                return crate::skipped("the client has an Authentication Method");
            }
            visitor.accept(
                false,
                ConnAckProperties {
                    authentication_method: Some("made-up".parse().expect("a plain text")),
                    ..ConnAckProperties::default()
                },
            );
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let auth = packets.iter().find(|packet| matches!(packet, Packet::Auth(_)));
            ensure(auth.is_none(), "AUTH comes")?;
            crate::passed()
        },
    },
    Check {
        name: "authentication/reserved-flags",
        versions: V5,
        statements: &["MQTT-3.15.1-1"],
        looks_for: "AUTH with reserved flags ends the connection",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            visitor.send_bytes(&frame(0xF1, "18 04 15 'a'"));
            ends(&mut visitor, bench)
        },
    },
];

fn unasked() -> Auth {
    let authentication_method = Some("made-up".parse().expect("a plain text"));
    let properties = AuthProperties { authentication_method, ..AuthProperties::default() };
    Auth { reason_code: ReasonCode::ContinueAuthentication, properties }
}

fn not_answered(visitor: &mut super::Visitor, bench: &super::Bench) -> crate::Verdict {
    let (packets, closed) = visitor.observe(bench.patience())?;
    if let Some(packet) = packets.iter().find(|packet| matches!(packet, Packet::Auth(_))) {
        return failed(format!("the client answers {packet}"));
    }
    crate::seen(if closed { "closes the connection" } else { "ignores it" })
}
