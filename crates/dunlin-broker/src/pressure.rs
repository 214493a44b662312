//! Watches the memory of the process, and tells the workers when it becomes scarce.

use crate::core::{Pressure, PressureLevel};
use crate::worker::{Peer, WorkerMessage};
use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// Of what is left so little may be taken up until the next look: memory fills up ever more slowly.
const SPARE_PART: u64 = 8;
/// A level ends when so many hundredths less than what it began with are in use.
const HYSTERESIS: u64 = 5;

/// How much memory may be in use, and when which level of pressure begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    max: u64,
    /// Hundredths of it at which a level begins, the highest first.
    levels: [(u64, PressureLevel); 4],
}

impl Ceiling {
    /// A ceiling of so many bytes. Without a store nothing can be left to the disk, so that messages
    /// are refused earlier.
    pub(crate) const fn new(max: usize, stores: bool) -> Self {
        let (slow, closed, refuse) = if stores { (70, 80, 90) } else { (65, 75, 80) };
        let levels = [
            (95, PressureLevel::Last),
            (refuse, PressureLevel::Refuse),
            (closed, PressureLevel::Closed),
            (slow, PressureLevel::Slow),
        ];
        Self { max: max as u64, levels }
    }

    /// The level with so much in use, after this one.
    fn level(&self, used: u64, before: PressureLevel) -> PressureLevel {
        let found = self.levels.into_iter().find(|(hundredths, level)| {
            let ends_early = if *level <= before { HYSTERESIS } else { 0 };
            used >= self.max / 100 * (hundredths - ends_early)
        });
        found.map_or(PressureLevel::None, |(_, level)| level)
    }

    /// What each of so many workers is told.
    fn pressure(&self, used: u64, before: PressureLevel, workers: usize) -> Pressure {
        let spare = self.max.saturating_sub(used) / SPARE_PART / workers.max(1) as u64;
        Pressure { level: self.level(used, before), spare }
    }
}

/// Tells the workers of the pressure on memory until nobody holds the other end of `stop`.
pub(crate) fn watch(ceiling: Ceiling, peers: &[Peer], stop: &Receiver<()>) {
    let mut level = PressureLevel::None;
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let used = match resident() {
            Ok(used) => used,
            Err(error) => {
                tracing::error!(%error, "memory.max can't be watched");
                return;
            }
        };
        let pressure = ceiling.pressure(used, level, peers.len());
        if pressure.level != level {
            tracing::warn!(used, max = ceiling.max, "memory: {}", told(pressure.level));
        }
        if pressure.level != level || level > PressureLevel::None {
            for peer in peers {
                peer.send(WorkerMessage::Pressure(pressure));
            }
        }
        level = pressure.level;
    }
}

const fn told(level: PressureLevel) -> &'static str {
    match level {
        PressureLevel::None => "there is enough again",
        PressureLevel::Slow => "clients that publish are read more slowly",
        PressureLevel::Closed => "nobody is let in who has no session",
        PressureLevel::Refuse => "messages are refused",
        PressureLevel::Last => "connections with unfinished packets are ended",
    }
}

/// Bytes that the process has in memory.
pub(crate) fn resident() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has another form"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_and_end_apart_from_each_other() {
        use PressureLevel::{Closed, Last, None, Refuse, Slow};
        let ceiling = Ceiling::new(1000, true);
        let mut level = None;
        for (used, expected) in [
            (699, None),
            (700, Slow),
            (660, Slow),
            (649, None),
            (950, Last),
            (900, Last),
            (899, Refuse),
            (860, Refuse),
            (849, Closed),
            (760, Closed),
            (749, Slow),
            (799, Slow),
            (800, Closed),
            (0, None),
        ] {
            let pressure = ceiling.pressure(used, level, 2);
            assert_eq!(pressure.level, expected, "{used} after {level:?}");
            assert_eq!(pressure.spare, (1000 - used) / 16);
            level = pressure.level;
        }
        assert_eq!(ceiling.pressure(2000, level, 2).spare, 0);
        assert_eq!(Ceiling::new(1000, false).level(800, None), Refuse);
    }

    #[test]
    fn the_process_has_some_memory() {
        assert!(resident().expect("Linux says") > 1 << 20);
    }
}
