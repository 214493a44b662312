//! What the broker says of itself under `$SYS`, read by a client that is there from the start: nobody
//! new may be let in later.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::link::{Link, PATIENCE, TICK};
use super::wire::Arrived;

/// What all names begin with.
const PREFIX: &str = "$SYS/broker/";

/// Changes each time, and is told before the counters.
const UPTIME: &str = "uptime";

/// Numbers by their names below `$SYS/broker/`.
pub type Counters = BTreeMap<String, u64>;

/// A client that reads them.
#[derive(Debug)]
pub(super) struct Watcher {
    link: Link,
    counters: Counters,
    uptimes: u64,
}

impl Watcher {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let (mut link, _) = Link::connect(address, "watcher")?;
        let topic_filters = [UPTIME, "limits/#", "dropped/#"].map(|name| format!("{PREFIX}{name}"));
        link.subscribe(&topic_filters.each_ref().map(String::as_str), 0)?;
        Ok(Self { link, counters: Counters::new(), uptimes: 0 })
    }

    /// Reads until it is told to end, and then until all was told once more.
    ///
    /// # Errors
    /// When the broker ends the connection, or is silent.
    pub(super) fn run(mut self, is_ending: &AtomicBool) -> Result<Counters> {
        let (mut silent, mut last) = (Duration::ZERO, None);
        loop {
            silent = if self.link.fill()? { Duration::ZERO } else { silent + TICK };
            ensure!(silent < PATIENCE, "the broker no longer says anything about itself");
            if is_ending.load(Ordering::Relaxed) && last.is_none() {
                // The counters of one that may be under way, and those of the next.
                last = Some(self.uptimes + 3);
            }
            while let Some(frame) = self.link.next_frame()? {
                let arrived = Arrived::read(&frame)?;
                let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
                let name = text(arrived.topic_name).strip_prefix(PREFIX).unwrap_or_default();
                if name == UPTIME {
                    self.uptimes += 1;
                } else if let Ok(value) = text(arrived.payload).parse() {
                    self.counters.insert(name.to_owned(), value);
                }
            }
            if last.is_some_and(|last| self.uptimes >= last) {
                return Ok(self.counters);
            }
        }
    }
}
