//! The rules that a client keeps on every connection, judged from what was said on them.

mod connection;
mod session;

use crate::Line;
use connection::Connection;
use dunlin_codec::ProtocolVersion;
use session::Session;
use std::collections::{BTreeMap, BTreeSet};

/// What the connections of a run showed: for each rule, whether there was occasion to break it, and
/// the first time that it was broken.
#[derive(Debug, Default)]
pub(super) struct Watched {
    seen: BTreeSet<(ProtocolVersionKey, &'static str)>,
    breaches: BTreeMap<(ProtocolVersionKey, &'static str), Breach>,
}

/// Versions in an order of their own.
type ProtocolVersionKey = u8;

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(super) struct Breach {
    pub(super) text: String,
    pub(super) exchange: Vec<Line>,
}

/// What one check showed.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) seen: BTreeSet<&'static str>,
    /// The first breach of each rule.
    pub(super) broken: BTreeMap<&'static str, String>,
}

impl Sight {
    /// There was occasion to break the rule.
    pub(super) fn saw(&mut self, rule: &'static str) {
        self.seen.insert(rule);
    }

    /// The rule holds if this does.
    pub(super) fn check(&mut self, rule: &'static str, holds: bool, text: impl FnOnce() -> String) {
        self.saw(rule);
        if !holds {
            self.broken.entry(rule).or_insert_with(text);
        }
    }
}

impl Watched {
    /// Judges the exchange of a check.
    pub(super) fn add(&mut self, version: ProtocolVersion, check: &str, exchange: &[Line]) {
        let key = version.level();
        let Sight { seen, broken } = judge(version, exchange);
        self.seen.extend(seen.into_iter().map(|rule| (key, rule)));
        for (rule, text) in broken {
            self.breaches.entry((key, rule)).or_insert_with(|| Breach {
                text: format!("{text}, seen in {check}"),
                exchange: ends_of(exchange),
            });
        }
    }

    pub(super) fn was_seen(&self, version: ProtocolVersion, rule: &'static str) -> bool {
        self.seen.contains(&(version.level(), rule))
    }

    pub(super) fn breach(&self, version: ProtocolVersion, rule: &'static str) -> Option<&Breach> {
        self.breaches.get(&(version.level(), rule))
    }
}

/// The beginning and the end of a long exchange: more is not shown, and there may be much of it.
fn ends_of(exchange: &[Line]) -> Vec<Line> {
    const END: usize = 100;
    match exchange.len().checked_sub(2 * END) {
        Some(1..) => {
            let (begin, end) = (&exchange[..END], &exchange[exchange.len() - END..]);
            [begin, end].concat()
        }
        _ => exchange.to_vec(),
    }
}

/// What the connections of one check show.
pub(super) fn judge(version: ProtocolVersion, exchange: &[Line]) -> Sight {
    let mut sight = Sight::default();
    let mut session = Session::new(version);
    let mut connections: Vec<Connection> = Vec::new();
    for line in exchange {
        // Lines of the client's program and of the bench have names that are no numbers.
        if !line.connection.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let at = connections.iter().position(|known| known.name == line.connection);
        let at = at.unwrap_or_else(|| {
            connections.push(Connection::new(version, &line.connection, line.at));
            connections.len() - 1
        });
        connections[at].see(line, &mut session, &mut sight);
    }
    sight
}

#[cfg(test)]
mod tests;
