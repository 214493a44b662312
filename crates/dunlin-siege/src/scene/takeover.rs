//! Two hundred connections that all want to be the same client, while others publish to it.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dunlin_bench::frame::{CONNACK, DISCONNECT, PUBACK, PUBLISH, SUBACK, push_ack, push_frame};

use super::{KEPT_MAX, Scene, Stage};
use crate::mqtt;
use crate::swarm::{self, Crowd, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "takeover",
    what: "200 connections that take over one Client Identifier from each other, each again 50 ms after it \
           has lost it, while 4 clients publish 400 messages a second to its session at QoS 1; every one \
           that was acknowledged has to come",
    settings: &[],
    stores: false,
    growth_max: 32,
    growth_reason: "one session with a queue, and 200 connections of 64 KiB",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

const CLIENT_IDENTIFIER: &str = "prize";

const TOPIC_NAME: &str = "takeover";

const PUBLISHERS: usize = 4;

/// Messages that a publisher has under way at most.
const WINDOW: usize = 64;

/// How long who was taken over stays away.
const REST: Duration = Duration::from_millis(50);

/// How long nothing may come before what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A DISCONNECT with which the session ends.
const END: [u8; 7] = [0, 5, 0x11, 0, 0, 0, 0];

struct Takeover {
    contenders: usize,
    /// Messages of each publisher that wait for their PUBACK, by Packet Identifier.
    waiting: Vec<Option<HashMap<u16, u64>>>,
    next: u64,
    acknowledged: HashSet<u64>,
    received: HashSet<u64>,
    taken: u64,
}

impl Takeover {
    /// What a message to the prize says.
    fn receive(&mut self, payload: &[u8]) {
        if let Some(number) = payload.first_chunk() {
            self.received.insert(u64::from_be_bytes(*number));
        }
    }
}

impl Script for Takeover {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        if client < self.contenders {
            mqtt::push_connect(out, CLIENT_IDENTIFIER, false, 60, &mqtt::session_expiry());
        } else {
            mqtt::push_connect(out, &format!("giver-{client}"), true, 60, &[]);
        }
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let giver = client.checked_sub(self.contenders);
        let (used, _) = mqtt::frames(input, |frame| match (frame.first, giver) {
            (CONNACK, _) if mqtt::connack_code(frame) != 0 => tally.refused += 1,
            (CONNACK, None) => {
                tally.served += 1;
                if frame.body.first() == Some(&0) {
                    tally.blame("the session is gone");
                }
            }
            (CONNACK, Some(giver)) => self.waiting[giver] = Some(HashMap::new()),
            (DISCONNECT, None) => self.taken += 1,
            (PUBACK, Some(giver)) => {
                let identifier = frame.packet_identifier().ok();
                let waiting = self.waiting[giver].as_mut();
                let number = identifier.zip(waiting).and_then(|(id, waiting)| waiting.remove(&id));
                if let Some(number) = number.filter(|_| mqtt::puback_code(frame) == 0) {
                    self.acknowledged.insert(number);
                }
            }
            (first, None) if first & 0xF0 == PUBLISH => {
                if let Some((Some(identifier), payload)) = mqtt::publish_parts(frame) {
                    self.receive(payload);
                    push_ack(out, PUBACK, identifier);
                }
            }
            _ => {}
        });
        (used, Next::Stay)
    }

    fn ended(&mut self, client: usize, tally: &mut Tally) -> Next {
        if let Some(giver) = client.checked_sub(self.contenders) {
            tally.blame("a client that only publishes was closed");
            self.waiting[giver] = None;
        }
        Next::Again(REST)
    }

    fn tick(&mut self, _now: Instant, crowd: &mut Crowd<'_>) {
        for (giver, waiting) in self.waiting.iter_mut().enumerate() {
            let Some(waiting) = waiting.as_mut().filter(|waiting| waiting.len() < WINDOW) else {
                continue;
            };
            let identifier = (self.next % u64::from(u16::MAX)) as u16 + 1;
            if let Some(out) = crowd.output(self.contenders + giver) {
                let payload = self.next.to_be_bytes();
                mqtt::push_publish(out, TOPIC_NAME, identifier, &[], &payload);
                waiting.insert(identifier, self.next);
                self.next += 1;
            }
        }
    }
}

/// Connects over a socket that blocks, to the session that there is.
fn come(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    mqtt::push_connect(&mut bytes, CLIENT_IDENTIFIER, false, 60, &mqtt::session_expiry());
    stream.write_all(&bytes)?;
    Ok(stream)
}

/// Makes the session with its subscription, before anybody fights for it.
fn subscribe(address: SocketAddr) -> Result<()> {
    let mut stream = come(address)?;
    let mut bytes = Vec::new();
    mqtt::push_subscribe(&mut bytes, 1, [TOPIC_NAME.to_owned()]);
    stream.write_all(&bytes)?;
    let (mut input, mut is_subscribed) = (Vec::new(), false);
    while !is_subscribed {
        let mut room = [0; 256];
        let len = stream.read(&mut room).context("no SUBACK")?;
        ensure!(len > 0, "closed before SUBACK");
        input.extend_from_slice(&room[..len]);
        let (used, _) = mqtt::frames(&input, |frame| is_subscribed |= frame.first == SUBACK);
        input.drain(..used);
    }
    Ok(())
}

/// Takes all that the session still holds, until every message that was acknowledged is there, and
/// ends it.
fn drain(address: SocketAddr, script: &mut Takeover) -> Result<()> {
    let mut stream = come(address)?;
    let (mut input, mut room) = (Vec::new(), vec![0; 64 * 1024]);
    while !script.acknowledged.is_subset(&script.received) {
        match stream.read(&mut room) {
            Ok(len @ 1..) => input.extend_from_slice(&room[..len]),
            // What is missing now is told by who compares.
            _ => break,
        }
        let mut out = Vec::new();
        let (used, _) = mqtt::frames(&input, |frame| {
            if frame.is_publish()
                && let Some((Some(identifier), payload)) = mqtt::publish_parts(frame)
            {
                script.receive(payload);
                push_ack(&mut out, PUBACK, identifier);
            }
        });
        input.drain(..used);
        stream.write_all(&out)?;
    }
    let mut end = Vec::new();
    push_frame(&mut end, DISCONNECT, &END);
    Ok(stream.write_all(&end)?)
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    subscribe(stage.doors.mqtt).context("the session can't be made")?;
    let contenders = stage.size(200, 20);
    let mut script = Takeover {
        contenders,
        waiting: (0..PUBLISHERS).map(|_| None).collect(),
        next: 0,
        acknowledged: HashSet::new(),
        received: HashSet::new(),
        taken: 0,
    };
    let mut tally = swarm::run(stage.course(contenders + PUBLISHERS), &mut script)?;
    drain(stage.doors.mqtt, &mut script).context("the session can't be had in the end")?;
    let missing = script.acknowledged.difference(&script.received).count();
    if missing > 0 {
        tally.blame(format!("{missing} acknowledged messages were lost"));
    }
    if script.acknowledged.is_empty() {
        tally.blame("no message was acknowledged");
    }
    tally.note("takeovers that were told", script.taken as f64);
    tally.note("messages to the session", script.acknowledged.len() as f64);
    Ok(tally)
}
