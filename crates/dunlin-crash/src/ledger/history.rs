//! What happened lately, to be shown beside a finding.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dunlin_client::QoS;

use super::{Receiver, Stream};

/// How many deliveries are remembered.
const DELIVERIES_MAX: usize = 200_000;

/// How many happenings are remembered.
const HAPPENINGS_MAX: usize = 20_000;

/// How many lines of each a history shows.
const LINES_MAX: usize = 60;

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) stream: Stream,
    pub(crate) sequence: u64,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    /// Which member of a group got it.
    pub(crate) member: usize,
    /// The number of its connection.
    pub(crate) connection: u32,
}

/// The last deliveries and happenings.
#[derive(Debug)]
pub(super) struct History {
    began: Instant,
    deliveries: VecDeque<(Duration, Receiver, Delivery)>,
    happenings: VecDeque<(Duration, String)>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), deliveries: VecDeque::new(), happenings: VecDeque::new() }
    }
}

impl History {
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn happened(&mut self, what: String) {
        if self.happenings.len() == HAPPENINGS_MAX {
            self.happenings.pop_front();
        }
        self.happenings.push_back((self.began.elapsed(), what));
    }

    pub(super) fn received(&mut self, receiver: Receiver, delivery: Delivery) {
        if self.deliveries.len() == DELIVERIES_MAX {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back((self.began.elapsed(), receiver, delivery));
    }

    /// What happened since this time to the broker and to the clients with these names, and what
    /// the receiver got of the stream around this number.
    pub(super) fn around(
        &self,
        since: Duration,
        names: &[String],
        receiver: Receiver,
        stream: Stream,
        sequence: u64,
    ) -> String {
        let near = |delivery: &Delivery| {
            delivery.stream == stream && delivery.sequence.abs_diff(sequence) <= 3
        };
        let mut lines = Vec::new();
        for (at, what) in &self.happenings {
            if *at >= since && concerns(what, names) {
                lines.push((*at, what.clone()));
            }
        }
        for (at, to, delivery) in &self.deliveries {
            if *to == receiver && near(delivery) {
                let Delivery { sequence, qos, dup, member, connection, .. } = delivery;
                let dup = if *dup { " DUP" } else { "" };
                let text = format!(
                    "received {sequence} at QoS {}{dup}, member {member}, connection {connection}",
                    *qos as u8
                );
                lines.push((*at, text));
            }
        }
        lines.sort();
        print(&lines)
    }

    /// What happened last to the broker and to the clients with these names.
    pub(super) fn latest(&self, names: &[String]) -> String {
        let concerned = self.happenings.iter().filter(|(_, what)| concerns(what, names));
        print(&concerned.cloned().collect::<Vec<_>>())
    }
}

fn concerns(what: &str, names: &[String]) -> bool {
    what.starts_with("broker") || names.iter().any(|name| what.starts_with(name.as_str()))
}

/// The last lines.
fn print(lines: &[(Duration, String)]) -> String {
    let from = lines.len().saturating_sub(LINES_MAX);
    let mut text = String::new();
    for (at, what) in &lines[from..] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:>10.3} s  {what}", at.as_secs_f64());
    }
    text
}
