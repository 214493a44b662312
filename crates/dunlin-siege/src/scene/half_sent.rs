//! CONNECTs that claim to be large, and never come.

use std::time::Duration;

use anyhow::Result;
use dunlin_bench::frame::{CONNECT, push_head};

use super::{KEPT_MAX, Scene, Stage};
use crate::swarm::{self, Next, Script, Tally};

pub(crate) const SCENE: Scene = Scene {
    name: "half-sent-connects",
    what: "10,000 connections, each with the first bytes of a CONNECT that claims 268,435,455 bytes, or \
           every other one 65,000, which is allowed; who is closed comes again",
    settings: &["limits.connect_packet_size_max=64KiB", "limits.connect_timeout_secs=10"],
    stores: false,
    growth_max: 40,
    growth_reason: "4 KiB for each connection, whatever it claims",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// The longest packet that there can be.
const CLAIM_MAX: usize = 268_435_455;

/// Less than a CONNECT may have.
const CLAIM_ALLOWED: usize = 65_000;

/// How long who was closed stays away.
const REST: Duration = Duration::from_secs(2);

struct HalfSent;

impl Script for HalfSent {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let claim = if client.is_multiple_of(2) { CLAIM_MAX } else { CLAIM_ALLOWED };
        push_head(out, CONNECT, claim);
        out.extend_from_slice(b"\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x40half");
    }

    fn received(
        &mut self,
        _client: usize,
        input: &[u8],
        _out: &mut Vec<u8>,
        _tally: &mut Tally,
    ) -> (usize, Next) {
        (input.len(), Next::Stay)
    }

    fn ended(&mut self, _client: usize, _tally: &mut Tally) -> Next {
        Next::Again(REST)
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    Ok(swarm::run(stage.course(stage.size(10_000, 400)), &mut HalfSent)?)
}
