//! PINGREQ, and how long a client may be silent. Spec: §3.12, §3.13, §3.1.2.10.

use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V5, Verdict, failed, passed, seen, skipped};
use dunlin_codec::{ConnAck, Connect, Disconnect, Packet, QoS, ReasonCode};
use std::time::{Duration, Instant};

/// Longer than 1.5 Keep Alives of one second.
const SILENCE: Duration = Duration::from_millis(2500);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "keep-alive/pingreq-is-answered",
        versions: BOTH,
        statements: &["MQTT-3.12.4-1", "MQTT3-3.12.4-1"],
        looks_for: "each PINGREQ is answered by one PINGRESP",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            for _ in 0..20 {
                peer.send(Packet::PingReq);
            }
            for _ in 0..20 {
                peer.expect_pingresp()?;
            }
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            peer.send(Disconnect::new(ReasonCode::Success));
            peer.finish_sending();
            match peer.next_packet()? {
                Some(Packet::PingResp) => failed("20 PINGRESP expected; a 21st comes"),
                _ => passed(),
            }
        },
    },
    Check {
        name: "keep-alive/pingreq-keeps-alive",
        versions: BOTH,
        statements: &["MQTT-3.12.4-1", "MQTT-3.1.2-22", "MQTT3-3.12.4-1", "MQTT3-3.1.2-24"],
        looks_for: "a client that sends PINGREQ in time is not cut off",
        run: |bench| {
            let mut peer = with_keep_alive_of_one(bench, false)?;
            for _ in 0..4 {
                bench.wait(Duration::from_millis(900));
                peer.ping()?;
            }
            passed()
        },
    },
    Check {
        name: "keep-alive/any-packet-keeps-alive",
        versions: BOTH,
        statements: &["MQTT-3.1.2-22", "MQTT3-3.1.2-24"],
        looks_for: "a client that sends other packets in time is not cut off",
        run: |bench| {
            let mut peer = with_keep_alive_of_one(bench, false)?;
            for _ in 0..4 {
                bench.wait(Duration::from_millis(900));
                peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            }
            peer.ping()?;
            passed()
        },
    },
    Check {
        name: "keep-alive/what-it-gets-does-not-count",
        versions: BOTH,
        statements: &["MQTT-3.1.2-22", "MQTT3-3.1.2-24"],
        looks_for: "a client that only receives is cut off as well",
        run: only_receives,
    },
    Check {
        name: "keep-alive/zero-is-off",
        versions: BOTH,
        statements: &["MQTT-3.2.2-22", "MQTT-3.1.2-22", "MQTT3-3.1.2-24"],
        looks_for: "a client with Keep Alive 0 is not cut off for its silence",
        run: |bench| {
            let connect = Connect { keep_alive: 0, ..bench.connect_packet("client") };
            let (mut peer, connack) = bench.connect_with("client", connect)?;
            if let Some(secs) = imposed(bench, &connack) {
                return seen(format!("imposes a Keep Alive of {secs} s"));
            }
            bench.wait(SILENCE);
            peer.ping()?;
            passed()
        },
    },
    Check {
        name: "keep-alive/of-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-21", "MQTT-3.2.2-22"],
        looks_for: "a server that imposes a Keep Alive says so, and does not cut off before",
        run: |bench| {
            let connect = Connect { keep_alive: u16::MAX, ..bench.connect_packet("client") };
            let (mut peer, connack) = bench.connect_with("client", connect)?;
            bench.wait(SILENCE.min(match connack.properties.server_keep_alive {
                Some(secs) if secs > 0 => Duration::from_secs(secs.into()),
                _ => SILENCE,
            }));
            peer.ping()?;
            match connack.properties.server_keep_alive {
                Some(secs) => seen(format!("imposes {secs} s on a client that says 65535")),
                None => seen("takes 65535 s"),
            }
        },
    },
];

/// The Keep Alive that the server imposes; MQTT 3.1.1 can't say it.
fn imposed(bench: &Bench, connack: &ConnAck) -> Option<u16> {
    connack.properties.server_keep_alive.or(bench.can().server_keep_alive)
}

/// A client with a Keep Alive of one second, subscribed to `t` or not.
fn with_keep_alive_of_one(bench: &Bench, subscribed: bool) -> Result<Peer, Stop> {
    let connect = Connect { keep_alive: 1, ..bench.connect_packet("client") };
    let (mut peer, connack) = bench.connect_with("client", connect)?;
    if imposed(bench, &connack).is_some_and(|secs| secs != 1) {
        return skipped("the server imposes a Keep Alive of its own");
    }
    if subscribed {
        peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
    }
    Ok(peer)
}

fn only_receives(bench: &mut Bench) -> Verdict {
    let mut peer = with_keep_alive_of_one(bench, true)?;
    let mut publisher = bench.connect("pub")?;
    let start = Instant::now();
    // A message arrives far more often than the Keep Alive.
    while start.elapsed() < SILENCE {
        publisher.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
        bench.wait(Duration::from_millis(250));
    }
    peer.expect_closed()?.with_code_of(&[ReasonCode::KeepAliveTimeout])?.passed()
}
