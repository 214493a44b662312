//! Stands in for the judge.

use crate::history::{ConnectionId, DeviceId, Event};
use dunlin_broker::Limits;
use dunlin_protocol::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the judge has to know.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Rules {
    pub limits: Limits,
    pub stores: bool,
    pub lateness: Duration,
    pub strangers: BTreeSet<DeviceId>,
}

/// A promise.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    None,
}

/// A promise that was broken.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Breach {
    pub promise: Promise,
    pub at: Instant,
    pub connections: Vec<ConnectionId>,
    pub devices: Vec<DeviceId>,
    pub text: String,
}

/// The judge.
#[derive(Debug)]
pub struct Judge {
    breaches: Vec<Breach>,
}

#[allow(missing_docs)]
impl Judge {
    pub fn new(_rules: Rules) -> Self {
        Self { breaches: Vec::new() }
    }
    pub fn tell(&mut self, _now: Instant, _event: Event<'_>) {}
    pub fn finish(&mut self, _now: Instant) {}
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }
}
