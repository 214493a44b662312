//! Who may come in: how many connections there are, from where, and how fast they come. Over all
//! workers and the front.

use crate::config::Limits;
use crate::core::LimitCause;
use crate::net::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};

/// Connections that are told why they are refused, at the same time; those beyond are closed at
/// once.
const REFUSED_MAX: usize = 64;

/// Counts the connections of a broker.
#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    /// All, those that are being refused included.
    connections: AtomicUsize,
    /// Those of each address, if they have a limit.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    rate: Option<ConnectRate>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may go on.
    Granted,
    /// It is one too many, and is told so.
    Refused(LimitCause),
    /// It is one too many, as are others that are being told.
    Closed(LimitCause),
}

/// A connection that is counted for its address; no longer when this is gone.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            connections: AtomicUsize::new(0),
            addresses: Mutex::default(),
            rate: ConnectRate::new(limits.connects_per_second_max),
        })
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from an address, which is asked for only if it matters. It is to be
    /// given back by [`Admission::leave`], unless it is closed.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> (Verdict, Option<Box<Permit>>) {
        let others = self.connections.fetch_add(1, Ordering::Relaxed);
        let (verdict, permit) = if others >= self.connections_max {
            let may_tell = others - self.connections_max < REFUSED_MAX;
            (refusal(LimitCause::Connections, may_tell), None)
        } else if self.per_address_max > 0 {
            address().map_or((Verdict::Granted, None), |address| self.admit_from(address))
        } else {
            (Verdict::Granted, None)
        };
        if matches!(verdict, Verdict::Closed(_)) {
            self.leave();
        }
        (verdict, permit)
    }

    fn admit_from(self: &Arc<Self>, address: IpAddr) -> (Verdict, Option<Box<Permit>>) {
        let address = network_of(address);
        let mut addresses = self.addresses();
        let count = addresses.entry(address).or_insert(0);
        let verdict = match count.checked_sub(self.per_address_max) {
            None => Verdict::Granted,
            Some(more) => refusal(LimitCause::ConnectionsPerAddress, more < REFUSED_MAX),
        };
        if matches!(verdict, Verdict::Closed(_)) {
            return (verdict, None);
        }
        *count += 1;
        (verdict, Some(Box::new(Permit { admission: self.clone(), address })))
    }

    /// A connection is gone.
    pub(crate) fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a further connection may be accepted now, which it then must be; else when.
    pub(crate) fn may_accept(&self) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), ConnectRate::take)
    }

    /// There was no connection to be accepted after all.
    pub(crate) fn accepted_nobody(&self) {
        if let Some(rate) = &self.rate {
            rate.give_back();
        }
    }
}

const fn refusal(cause: LimitCause, may_tell: bool) -> Verdict {
    if may_tell { Verdict::Refused(cause) } else { Verdict::Closed(cause) }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// How fast connections are accepted: as many as in a second at once, then one after the other.
#[derive(Debug)]
struct ConnectRate {
    started_at: Clock,
    /// Microseconds between two connections.
    interval: u64,
    /// When those that were accepted would have come at this rate, in microseconds from the start.
    until: AtomicU64,
}

impl ConnectRate {
    /// So many may be accepted at once.
    const AHEAD_MAX: u64 = 1_000_000;

    fn new(per_second: u32) -> Option<Self> {
        let interval = Self::AHEAD_MAX.checked_div(u64::from(per_second))?;
        Some(Self { started_at: Clock::now(), interval, until: AtomicU64::new(0) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn take(&self) -> Result<(), Duration> {
        self.take_at(self.now())
    }

    fn take_at(&self, now: u64) -> Result<(), Duration> {
        let next = |until: u64| {
            let until = until.max(now) + self.interval;
            (until <= now + Self::AHEAD_MAX).then_some(until)
        };
        match self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(until) => Err(Duration::from_micros(until + self.interval - now - Self::AHEAD_MAX)),
        }
    }

    fn give_back(&self) {
        self.until.fetch_sub(self.interval, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_number_and_gets_it_back() {
        let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
        let admission = Admission::new(&limits);
        let from = |text: &str| {
            let address = text.parse().expect("an address");
            admission.admit(|| Some(address))
        };
        let granted = |text| match from(text) {
            (Verdict::Granted, permit) => permit,
            (verdict, _) => panic!("{text}: {verdict:?}"),
        };
        // An address of IPv4 in the way of IPv6 is the same one, and one /64 is.
        let _first = granted("10.0.0.1");
        let second = granted("::ffff:10.0.0.1");
        let _others = [granted("10.0.0.2"), granted("2001:db8::1"), granted("2001:db8::2")];
        for text in ["10.0.0.1", "2001:db8::3"] {
            let (verdict, _permit) = from(text);
            assert!(matches!(verdict, Verdict::Refused(LimitCause::ConnectionsPerAddress)));
        }
        let _next = granted("2001:db8:0:1::1");
        drop(second);
        let _again = granted("10.0.0.1");
    }

    #[test]
    fn so_many_are_told_and_the_rest_is_closed() {
        let limits = Limits { connections_max: 1, ..Limits::default() };
        let admission = Admission::new(&limits);
        let permits: Vec<_> = (0..1 + REFUSED_MAX).map(|_| admission.admit(|| None)).collect();
        assert!(matches!(permits[0].0, Verdict::Granted));
        assert!(permits[1..].iter().all(|(verdict, _)| matches!(verdict, Verdict::Refused(_))));
        let (verdict, permit) = admission.admit(|| None);
        assert!(matches!((verdict, permit), (Verdict::Closed(LimitCause::Connections), None)));
        permits.iter().for_each(|_| admission.leave());
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
        assert!(matches!(admission.admit(|| None).0, Verdict::Granted));
    }

    #[test]
    fn connections_come_at_their_rate() {
        let rate = ConnectRate::new(10).expect("a rate");
        let accepted = (0..100).filter(|_| rate.take_at(0).is_ok()).count();
        assert_eq!(accepted, 10);
        assert_eq!(rate.take_at(0), Err(Duration::from_millis(100)));
        assert_eq!(rate.take_at(99_999), Err(Duration::from_micros(1)));
        assert_eq!(rate.take_at(100_000), Ok(()));
        assert!(rate.take_at(100_000).is_err());
        rate.give_back();
        assert_eq!(rate.take_at(100_000), Ok(()));
        assert!(ConnectRate::new(0).is_none());
    }
}
