//! DISCONNECT, of the client and of the server. Spec: §3.14.

use super::connecting::ends;
use super::{Bench, Check, Next};
use crate::{BOTH, V3, V5, Verdict, failed, frame, passed, skipped};
use dunlin_codec::{Disconnect, DisconnectProperties, Packet, QoS, ReasonCode, Text};
use std::time::Instant;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "leaving/closes-after-disconnect",
        versions: BOTH,
        statements: &["MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT3-3.14.4-1", "MQTT3-3.14.4-2"],
        looks_for: "after its DISCONNECT the client sends nothing and closes",
        run: |bench| {
            let mut visitor = bench.connected()?;
            let deadline = Instant::now() + bench.patience();
            loop {
                match visitor.next(deadline)? {
                    Next::Packet(Packet::Disconnect(_)) => break,
                    Next::Packet(_) => {}
                    Next::Closed => return skipped("the client closes without DISCONNECT"),
                    Next::Nothing => return skipped("the client does not leave by itself"),
                }
            }
            match visitor.next(Instant::now() + bench.patience())? {
                Next::Closed => passed(),
                Next::Packet(packet) => failed(format!("after DISCONNECT comes {packet}")),
                Next::Nothing => failed("the client has the connection open after DISCONNECT"),
            }
        },
    },
    Check {
        name: "leaving/server-shuts-down",
        versions: V5,
        statements: &["MQTT-4.13.2-1"],
        looks_for: "a DISCONNECT of the server ends the connection",
        run: |bench| ended_by_the_server(bench, Disconnect::new(ReasonCode::ServerShuttingDown)),
    },
    Check {
        name: "leaving/taken-over",
        versions: V5,
        statements: &["MQTT-4.13.2-1"],
        looks_for: "a DISCONNECT because another client has taken over ends the connection",
        run: |bench| ended_by_the_server(bench, Disconnect::new(ReasonCode::SessionTakenOver)),
    },
    Check {
        name: "leaving/use-another-server",
        versions: V5,
        statements: &["MQTT-4.13.2-1"],
        looks_for: "a DISCONNECT with Server Reference and all other properties ends the connection",
        run: |bench| {
            let text = |text: &str| text.parse::<Text>().expect("a plain text");
            let properties = DisconnectProperties {
                reason_string: Some(text("moved")),
                user_properties: vec![(text("k"), text("v"))],
                server_reference: Some(text("elsewhere.example:1883")),
                ..DisconnectProperties::default()
            };
            let reason_code = ReasonCode::UseAnotherServer;
            ended_by_the_server(bench, Disconnect { reason_code, properties })
        },
    },
    Check {
        name: "leaving/disconnect-of-the-server",
        versions: V3,
        statements: &["MQTT3-4.8.0-1"],
        looks_for: "a DISCONNECT of the server, which MQTT 3.1.1 does not have, ends the connection",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            visitor.send_bytes(&frame(0xE0, ""));
            ends(&mut visitor, bench)
        },
    },
    Check {
        name: "leaving/nothing-taken-after-disconnect",
        versions: V5,
        statements: &["MQTT-3.14.4-1"],
        looks_for: "a message behind the DISCONNECT of the server is not acknowledged",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(QoS::AtLeastOnce)?;
            visitor.send_disconnect(ReasonCode::ServerBusy);
            visitor.deliver(&topic_name, QoS::AtLeastOnce, "too-late");
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            if let Some(packet) = packets.iter().find(|packet| matches!(packet, Packet::PubAck(_)))
            {
                return failed(format!("{packet} after the DISCONNECT of the server"));
            }
            visitor.expect_gone()
        },
    },
];

fn ended_by_the_server(bench: &mut Bench, disconnect: Disconnect) -> Verdict {
    let (mut visitor, _) = bench.engaged()?;
    visitor.send(disconnect);
    visitor.expect_gone()
}
