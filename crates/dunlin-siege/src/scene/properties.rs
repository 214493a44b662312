//! One User Property more than is allowed, again and again.

use std::time::Duration;

use anyhow::Result;
use dunlin_bench::frame::{CONNACK, DISCONNECT};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "user-properties",
    what: "500 clients that publish with 257 User Properties, or every other one connects with them; they \
           come again at once",
    settings: &["limits.user_properties_max=256"],
    stores: false,
    growth_max: 32,
    growth_reason: "64 KiB for each client: a packet of 2 KiB, a session that has just ended",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// One more than is allowed.
const COUNT: usize = 257;

/// What the broker answers [MQTT-4.13.1-1].
const QUOTA_EXCEEDED: u8 = 0x97;

/// How long who was closed stays away.
const REST: Duration = Duration::from_millis(100);

struct TooMany {
    properties: Vec<u8>,
}

impl Script for TooMany {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let name = format!("properties-{client}");
        let is_connect = client.is_multiple_of(2);
        mqtt::push_connect(out, &name, true, 60, if is_connect { &self.properties } else { &[] });
    }

    fn received(
        &mut self,
        _client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let (used, _) = mqtt::frames(input, |frame| match frame.first {
            CONNACK if mqtt::connack_code(frame) == 0 => {
                tally.served += 1;
                mqtt::push_publish(out, "properties", 1, &self.properties, b"");
            }
            CONNACK if mqtt::connack_code(frame) == QUOTA_EXCEEDED => tally.refused += 1,
            DISCONNECT if frame.body.first() == Some(&QUOTA_EXCEEDED) => tally.refused += 1,
            first => tally.blame(format!("packet {first:#04x} came for 257 User Properties")),
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, _client: usize, _tally: &mut Tally) -> Next {
        Next::Again(REST)
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let mut script = TooMany { properties: mqtt::user_properties(COUNT) };
    Ok(swarm::run(stage.course(stage.size(500, 20)), &mut script)?)
}
