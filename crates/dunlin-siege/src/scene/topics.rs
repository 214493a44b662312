//! Topics of a hundred levels, and Topic Filters that all match them in another way.

use std::time::Duration;

use anyhow::Result;
use dunlin_bench::frame::{CONNACK, PUBACK, PUBLISH, SUBACK, push_ack};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "deep-topics",
    what: "10 clients with 1,000 Topic Filters each, of 100 levels that are `+` or not in another order, all \
           of which match what they publish: Topic Names of 100 levels, each another one, as fast as they \
           are acknowledged; and each tries one of 129 levels",
    settings: &["limits.topic_levels_max=128"],
    stores: false,
    growth_max: 64,
    growth_reason: "4 KiB for each Topic Filter, and what waits for ten clients",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

const LEVELS: usize = 100;

/// One more than is allowed.
const LEVELS_TOO_MANY: usize = 129;

/// Topic Filters of each client.
const TOPIC_FILTERS: usize = 1_000;

/// How long who was closed stays away.
const REST: Duration = Duration::from_millis(100);

struct Deep {
    /// Messages of each client.
    published: Vec<u64>,
    /// What draws the levels.
    state: u64,
}

impl Deep {
    /// Levels that are `+` or `a`, as it falls, and `#` at the end.
    fn topic_filter(&mut self) -> String {
        let mut topic_filter = String::with_capacity(2 * LEVELS);
        for _ in 1..LEVELS {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            topic_filter.push_str(if self.state & 1 == 0 { "+/" } else { "a/" });
        }
        topic_filter.push('#');
        topic_filter
    }

    fn publish(&mut self, client: usize, out: &mut Vec<u8>) {
        let count = self.published[client];
        self.published[client] += 1;
        let topic_name = format!("{}{client}-{count}", "a/".repeat(LEVELS - 1));
        mqtt::push_publish(out, &topic_name, 1, &[], b"deep");
    }
}

impl Script for Deep {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        mqtt::push_connect(out, &format!("deep-{client}"), true, 60, &[]);
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let (used, _) = mqtt::frames(input, |frame| match frame.first {
            CONNACK => {
                let mut topic_filters: Vec<_> =
                    (0..TOPIC_FILTERS).map(|_| self.topic_filter()).collect();
                topic_filters.push(format!("{}#", "+/".repeat(LEVELS_TOO_MANY - 1)));
                mqtt::push_subscribe(out, 1, topic_filters);
            }
            SUBACK => {
                let codes = mqtt::suback_codes(frame);
                let refused = codes.iter().filter(|code| **code >= 0x80).count();
                tally.refused += refused as u64;
                tally.served += (codes.len() - refused) as u64;
                if refused != 1 {
                    tally.blame(format!("{refused} Topic Filters were refused, not one"));
                }
                let topic_name = format!("{}z", "a/".repeat(LEVELS_TOO_MANY - 1));
                mqtt::push_publish(out, &topic_name, 1, &[], b"too deep");
            }
            PUBACK => {
                let is_refused = mqtt::puback_code(frame) >= 0x80;
                tally.refused += u64::from(is_refused);
                tally.served += u64::from(!is_refused);
                self.publish(client, out);
            }
            first if first & 0xF0 == PUBLISH => {
                if let Some((Some(packet_identifier), _)) = mqtt::publish_parts(frame) {
                    push_ack(out, PUBACK, packet_identifier);
                }
            }
            _ => {}
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, _client: usize, _tally: &mut Tally) -> Next {
        Next::Again(REST)
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let clients = stage.size(10, 4);
    let mut script = Deep { published: vec![0; clients], state: 0x9E37_79B9_7F4A_7C15 };
    let mut tally = swarm::run(stage.course(clients), &mut script)?;
    let published: u64 = script.published.iter().sum();
    tally.note("messages of 100 levels", published as f64);
    Ok(tally)
}
