//! Slow loris: packets that come byte by byte.

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_bench::frame::{CONNACK, PUBLISH, push_head};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Crowd, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "slow-loris",
    what: "4,000 connections that send a byte every half second: half of them of a CONNECT, the others of \
           a PUBLISH, with a Keep Alive of 2 s; who is closed comes again",
    settings: &["limits.connect_timeout_secs=5", "limits.partial_rate_min=128"],
    stores: false,
    growth_max: 32,
    growth_reason: "8 KiB for each connection, half of which have a session",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// Between two bytes of a client.
const STEP: Duration = Duration::from_millis(500);

/// How long who was closed stays away.
const REST: Duration = Duration::from_millis(500);

/// Seconds; the broker waits for one and a half times as long.
const KEEP_ALIVE_SECS: u16 = 2;

struct Slow {
    /// What is left of each client's packet: those who publish have to be connected before.
    clients: Vec<Client>,
    /// Who has its turn next.
    next: usize,
    began: Instant,
    /// Bytes that were due since then.
    sent: u128,
}

#[derive(Default)]
struct Client {
    bytes: Vec<u8>,
    sent: usize,
}

impl Slow {
    fn publishes(client: usize) -> bool {
        !client.is_multiple_of(2)
    }
}

impl Script for Slow {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let state = &mut self.clients[client];
        *state = Client::default();
        let name = format!("slow-{client}-{}", "x".repeat(80));
        if Self::publishes(client) {
            mqtt::push_connect(out, &name, true, KEEP_ALIVE_SECS, &[]);
        } else {
            mqtt::push_connect(&mut state.bytes, &name, true, KEEP_ALIVE_SECS, &[]);
        }
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        _out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let state = &mut self.clients[client];
        let (used, _) = mqtt::frames(input, |frame| {
            if frame.first == CONNACK && mqtt::connack_code(frame) == 0 {
                tally.served += 1;
                push_head(&mut state.bytes, PUBLISH, 2_000);
                state.bytes.extend_from_slice(b"\x00\x04slow\x00");
                state.bytes.resize(1_000, b'x');
            } else {
                tally.refused += 1;
            }
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, client: usize, _tally: &mut Tally) -> Next {
        self.clients[client] = Client::default();
        Next::Again(REST)
    }

    /// Each client has its turn once in a step, spread evenly over it.
    fn tick(&mut self, now: Instant, crowd: &mut Crowd<'_>) {
        let elapsed = now.duration_since(self.began).as_micros();
        let due = elapsed * self.clients.len() as u128 / STEP.as_micros();
        let turns = (due - self.sent).min(self.clients.len() as u128);
        self.sent = due;
        for _ in 0..turns {
            let client = self.next;
            self.next = (client + 1) % self.clients.len();
            let state = &mut self.clients[client];
            if let (Some(&byte), Some(out)) = (state.bytes.get(state.sent), crowd.output(client)) {
                out.push(byte);
                state.sent += 1;
            }
        }
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let count = stage.size(4_000, 200);
    let clients = (0..count).map(|_| Client::default()).collect();
    let mut script = Slow { clients, next: 0, began: Instant::now(), sent: 0 };
    Ok(swarm::run(stage.course(count), &mut script)?)
}
