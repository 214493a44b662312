//! What a worker does while memory is scarce: it reads less, then lets nobody new in, then refuses
//! messages. Control Packets are always taken, and nothing that was acknowledged is given up.

use super::limits::LimitCause;
use super::timers::Timer;
use super::{ConnectionKey, Core};
use dunlin_protocol::codec::ReasonCode;
use dunlin_protocol::{Instant, Message};
use hashbrown::HashMap;
use std::time::Duration;

/// How scarce memory is; each level asks for what those before it ask for, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PressureLevel {
    /// There is enough.
    #[default]
    None,
    /// Of each connection no more is read than its share of what is left.
    Slow,
    /// Nobody is let in who has no session.
    Closed,
    /// Messages are refused.
    Refuse,
    /// Who goes on with an unfinished packet of some KiB loses its connection.
    Last,
}

/// How scarce memory is, and what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// How scarce it is.
    pub level: PressureLevel,
    /// Bytes that this worker may take up until it is told again; of no meaning without pressure.
    pub spare: u64,
}

/// How long a level lasts that is not renewed: who looks at memory may be unable to.
const LEVEL_LASTS: Duration = Duration::from_secs(1);
/// How long a connection rests that has brought its share.
const REST: Duration = Duration::from_millis(100);
/// The least that is read of a connection at once.
const READ_LEN_MIN: usize = 1024;
/// An unfinished packet of at least so much is none that has to be taken: what is shorter may be an
/// acknowledgement.
const UNFINISHED_LEN_MAX: usize = 4096;

/// While messages are refused, the bytes of publishes that may wait for a Client of MQTT 3 before it is
/// not read. What makes room comes behind them: its acknowledgements, and that it is still there.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// An unfinished packet of at least so much counts among those that are ended to make room: hardly an
/// acknowledgement is that long.
const UNFINISHED_COUNTED: usize = 256;
/// While nobody is let in, and while messages are refused, all unfinished packets of a worker together
/// may be so many times what it may take up: they make no room by themselves, and could hold the level
/// for ever.
const UNFINISHED_TIMES: [u64; 2] = [4, 2];

/// What a connection takes; roughly.
pub(super) const CONNECTION_LEN: u64 = 2048;
/// What a message takes beside its size, and an entry of a queue; roughly.
pub(super) const ENTRY_LEN: u64 = 128;

/// The pressure on a worker, and who has added to it since it was told.
#[derive(Debug)]
pub(super) struct UnderPressure {
    pressure: Pressure,
    /// Memory is to be looked at again once so much was taken up, roughly: in the time between two
    /// looks by the clock a fast network brings more than there may be left.
    look_after: u64,
    /// The unfinished packets of connections, those that count, and their sum.
    pub(super) unfinished: HashMap<ConnectionKey, usize>,
    unfinished_bytes: u64,
    /// When it was told last, as long as there is pressure; a timer is set then.
    told_at: Option<Instant>,
    /// Bytes that each connection may bring, and those that each has brought.
    share: u64,
    brought: HashMap<ConnectionKey, u64>,
    /// Whether the worker takes too long for what there is to do.
    is_behind: bool,
}

impl Default for UnderPressure {
    fn default() -> Self {
        Self {
            pressure: Pressure::default(),
            look_after: u64::MAX,
            unfinished: HashMap::new(),
            unfinished_bytes: 0,
            told_at: None,
            share: 0,
            brought: HashMap::new(),
            is_behind: false,
        }
    }
}

impl UnderPressure {
    /// Remembers how much of an unfinished packet there is of a connection; how much there was, if
    /// that counted.
    fn note_unfinished(&mut self, key: ConnectionKey, unfinished: usize) -> usize {
        let before = match unfinished >= UNFINISHED_COUNTED {
            true => self.unfinished.insert(key, unfinished),
            false => self.unfinished.remove(&key),
        };
        let before = before.unwrap_or(0);
        self.unfinished_bytes -= before as u64;
        if unfinished >= UNFINISHED_COUNTED {
            self.unfinished_bytes += unfinished as u64;
        }
        before
    }

    /// A connection is gone.
    #[inline]
    pub(super) fn forget(&mut self, key: ConnectionKey) {
        if !self.unfinished.is_empty() {
            self.note_unfinished(key, 0);
        }
        if !self.brought.is_empty() {
            self.brought.remove(&key);
        }
    }

    /// Why a Client without a session is turned away, if it is.
    pub(super) fn lets_nobody_in(&self) -> Option<(LimitCause, ReasonCode)> {
        if self.pressure.level >= PressureLevel::Closed {
            Some((LimitCause::MemoryClosed, ReasonCode::QuotaExceeded))
        } else {
            self.is_behind.then_some((LimitCause::Lag, ReasonCode::ServerBusy))
        }
    }

    /// How many bytes of a Client's publishes may wait before it is not read, of so many without
    /// pressure.
    #[inline]
    pub(super) fn held_bytes_max(&self, without: usize) -> usize {
        if self.refuses() { without.min(HELD_BYTES_MAX) } else { without }
    }

    #[inline]
    pub(super) fn refuses(&self) -> bool {
        self.pressure.level >= PressureLevel::Refuse
    }
}

/// A table that was larger gives room back when so small a part of it is in use: that takes little time.
pub(super) const SPARSE: usize = 8;

impl Core {
    /// Memory is so scarce from now on. To be told again and again while there is pressure: what was
    /// said a second ago counts no longer.
    pub fn handle_pressure(&mut self, now: Instant, pressure: Pressure) {
        if pressure.level > PressureLevel::None && self.pressure.told_at.replace(now).is_none() {
            self.timers.set(now + LEVEL_LASTS, Timer::Pressure);
        }
        self.press(pressure);
        let [closed, refuse] = UNFINISHED_TIMES;
        // A message that is larger than the bound gets through while messages are taken.
        let (times, kept) = match pressure.level {
            PressureLevel::None | PressureLevel::Slow => return,
            PressureLevel::Closed => (closed, 1),
            PressureLevel::Refuse | PressureLevel::Last => (refuse, 0),
        };
        self.end_largest_unfinished(now, pressure.spare.saturating_mul(times), kept);
    }

    /// Frees what was kept for later and was not needed since the last time.
    pub fn free_unused(&mut self) {
        self.endpoints.spares.free_unused();
        self.interest.shrink();
        self.registry.shrink(&self.endpoints.sessions);
    }

    fn press(&mut self, pressure: Pressure) {
        let connections = self.endpoints.counters.connections.max(1);
        self.endpoints.grown = 0;
        let pressed = &mut self.pressure;
        pressed.pressure = pressure;
        if pressure.level == PressureLevel::None {
            pressed.brought = HashMap::new();
            return;
        }
        // Who had to be read further than its share, since TLS has no smaller pieces, owes the rest.
        let paid = pressed.share.max(READ_LEN_MIN as u64);
        pressed.brought.retain(|_, brought| {
            *brought = brought.saturating_sub(paid);
            *brought > 0
        });
        pressed.share = pressure.spare / connections;
    }

    /// Ends connections until the unfinished packets of all together are no more than so many bytes,
    /// those with the largest first, but the last `kept` of them.
    fn end_largest_unfinished(&mut self, now: Instant, bytes_max: u64, kept: usize) {
        if self.pressure.unfinished_bytes <= bytes_max {
            return;
        }
        let unfinished = self.pressure.unfinished.iter();
        let mut largest: Vec<_> = unfinished.map(|(key, len)| (*len, *key)).collect();
        largest.sort_unstable();
        while self.pressure.unfinished_bytes > bytes_max
            && largest.len() > kept
            && let Some((_, key)) = largest.pop()
        {
            self.end_unfinished(now, key);
        }
    }

    fn end_unfinished(&mut self, now: Instant, key: ConnectionKey) {
        self.count_limit(LimitCause::MemoryEnded, 1);
        self.pressure.forget(key);
        self.disconnect(now, key, ReasonCode::QuotaExceeded);
    }

    /// Lets the shell look at memory whenever so many bytes were taken up, roughly, and tell by
    /// [`Core::handle_pressure`]. Without this there is no limit of memory.
    pub const fn look_after(&mut self, bytes: u64) {
        self.pressure.look_after = bytes;
    }

    /// Whether memory is to be looked at now.
    #[inline]
    pub const fn wants_look(&self) -> bool {
        self.endpoints.grown >= self.pressure.look_after
    }

    /// Memory could not be looked at: that waits until as much was taken up again.
    pub const fn forget_growth(&mut self) {
        self.endpoints.grown = 0;
    }

    /// How scarce memory was when that was told last.
    pub const fn pressure_level(&self) -> PressureLevel {
        self.pressure.pressure.level
    }

    /// Lets a level lapse that was not renewed.
    pub(super) fn check_pressure(&mut self, now: Instant) {
        let Some(told_at) = self.pressure.told_at else { return };
        let until = told_at + LEVEL_LASTS;
        if now < until && self.pressure.pressure.level > PressureLevel::None {
            self.timers.set(until, Timer::Pressure);
            return;
        }
        self.pressure.told_at = None;
        self.press(Pressure::default());
    }

    /// Whether a message is refused because memory is scarce. One that takes away a retained message
    /// no smaller than itself is not: it makes room.
    #[inline]
    pub(super) fn refuses_for_memory(&self, message: &Message) -> bool {
        self.pressure.refuses() && !self.makes_room(message)
    }

    fn makes_room(&self, message: &Message) -> bool {
        message.retain
            && message.payload.is_empty()
            && self.endpoints.retained.size_of(&message.topic_name) >= Some(message.size())
    }

    /// Whether the worker takes too long for what there is to do: nobody is let in then who has no
    /// session.
    #[inline]
    pub fn handle_lag(&mut self, is_behind: bool) {
        self.pressure.is_behind = is_behind;
    }

    /// How much may be read of a connection at once that has so much of an unfinished packet;
    /// `None` without pressure. Nothing while it rests, or when it is over, which begins with this
    /// where it is to.
    #[inline]
    pub fn read_len_max(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        unfinished: usize,
    ) -> Option<usize> {
        if self.pressure.pressure.level == PressureLevel::None {
            return None;
        }
        Some(self.rest_of_share(now, key, unfinished))
    }

    fn rest_of_share(&mut self, now: Instant, key: ConnectionKey, unfinished: usize) -> usize {
        let share = self.pressure.share;
        let brought = self.pressure.brought.get(&key).copied().unwrap_or(0);
        let is_last = self.pressure.pressure.level >= PressureLevel::Last;
        if is_last && unfinished >= UNFINISHED_LEN_MAX {
            self.end_unfinished(now, key);
            return 0;
        }
        if brought > 0 && brought >= share {
            if self.rest(now, key, now + REST) {
                self.count_limit(LimitCause::MemorySlowed, 1);
            }
            return 0;
        }
        usize::try_from(share - brought).unwrap_or(usize::MAX).max(READ_LEN_MIN)
    }

    /// A connection has brought so many bytes that take memory: of a message, or of an unfinished
    /// packet. Acknowledgements are none, so that who makes room for others goes on.
    #[inline]
    pub(super) fn count_brought(&mut self, key: ConnectionKey, bytes: usize) {
        if self.pressure.pressure.level > PressureLevel::None {
            *self.pressure.brought.entry(key).or_insert(0) += bytes as u64;
        }
    }

    /// A connection has this much of an unfinished packet by now.
    #[inline]
    pub(super) fn count_unfinished(&mut self, key: ConnectionKey, unfinished: usize) {
        let is_watched = self.pressure.look_after < u64::MAX;
        if is_watched && (unfinished >= UNFINISHED_COUNTED || !self.pressure.unfinished.is_empty())
        {
            self.count_grown(key, unfinished);
        }
    }

    /// What was unfinished of a connection is a whole packet now.
    #[inline]
    pub(super) fn forget_unfinished(&mut self, key: ConnectionKey) {
        if !self.pressure.unfinished.is_empty() {
            self.count_grown(key, 0);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_grown(&mut self, key: ConnectionKey, unfinished: usize) {
        let before = self.pressure.note_unfinished(key, unfinished);
        if unfinished >= UNFINISHED_LEN_MAX {
            let grown = unfinished.saturating_sub(before);
            self.endpoints.grown += grown as u64;
            self.count_brought(key, grown);
        }
    }
}
