//! A reader that never reads, to whom a gigabyte is owed.

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_bench::frame::{CONNACK, PUBACK, SUBACK};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Crowd, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "deaf-reader",
    what: "a subscriber that reads nothing after its SUBACK, and 4 publishers that offer it 1 GiB at QoS 1 \
           in messages of 64 KiB, with 8 under way each",
    settings: &["limits.queue_bytes_max=64MiB", "limits.output_bytes_max=1MiB"],
    stores: false,
    growth_max: 128,
    growth_reason: "a queue of 64 MiB, and as much again for what is on its way to it",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

pub(crate) const SCENE_STORED: Scene = Scene {
    name: "deaf-reader-stored",
    what: "the same with a data folder, a session that outlives its connection, and a queue of 2 GiB, so \
           that all of it is owed",
    settings: &[
        "limits.queue_bytes_max=2GiB",
        "limits.output_bytes_max=1MiB",
        "durability=written",
    ],
    stores: true,
    growth_max: 384,
    growth_reason: "what the store holds before it is written; the queue itself is on the disk, but for its head",
    kept_max: 96,
    is_short: false,
    play: play_stored,
};

/// The client that does not read.
const READER: usize = 0;

const PUBLISHERS: usize = 4;

/// Messages that a publisher has under way.
const WINDOW: u16 = 8;

const PAYLOAD_LEN: usize = 64 * 1024;

/// How long who was closed stays away.
const REST: Duration = Duration::from_millis(500);

struct Deaf {
    /// What the reader says of its session.
    properties: Vec<u8>,
    payload: Vec<u8>,
    /// Messages that are still to be offered.
    left: usize,
    hears_no_more: bool,
    /// Publishers that are connected, and have not begun.
    ready: Vec<usize>,
}

impl Deaf {
    fn publish(&mut self, packet_identifier: u16, out: &mut Vec<u8>) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            mqtt::push_publish(out, "deaf", packet_identifier, &[], &self.payload);
        }
    }
}

impl Script for Deaf {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let properties = if client == READER { &self.properties[..] } else { &[] };
        mqtt::push_connect(out, &format!("deaf-{client}"), true, 0, properties);
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let (used, _) = mqtt::frames(input, |frame| match frame.first {
            CONNACK if client == READER => mqtt::push_subscribe(out, 1, ["deaf".to_owned()]),
            CONNACK => self.ready.push(client),
            SUBACK => self.hears_no_more = true,
            PUBACK => {
                let is_refused = mqtt::puback_code(frame) >= 0x80;
                tally.refused += u64::from(is_refused);
                tally.served += u64::from(!is_refused);
                if let Ok(packet_identifier) = frame.packet_identifier() {
                    self.publish(packet_identifier, out);
                }
            }
            _ => {}
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, client: usize, tally: &mut Tally) -> Next {
        if client == READER {
            tally.blame("the reader was closed");
            self.hears_no_more = false;
        }
        Next::Again(REST)
    }

    fn tick(&mut self, _now: Instant, crowd: &mut Crowd<'_>) {
        if !self.hears_no_more {
            return;
        }
        for client in std::mem::take(&mut self.ready) {
            if let Some(out) = crowd.output(client) {
                (1..=WINDOW).for_each(|packet_identifier| self.publish(packet_identifier, out));
            }
        }
    }

    fn reads(&self, client: usize) -> bool {
        client != READER || !self.hears_no_more
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    offer(stage, Vec::new())
}

fn play_stored(stage: &Stage<'_>) -> Result<Tally> {
    offer(stage, mqtt::session_expiry())
}

fn offer(stage: &Stage<'_>, properties: Vec<u8>) -> Result<Tally> {
    let messages = stage.size(1 << 30, 96 << 20) / PAYLOAD_LEN;
    let mut script = Deaf {
        properties,
        payload: vec![b'x'; PAYLOAD_LEN],
        left: messages,
        hears_no_more: false,
        ready: Vec::new(),
    };
    let mut tally = swarm::run(stage.course(1 + PUBLISHERS), &mut script)?;
    let mib = |messages: u64| ((messages * PAYLOAD_LEN as u64) >> 20) as f64;
    tally.note("MiB offered", mib((messages - script.left) as u64));
    tally.note("MiB taken", mib(tally.served));
    Ok(tally)
}
