//! Connections that have no session yet. While memory is scarce only so many are let in, and those that
//! say nothing make room for those that might.

use super::pressure::PressureLevel;
use super::{ConnectionKey, Core};
use dunlin_protocol::Instant;
use std::collections::BTreeSet;

/// While nobody is let in without a session, so many connections of a worker may be without one: those
/// who have one come by these.
const NEWCOMERS_MAX: usize = 256;

/// Whether a further connection may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It may.
    Open,
    /// It may in place of this one, which has sent no CONNECT for longer than any other: that is to be
    /// closed first.
    InPlaceOf(ConnectionKey),
    /// It is closed at once: all that have no session have come with it, or have sent CONNECT.
    Shut,
}

/// The connections of a worker that have no session, and are not over.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    len: usize,
    /// Those that have sent no CONNECT, by when they came.
    silent: BTreeSet<(Instant, ConnectionKey)>,
}

impl Newcomers {
    pub(super) fn come(&mut self, now: Instant, key: ConnectionKey) {
        self.len += 1;
        self.silent.insert((now, key));
    }

    /// One that came then has sent CONNECT.
    pub(super) fn speak(&mut self, since: Instant, key: ConnectionKey) {
        self.silent.remove(&(since, key));
    }

    /// One that came then has a session, or is over.
    pub(super) fn leave(&mut self, since: Instant, key: ConnectionKey) {
        self.len -= 1;
        self.speak(since, key);
    }

    /// How many there are, and how many of them have sent no CONNECT.
    pub(super) fn lens(&self) -> (usize, usize) {
        (self.len, self.silent.len())
    }
}

impl Core {
    /// Whether a further connection may come in: not any number while memory is scarce.
    pub fn door(&self, now: Instant) -> Door {
        let newcomers = &self.endpoints.newcomers;
        if self.pressure_level() < PressureLevel::Closed || newcomers.len < NEWCOMERS_MAX {
            return Door::Open;
        }
        match newcomers.silent.first() {
            // Nothing was read yet of those that came just now.
            Some((since, key)) if *since < now => Door::InPlaceOf(*key),
            _ => Door::Shut,
        }
    }
}
