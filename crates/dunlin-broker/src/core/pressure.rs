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
    /// Connections with unfinished packets are ended.
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

/// The pressure on a worker, and who has added to it since it was told.
#[derive(Debug, Default)]
pub(super) struct UnderPressure {
    pressure: Pressure,
    /// When it was told last, as long as there is pressure; a timer is set then.
    told_at: Option<Instant>,
    /// Bytes that each connection may bring, and those that each has brought.
    share: u64,
    brought: HashMap<ConnectionKey, u64>,
    /// Whether the worker takes too long for what there is to do.
    is_behind: bool,
}

impl UnderPressure {
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
    fn refuses(&self) -> bool {
        self.pressure.level >= PressureLevel::Refuse
    }
}

impl Core {
    /// Memory is so scarce from now on. To be told again and again while there is pressure: what was
    /// said a second ago counts no longer.
    pub fn handle_pressure(&mut self, now: Instant, pressure: Pressure) {
        if pressure.level > PressureLevel::None && self.pressure.told_at.replace(now).is_none() {
            self.timers.set(now + LEVEL_LASTS, Timer::Pressure);
        }
        self.press(pressure);
    }

    fn press(&mut self, pressure: Pressure) {
        let connections = self.endpoints.counters.connections.max(1);
        self.pressure.pressure = pressure;
        self.pressure.share = pressure.spare / connections;
        self.pressure.brought.clear();
        if pressure.level == PressureLevel::None {
            self.pressure.brought.shrink_to_fit();
        }
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
            self.count_limit(LimitCause::MemoryEnded, 1);
            self.disconnect(now, key, ReasonCode::QuotaExceeded);
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
    pub fn count_brought(&mut self, key: ConnectionKey, bytes: usize) {
        if self.pressure.pressure.level > PressureLevel::None {
            *self.pressure.brought.entry(key).or_insert(0) += bytes as u64;
        }
    }

    /// An unfinished packet has grown by so much.
    pub fn count_unfinished(&mut self, key: ConnectionKey, unfinished: usize, grown: usize) {
        if unfinished >= UNFINISHED_LEN_MAX {
            self.count_brought(key, grown);
        }
    }
}
