//! The scenes: what hostile clients do, which limits are set for it, and by how much the broker's
//! memory may grow.

mod deaf;
mod half_sent;
mod handshakes;
mod properties;
mod quic;
mod slow;
pub(crate) mod storm;
mod subscriptions;
mod takeover;
mod topics;
mod web_socket;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::broker::Doors;
use crate::swarm::{Course, Tally};

/// What of a siege may be kept afterwards, unless it has left something: so many MiB an allocator
/// keeps for the next one.
const KEPT_MAX: u64 = 16;

/// One kind of siege.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What the clients do, in a sentence.
    pub(crate) what: &'static str,
    /// Settings of the broker besides its defaults.
    pub(crate) settings: &'static [&'static str],
    /// Whether the broker has a data folder.
    pub(crate) stores: bool,
    /// The MiB by which its memory may grow at most.
    pub(crate) growth_max: u64,
    /// Where that figure comes from.
    pub(crate) growth_reason: &'static str,
    /// The MiB that it may keep when the hostile are gone.
    pub(crate) kept_max: u64,
    /// Whether it is one of those of `--short`.
    pub(crate) is_short: bool,
    pub(crate) play: fn(&Stage<'_>) -> Result<Tally>,
}

/// What a scene is played on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) doors: Doors,
    /// The process of the broker.
    pub(crate) pid: u32,
    /// The folder with the authority that the broker's certificate is from.
    pub(crate) certificates: &'a Path,
    pub(crate) until: Instant,
    pub(crate) is_short: bool,
}

impl Stage<'_> {
    /// So many in full, and so many in short.
    const fn size(&self, full: usize, short: usize) -> usize {
        if self.is_short { short } else { full }
    }

    /// So many clients to the broker's listener for MQTT over TCP.
    fn course(&self, clients: usize) -> Course {
        Course { address: self.doors.mqtt, clients, until: self.until }
    }
}

/// All scenes, in the order in which they are played.
pub(crate) const SCENES: [Scene; 12] = [
    half_sent::SCENE,
    slow::SCENE,
    handshakes::SCENE,
    quic::SCENE,
    properties::SCENE,
    topics::SCENE,
    subscriptions::SCENE,
    deaf::SCENE,
    deaf::SCENE_STORED,
    takeover::SCENE,
    web_socket::SCENE,
    storm::SCENE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_scene_has_a_name_of_its_own() {
        let names: BTreeSet<_> = SCENES.iter().map(|scene| scene.name).collect();
        assert_eq!(names.len(), SCENES.len());
    }
}
