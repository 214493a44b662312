//! Addresses from which logins fail: their answers come slower and slower, then they are refused
//! for a while before anything is checked.
//!
//! Only addresses count, never users: else anybody could lock anybody out. An address of IPv6
//! stands for its network of 64 bits, which one household or machine has to itself.

use crate::config::Network;
use crate::net::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 65_536;
/// How long the answer to a first failure waits; that to each further one twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Failures after which an address is refused.
const FAILURES_MAX: u32 = 10;
/// How long it is refused, and how long it takes until half of its failures are forgotten.
const PERIOD: Duration = Duration::from_secs(60);

/// The failures of addresses.
#[derive(Debug)]
pub(crate) struct Damping {
    exempt: Vec<Network>,
    table: Mutex<Table>,
}

impl Damping {
    /// Nothing has failed yet; addresses of these networks never count.
    pub(crate) fn new(exempt: Vec<Network>) -> Self {
        Self { exempt, table: Mutex::new(Table::new(ADDRESSES_MAX)) }
    }

    /// Whether logins from an address are refused for now.
    pub(crate) fn refuses(&self, now: Clock, address: IpAddr) -> bool {
        self.with(address, false, |table, network| {
            table.find(network).is_some_and(|failures| failures.refused_until > Some(now))
        })
    }

    /// A login from an address has failed; how long the answer is to wait.
    pub(crate) fn handle_failure(&self, now: Clock, address: IpAddr) -> Duration {
        self.with(address, Duration::ZERO, |table, network| {
            let failures = table.find_or_insert(now, network);
            failures.forget(now);
            failures.count = failures.count.saturating_add(1);
            if failures.count >= FAILURES_MAX {
                failures.refused_until = Some(now + PERIOD);
            }
            let doubled = 1_u32.checked_shl(failures.count - 1).unwrap_or(u32::MAX);
            FIRST_DELAY.saturating_mul(doubled).min(DELAY_MAX)
        })
    }

    /// A login from an address was right: half of its failures are forgotten, once a period. Who has
    /// one password could else guess others for ever.
    pub(crate) fn handle_success(&self, now: Clock, address: IpAddr) {
        self.with(address, (), |table, network| {
            if let Some(failures) = table.find(network)
                && failures.forgiven_until.is_none_or(|until| until <= now)
            {
                failures.count /= 2;
                failures.forgiven_until = Some(now + PERIOD);
            }
        });
    }

    /// Acts on the table, unless the address is one that never counts.
    fn with<T>(&self, address: IpAddr, exempt: T, act: impl FnOnce(&mut Table, IpAddr) -> T) -> T {
        let address = address.to_canonical();
        if self.exempt.iter().any(|network| network.contains(address)) {
            return exempt;
        }
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner), network_of(address))
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Up to when failures were forgotten.
    forgotten_at: Clock,
    refused_until: Option<Clock>,
    /// Until then no success counts.
    forgiven_until: Option<Clock>,
}

impl Failures {
    /// Forgets half of them for each period that has passed.
    fn forget(&mut self, now: Clock) {
        let passed = now.saturating_duration_since(self.forgotten_at).as_secs() / PERIOD.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.count = self.count.checked_shr(passed).unwrap_or(0);
        self.forgotten_at += PERIOD * passed;
    }
}

/// Two halves: what is used moves to the young one, and when that is full, the old one is forgotten.
#[derive(Debug)]
struct Table {
    young: HashMap<IpAddr, Failures>,
    old: HashMap<IpAddr, Failures>,
    half_max: usize,
}

impl Table {
    fn new(len_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half_max: len_max / 2 }
    }

    fn find(&mut self, network: IpAddr) -> Option<&mut Failures> {
        if let Some(failures) = self.old.remove(&network) {
            self.insert(network, failures);
        }
        self.young.get_mut(&network)
    }

    fn find_or_insert(&mut self, now: Clock, network: IpAddr) -> &mut Failures {
        if self.find(network).is_none() {
            self.make_room();
        }
        let none =
            Failures { count: 0, forgotten_at: now, refused_until: None, forgiven_until: None };
        self.young.entry(network).or_insert(none)
    }

    fn insert(&mut self, network: IpAddr, failures: Failures) {
        self.make_room();
        self.young.insert(network, failures);
    }

    fn make_room(&mut self) {
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn damping(exempt: &[&str]) -> Damping {
        Damping::new(exempt.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn answers_come_slower_and_then_none_is_checked_for_a_while() {
        let (damping, now) = (damping(&[]), Clock::now());
        let guesser = address("192.0.2.1");
        let delays: Vec<u128> =
            (0..9).map(|_| damping.handle_failure(now, guesser).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        assert!(!damping.refuses(now, guesser));
        damping.handle_failure(now, guesser);
        for (after, refused) in [(0, true), (59, true), (60, false)] {
            assert_eq!(damping.refuses(now + Duration::from_secs(after), guesser), refused);
        }
        assert!(!damping.refuses(now, address("192.0.2.2")), "a neighbour is not to blame");

        // Half is forgotten by then.
        let later = now + PERIOD;
        assert_eq!(damping.handle_failure(later, guesser), FIRST_DELAY * 32);
        for _ in 7..10 {
            assert!(!damping.refuses(later, guesser));
            damping.handle_failure(later, guesser);
        }
        assert!(!damping.refuses(later, guesser));
        damping.handle_failure(later, guesser);
        assert!(damping.refuses(later, guesser));
        assert_eq!(damping.handle_failure(later + PERIOD * 100, guesser), FIRST_DELAY);
    }

    #[test]
    fn a_success_halves_what_has_failed_once_a_period() {
        let (damping, now) = (damping(&[]), Clock::now());
        let typist = address("192.0.2.1");
        for _ in 0..8 {
            damping.handle_failure(now, typist);
        }
        damping.handle_success(now, typist);
        assert_eq!(damping.handle_failure(now, typist), FIRST_DELAY * 16);
        damping.handle_success(now, address("192.0.2.7"));

        // Once a period: by then half of them are forgotten anyway.
        damping.handle_success(now, typist);
        assert_eq!(damping.handle_failure(now, typist), FIRST_DELAY * 32);
        let later = now + PERIOD;
        damping.handle_success(later, typist);
        assert_eq!(damping.handle_failure(later, typist), FIRST_DELAY * 2);
    }

    #[test]
    fn a_network_of_64_bits_is_one_and_some_never_count() {
        let (damping, now) = (damping(&["10.0.0.0/8", "2001:db8:1::/48"]), Clock::now());
        for host in 0..u128::from(FAILURES_MAX) {
            let of = |network: &str| {
                let bits = network.parse::<Ipv6Addr>().unwrap().to_bits() | host;
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            damping.handle_failure(now, of("2001:db8::"));
            damping.handle_failure(now, of("2001:db8:1:2::"));
            damping.handle_failure(now, address("10.9.8.7"));
            damping.handle_failure(now, address("::ffff:192.0.2.1"));
        }
        for (text, refused) in [
            ("2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", false),
            ("2001:db8:1:2::1", false),
            ("10.9.8.7", false),
            ("::ffff:10.9.8.7", false),
            ("192.0.2.1", true),
        ] {
            assert_eq!(damping.refuses(now, address(text)), refused, "{text}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_goes_on() {
        let mut table = Table::new(8);
        let (now, guesser) = (Clock::now(), address("192.0.2.1"));
        for host in 0..1_000_u32 {
            table.find_or_insert(now, guesser).count += 1;
            table.find_or_insert(now, IpAddr::V4(host.into()));
            assert!(table.young.len() + table.old.len() <= 8);
        }
        assert_eq!(table.find_or_insert(now, guesser).count, 1_000);
        assert!(table.find(address("0.0.0.1")).is_none());
    }
}
