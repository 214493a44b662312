//! What happened, in lines: kept only when somebody will read it. A run is repeated from its seed
//! to get its trace, so that a run that goes well pays nothing for it.

use core::fmt;
use dunlin_protocol::Instant;

/// Whom a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Everybody.
    All,
    /// A device.
    Device(u32),
    /// A connection of a device.
    Connection { connection: u32, device: u32 },
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "-"),
            Self::Device(device) => write!(f, "d{device}"),
            Self::Connection { connection, device } => write!(f, "d{device}/c{connection}"),
        }
    }
}

/// The lines of a run.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<(About, String)>,
}

impl Trace {
    pub(crate) fn note(&mut self, now: Instant, about: About, what: fmt::Arguments<'_>) {
        self.lines.push((about, format!("{now} {about:<8} {what}")));
    }

    /// All lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    /// The last lines, at most so many, about these devices and about everybody; all of them when
    /// none is named.
    pub fn last_about(&self, devices: &[u32], count: usize) -> Vec<&str> {
        let concerns = |about: &About| match about {
            _ if devices.is_empty() => true,
            About::All => true,
            About::Device(device) | About::Connection { device, .. } => devices.contains(device),
        };
        let chosen: Vec<&str> = self
            .lines
            .iter()
            .rev()
            .filter(|(about, _)| concerns(about))
            .take(count)
            .map(|(_, line)| line.as_str())
            .collect();
        chosen.into_iter().rev().collect()
    }
}
