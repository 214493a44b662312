//! Keep Alive: PINGREQ in time, and what happens when PINGRESP stays out. Spec: §3.1.2.10, §3.12.

use super::{Bench, Check};
use crate::{BOTH, V5, Verdict, failed, passed, seen, skipped};
use dunlin_codec::{ConnAckProperties, PacketType};
use std::time::{Duration, Instant};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "keeping-alive/pingreq",
        versions: BOTH,
        statements: &["MQTT-3.1.2-20", "MQTT3-3.1.2-23"],
        looks_for: "a client with a short Keep Alive that has nothing to say sends PINGREQ in time",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            let keep_alive = Duration::from_secs(visitor.connect().keep_alive.into());
            if keep_alive.is_zero() || keep_alive > bench.patience() {
                return skipped("the client's Keep Alive is none or longer than the patience");
            }
            let deadline = Instant::now() + keep_alive * 3 / 2;
            for _ in 0..2 {
                if visitor.wait_for_until(PacketType::PingReq, deadline + keep_alive)?.is_none() {
                    return failed(format!("no PINGREQ with a Keep Alive of {keep_alive:?}"));
                }
            }
            passed()
        },
    },
    Check {
        name: "keeping-alive/server-keep-alive",
        versions: V5,
        statements: &["MQTT-3.1.2-21", "MQTT-3.2.2-21"],
        looks_for: "Server Keep Alive of one second is kept, whatever the client wanted",
        run: |bench| server_keep_alive(bench),
    },
    Check {
        name: "keeping-alive/server-turns-it-off",
        versions: V5,
        statements: &["MQTT-3.2.2-21"],
        looks_for: "with Server Keep Alive 0 the client stays and needs no PINGREQ",
        run: |bench| {
            let (mut visitor, _) = bench.engaged_with(with_keep_alive(0))?;
            let keep_alive = Duration::from_secs(visitor.connect().keep_alive.into());
            let wait = if keep_alive.is_zero() { Duration::from_secs(1) } else { keep_alive * 2 };
            let (packets, closed) = visitor.observe(wait.min(bench.patience()))?;
            if closed {
                return failed("the client leaves");
            }
            match packets.iter().any(|packet| packet.packet_type() == PacketType::PingReq) {
                true => seen("sends PINGREQ nevertheless"),
                false => passed(),
            }
        },
    },
    Check {
        name: "keeping-alive/no-pingresp",
        versions: BOTH,
        statements: &["MQTT-3.1.2-20", "MQTT3-3.1.2-23"],
        looks_for: "without PINGRESP the client should close the connection after a while",
        run: |bench| {
            let properties =
                if bench.is_v5() { with_keep_alive(1) } else { ConnAckProperties::default() };
            let (mut visitor, _) = bench.engaged_with(properties)?;
            let keep_alive = Duration::from_secs(visitor.connect().keep_alive.into());
            let is_short = !keep_alive.is_zero() && keep_alive * 3 / 2 <= bench.patience();
            if !bench.is_v5() && !is_short {
                return skipped("the client's Keep Alive is none or longer than the patience");
            }
            visitor.answers_pings = false;
            if visitor.wait_for(PacketType::PingReq)?.is_none() {
                return failed("no PINGREQ comes");
            }
            match visitor.left()? {
                Some(left) => seen(left),
                None => seen("stays connected for longer than the check waits"),
            }
        },
    },
];

fn with_keep_alive(secs: u16) -> ConnAckProperties {
    ConnAckProperties { server_keep_alive: Some(secs), ..ConnAckProperties::default() }
}

fn server_keep_alive(bench: &mut Bench) -> Verdict {
    let (mut visitor, _) = bench.engaged_with(with_keep_alive(1))?;
    let mut last = Instant::now();
    for _ in 0..2 {
        // Half of the time on top, as a server gives it.
        let deadline = last + Duration::from_millis(1500);
        if visitor.wait_for_until(PacketType::PingReq, deadline)?.is_none() {
            return failed("no PINGREQ within one and a half seconds");
        }
        last = Instant::now();
    }
    passed()
}
