//! Watches the memory of the process, and tells the workers when it becomes scarce.

use crate::core::{Pressure, PressureLevel};
use crate::worker::{Peer, WorkerMessage};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant as Clock};

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// Of what is left so little may be taken up until the next look: memory fills up ever more slowly.
const SPARE_PART: u64 = 8;
/// How often freed memory is given back to the system where it is not scarce, so that a process which
/// has had much to do does not keep what others could use.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(10);
/// Looks between two times that freed memory is given back while it is scarce: twice as many after each
/// time that it was of no use.
const GIVE_BACK_LOOKS: RangeInclusive<u32> = 4..=64;
/// Giving back was of use if so small a part of the ceiling became free.
const USE_PART: u64 = 64;
/// How long a worker rests that has given back freed memory because it was scarce.
const GIVE_BACK_REST: Duration = Duration::from_millis(200);
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

/// Where the system says how much memory the process has: held open, since it has to be read when
/// no descriptor is left, too.
#[derive(Debug)]
pub(crate) struct Statm {
    file: File,
    page_len: u64,
}

impl Statm {
    /// # Errors
    /// The system doesn't say it.
    pub(crate) fn open() -> io::Result<Self> {
        let file = File::open("/proc/self/statm")?;
        let statm = Self { file, page_len: rustix::param::page_size() as u64 };
        statm.resident()?;
        Ok(statm)
    }

    /// Bytes that the process has in memory.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        // Seven numbers of at most 20 digits.
        let mut text = [0; 160];
        let len = self.file.read_at(&mut text, 0)?;
        let text = text.get(..len).and_then(|text| std::str::from_utf8(text).ok());
        let pages = text.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has another form"))?;
        Ok(pages.saturating_mul(self.page_len))
    }
}

/// How a worker looks at memory by itself: what comes between two looks by the clock may be more than
/// is left.
#[derive(Debug)]
pub(crate) struct Gauge {
    statm: Statm,
    ceiling: Ceiling,
    workers: usize,
    give_back: Option<fn()>,
    given_back_at: Option<Clock>,
}

/// Memory is looked at after each of so many parts of it that the workers have taken up.
const LOOK_PARTS: u64 = 64;

impl Gauge {
    /// # Errors
    /// The system doesn't say how much memory the process has.
    pub(crate) fn open(
        ceiling: Ceiling,
        workers: usize,
        give_back: Option<fn()>,
    ) -> io::Result<Self> {
        Ok(Self { statm: Statm::open()?, ceiling, workers, give_back, given_back_at: None })
    }

    /// How many bytes the worker may take up before the next look.
    pub(crate) const fn step(&self) -> u64 {
        self.ceiling.max / LOOK_PARTS / self.workers as u64
    }

    /// How scarce memory is, after it was so scarce; `None` if it can't be seen.
    pub(crate) fn look(&mut self, before: PressureLevel) -> Option<Pressure> {
        let pressure = self.pressure(before)?;
        let is_due = self.given_back_at.is_none_or(|at| at.elapsed() >= GIVE_BACK_REST);
        match self.give_back {
            // Perhaps only the allocator has it.
            Some(give_back) if pressure.level >= PressureLevel::Refuse && is_due => {
                give_back();
                self.given_back_at = Some(Clock::now());
                self.pressure(before)
            }
            _ => Some(pressure),
        }
    }

    fn pressure(&self, before: PressureLevel) -> Option<Pressure> {
        Some(self.ceiling.pressure(self.statm.resident().ok()?, before, self.workers))
    }
}

/// What the workers are told of memory.
#[derive(Debug)]
pub(crate) struct Watch {
    ceiling: Ceiling,
    level: PressureLevel,
    /// Whether the last look has failed.
    is_blind: bool,
    /// What gives freed memory back to the system.
    give_back: Option<fn()>,
    /// Looks since it was called, how many have to be between two calls while memory is scarce, and
    /// what was in use at the last one.
    looks: u32,
    looks_due: u32,
    used_then: u64,
}

impl Watch {
    pub(crate) const fn new(ceiling: Ceiling, give_back: Option<fn()>) -> Self {
        Self {
            ceiling,
            level: PressureLevel::None,
            is_blind: false,
            give_back,
            looks: 0,
            looks_due: *GIVE_BACK_LOOKS.start(),
            used_then: 0,
        }
    }

    /// What is to be called after a look that has found so much in use, if anything: freed memory
    /// counts until it is given back, and without that a level would not end when the queues are empty.
    fn due(&mut self, used: u64) -> Option<fn()> {
        let give_back = self.give_back?;
        let is_scarce = self.level > PressureLevel::None;
        let plenty = GIVE_BACK_INTERVAL.div_duration_f64(INTERVAL) as u32;
        self.looks += 1;
        if self.looks < if is_scarce { self.looks_due } else { plenty } {
            return None;
        }
        let was_of_use = used < self.used_then.saturating_sub(self.ceiling.max / USE_PART);
        let (least, most) = GIVE_BACK_LOOKS.into_inner();
        self.looks_due =
            if is_scarce && !was_of_use { most.min(self.looks_due * 2) } else { least };
        (self.looks, self.used_then) = (0, used);
        Some(give_back)
    }

    /// What each of so many workers is told after a look at memory, if anything. After one that has
    /// failed that is nothing: a worker takes a level that is not renewed to be over.
    fn look(&mut self, used: io::Result<u64>, workers: usize) -> Option<Pressure> {
        let used = match used {
            Ok(used) => used,
            Err(error) => {
                if !self.is_blind {
                    tracing::error!(%error, "memory can't be looked at: memory.max holds nothing");
                }
                self.is_blind = true;
                return None;
            }
        };
        self.is_blind = false;
        let before = self.level;
        let pressure = self.ceiling.pressure(used, before, workers);
        self.level = pressure.level;
        if pressure.level != before {
            self.looks_due = *GIVE_BACK_LOOKS.start();
            tracing::warn!(used, max = self.ceiling.max, "memory: {}", told(pressure.level));
        }
        (pressure.level != before || before > PressureLevel::None).then_some(pressure)
    }

    /// Tells the workers of the pressure on memory until nobody holds the other end of `stop`.
    pub(crate) fn run(
        mut self,
        statm: &Statm,
        peers: &[Peer],
        callers: &[Caller],
        stop: &Receiver<()>,
    ) {
        while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let used = statm.resident();
            if let Some(give_back) = used.as_ref().ok().and_then(|used| self.due(*used)) {
                everywhere(give_back, callers);
            }
            let Some(pressure) = self.look(used, peers.len()) else { continue };
            for peer in peers {
                peer.send(WorkerMessage::Pressure(pressure));
            }
        }
    }
}

/// Gives back what was freed, where memory has no ceiling, until nobody holds the other end of `stop`:
/// one thread after the other, so that not all of them are held up at once.
pub(crate) fn give_back_at_times(give_back: fn(), callers: &[Caller], stop: &Receiver<()>) {
    let interval = GIVE_BACK_INTERVAL / u32::try_from(callers.len()).unwrap_or(u32::MAX).max(1);
    for caller in callers.iter().cycle() {
        if stop.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        caller(give_back);
        give_back();
    }
}

/// Lets a thread call something.
pub(crate) type Caller = Box<dyn Fn(fn()) + Send>;

/// Gives back what this thread and others have freed.
fn everywhere(give_back: fn(), callers: &[Caller]) {
    give_back();
    for caller in callers {
        caller(give_back);
    }
}

const fn told(level: PressureLevel) -> &'static str {
    match level {
        PressureLevel::None => "there is enough again",
        PressureLevel::Slow => "clients that publish are read more slowly",
        PressureLevel::Closed => "nobody is let in who has no session",
        PressureLevel::Refuse => "messages are refused",
        PressureLevel::Last => "who goes on with an unfinished packet loses its connection",
    }
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
        let statm = Statm::open().expect("Linux says");
        for _ in 0..2 {
            assert!(statm.resident().expect("Linux says") > 1 << 20);
        }
    }

    #[test]
    fn a_look_that_fails_is_not_the_last_one() {
        let mut watch = Watch::new(Ceiling::new(1000, true), None);
        let failed = || Err(io::Error::other("no descriptor is left"));
        let level = |pressure: Option<Pressure>| pressure.map(|pressure| pressure.level);
        assert_eq!(watch.look(Ok(600), 1), None);
        assert_eq!(level(watch.look(Ok(900), 1)), Some(PressureLevel::Refuse));
        assert_eq!(watch.look(failed(), 1), None);
        assert_eq!(watch.look(failed(), 1), None);
        assert_eq!(level(watch.look(Ok(900), 1)), Some(PressureLevel::Refuse));
        assert_eq!(watch.look(failed(), 1), None);
        assert_eq!(level(watch.look(Ok(600), 1)), Some(PressureLevel::None));
        assert_eq!(watch.look(Ok(600), 1), None);
    }

    #[test]
    fn freed_memory_is_given_back_more_often_while_it_is_scarce() {
        let mut watch = Watch::new(Ceiling::new(1000, true), Some(|| {}));
        let given =
            |watch: &mut Watch, used| (0..1_000).filter(|_| watch.due(used).is_some()).count();
        assert_eq!(given(&mut watch, 0), 5);
        watch.look(Ok(700), 1);
        // After 4 looks, 8, 16, 32, and then every 64.
        assert_eq!(given(&mut watch, 700), 4 + 940 / 64);
        // As soon as it was of use, it is tried again early.
        let looks_until = |watch: &mut Watch, used| (1..).find(|_| watch.due(used).is_some());
        looks_until(&mut watch, 680);
        assert_eq!(looks_until(&mut watch, 680), Some(4));
        assert_eq!(looks_until(&mut watch, 680), Some(8));
        // So it is when memory becomes scarce anew.
        given(&mut watch, 680);
        watch.look(Ok(0), 1);
        watch.look(Ok(700), 1);
        watch.looks = 0;
        assert_eq!(looks_until(&mut watch, 700), Some(4));
        watch.give_back = None;
        assert_eq!(given(&mut watch, 680), 0);
    }
}
