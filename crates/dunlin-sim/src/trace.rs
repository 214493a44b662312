//! What happened, in lines: kept only when somebody will read it. A run is repeated from its seed
//! to get its trace, so that a run that goes well pays nothing for it.

use core::fmt;
use dunlin_protocol::Instant;

/// Whom a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Everybody.
    All,
    /// The store, which goes on all the time: several lines in a row are shown as the last of them.
    Store,
    /// A device.
    Device(u32),
    /// A connection of a device.
    Connection { connection: u32, device: u32 },
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All | Self::Store => write!(f, "-"),
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
    /// none is named. A row of lines about the store counts as one.
    pub fn last_about(&self, devices: &[u32], count: usize) -> Vec<String> {
        let concerns = |about: &About| match about {
            _ if devices.is_empty() => true,
            About::All | About::Store => true,
            About::Device(device) | About::Connection { device, .. } => devices.contains(device),
        };
        let mut chosen: Vec<String> = Vec::new();
        // Of the row that is being gone through, backwards: its last line, and how many came before.
        let mut row: Option<(&str, usize)> = None;
        for (about, line) in self.lines.iter().rev().filter(|(about, _)| concerns(about)) {
            if *about == About::Store {
                row = Some(row.map_or((line, 0), |(last, before)| (last, before + 1)));
                continue;
            }
            chosen.extend(row.take().map(folded));
            if chosen.len() >= count {
                break;
            }
            chosen.push(line.clone());
        }
        chosen.extend(row.map(folded));
        chosen.truncate(count);
        chosen.reverse();
        chosen
    }
}

fn folded((last, before): (&str, usize)) -> String {
    match before {
        0 => last.to_owned(),
        _ => format!("{last} ({before} such lines before)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_lines_about_the_store_is_one() {
        let mut trace = Trace::default();
        let lines = [
            (About::Device(1), "one"),
            (About::Store, "1 safe"),
            (About::Device(2), "two"),
            (About::Store, "2 safe"),
            (About::All, "all"),
            (About::Store, "3 safe"),
        ];
        for (about, line) in lines {
            trace.note(Instant::ZERO, about, format_args!("{line}"));
        }
        let shown = |devices: &[u32], count| -> Vec<String> {
            let lines = trace.last_about(devices, count).into_iter();
            lines.filter_map(|line| Some(line.splitn(3, ' ').nth(2)?.trim().to_owned())).collect()
        };
        assert_eq!(shown(&[1], 9), ["one", "2 safe (1 such lines before)", "all", "3 safe"]);
        assert_eq!(shown(&[1], 3), ["2 safe (1 such lines before)", "all", "3 safe"]);
        assert_eq!(shown(&[], 9).len(), 6);
    }
}
