//! As many subscriptions as a SUBSCRIBE can name, and no end of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_bench::frame::{CONNACK, SUBACK};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Crowd, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "subscriptions",
    what: "20 clients that ask for 65,535 subscriptions each, in one packet or every other one in 66; when \
           all are answered they leave, and come again after a second",
    settings: &["limits.subscriptions_per_session_max=10000"],
    stores: false,
    growth_max: 192,
    growth_reason: "640 bytes for each of 200,000 subscriptions that are granted, and packets of 1 MiB",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

const TOPIC_FILTERS: usize = 65_535;

/// Topic Filters of a packet, of those who send several.
const AT_ONCE: usize = 1_000;

/// How long those who have all answers stay.
const STAY: Duration = Duration::from_secs(1);

/// How long they are away.
const REST: Duration = Duration::from_secs(1);

/// Keeps a broker that ended a connection from being asked again at once.
const CLOSED_REST: Duration = Duration::from_millis(500);

struct Greedy {
    topic_filters: usize,
    clients: Vec<Client>,
    rounds: u64,
}

#[derive(Clone, Default)]
struct Client {
    asked: usize,
    granted: u64,
    answered: usize,
    leaves_at: Option<Instant>,
}

impl Greedy {
    fn ask(&mut self, client: usize, out: &mut Vec<u8>) {
        let state = &mut self.clients[client];
        let count = match client.is_multiple_of(2) {
            true => self.topic_filters,
            false => AT_ONCE.min(self.topic_filters - state.asked),
        };
        let names = (state.asked..state.asked + count).map(|nth| format!("s/{client}/{nth}/+"));
        mqtt::push_subscribe(out, 1, names);
        state.asked += count;
    }
}

impl Script for Greedy {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        self.clients[client] = Client::default();
        mqtt::push_connect(out, &format!("greedy-{client}"), true, 60, &[]);
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let (used, _) = mqtt::frames(input, |frame| match frame.first {
            CONNACK => self.ask(client, out),
            SUBACK => {
                let codes = mqtt::suback_codes(frame);
                let refused = codes.iter().filter(|code| **code >= 0x80).count();
                tally.refused += refused as u64;
                tally.served += (codes.len() - refused) as u64;
                let state = &mut self.clients[client];
                state.granted += (codes.len() - refused) as u64;
                state.answered += codes.len();
                if state.answered < self.topic_filters {
                    self.ask(client, out);
                } else {
                    if state.granted > 10_000 {
                        tally.blame(format!("{} were granted to one", state.granted));
                    }
                    state.leaves_at = Some(Instant::now() + STAY);
                    self.rounds += 1;
                }
            }
            _ => {}
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, _client: usize, _tally: &mut Tally) -> Next {
        Next::Again(CLOSED_REST)
    }

    fn tick(&mut self, now: Instant, crowd: &mut Crowd<'_>) {
        for (client, state) in self.clients.iter_mut().enumerate() {
            if state.leaves_at.is_some_and(|at| now >= at) {
                state.leaves_at = None;
                crowd.leave(client, Next::Again(REST));
            }
        }
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let clients = stage.size(20, 2);
    let topic_filters = stage.size(TOPIC_FILTERS, 12_000);
    let clients_state = vec![Client::default(); clients];
    let mut script = Greedy { topic_filters, clients: clients_state, rounds: 0 };
    let mut tally = swarm::run(stage.course(clients), &mut script)?;
    tally.note("times that all were answered", script.rounds as f64);
    Ok(tally)
}
