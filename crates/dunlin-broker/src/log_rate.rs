//! How often the log says the same: whoever knocks a thousand times a second must not fill a disk.

use crate::core::LimitCause;
use crate::net::Foreign;
use dunlin_protocol::codec::ReasonCode;
use std::collections::BTreeMap;
use std::time::{Duration, Instant as Clock};

/// Lines that may come at once.
const BURST: u32 = 20;
/// How long a line makes room for the next one.
const PERIOD: Duration = Duration::from_secs(1);

/// The lines of one kind.
#[derive(Debug)]
pub(crate) struct LogRate {
    room: u32,
    /// Up to when room was made.
    at: Clock,
    unsaid: u64,
}

impl LogRate {
    pub(crate) const fn new(now: Clock) -> Self {
        Self { room: BURST, at: now, unsaid: 0 }
    }

    /// Whether there is room for a line, and how many had none since the last one.
    pub(crate) fn admit(&mut self, now: Clock) -> Option<u64> {
        let periods = now.saturating_duration_since(self.at).as_secs() / PERIOD.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.room = self.room.saturating_add(periods).min(BURST);
        self.at += PERIOD * periods;
        if self.room == 0 {
            self.unsaid += 1;
            return None;
        }
        self.room -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// What the log may have to say of a client; there are not more than a few hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// A limit has turned it away.
    Limit(LimitCause),
    /// It has broken this statement of the standard.
    Statement(&'static str),
    /// Its connection was ended.
    Ended(ReasonCode),
    /// It is a page of another origin.
    Origin,
    /// Its certificate does not let it in.
    Certificate,
    /// It speaks something else than its listener.
    Foreign(Foreign),
    /// It is a proxy by its address, and does not say for whom it connects.
    ProxyHeader,
    /// It is no proxy by its address, where proxies alone are served.
    Stranger,
    /// The system could not let it in.
    System,
}

/// The lines of each kind: what one client does again and again leaves room for what others do.
#[derive(Debug, Default)]
pub(crate) struct LogRates(BTreeMap<Cause, LogRate>);

impl LogRates {
    /// As [`LogRate::admit`], for this cause.
    pub(crate) fn admit(&mut self, now: Clock, cause: Cause) -> Option<u64> {
        self.0.entry(cause).or_insert_with(|| LogRate::new(now)).admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_told_of_later() {
        let began = Clock::now();
        let mut rate = LogRate::new(began);
        for _ in 0..BURST {
            assert_eq!(rate.admit(began), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(rate.admit(began + PERIOD / 2), None);
        }
        assert_eq!(rate.admit(began + PERIOD), Some(1_000));
        assert_eq!(rate.admit(began + PERIOD), None);
        let later = began + Duration::from_secs(3600);
        for told in 0..BURST {
            assert_eq!(rate.admit(later), Some(u64::from(told == 0)));
        }
        assert_eq!(rate.admit(later), None, "a quiet hour makes room for no more than that");
    }

    #[test]
    fn each_cause_has_its_own_room() {
        let (now, mut rates) = (Clock::now(), LogRates::default());
        let first = Cause::Limit(LimitCause::Connections);
        let told = (0..1_000).filter(|_| rates.admit(now, first).is_some()).count();
        assert_eq!(told, BURST as usize);
        for other in [
            Cause::Limit(LimitCause::ConnectionsPerAddress),
            Cause::Statement("MQTT-3.1.0-1"),
            Cause::Statement("MQTT-3.1.0-2"),
            Cause::Ended(ReasonCode::QuotaExceeded),
            Cause::Foreign(Foreign::Tls),
            Cause::Foreign(Foreign::ProxyHeader),
        ] {
            assert_eq!(rates.admit(now, other), Some(0), "{other:?}");
        }
    }
}
