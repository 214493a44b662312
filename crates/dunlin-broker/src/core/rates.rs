//! How fast a Client may publish: who is faster is read later. Nothing is refused or lost.

use super::limits::LimitCause;
use super::timers::Timer;
use super::{ConnectionKey, Core};
use dunlin_protocol::{Instant, Message};
use hashbrown::HashMap;
use std::time::Duration;

/// How much a Client may be ahead of its rate: what it publishes in so long at that rate may come
/// at once.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// The Clients that have published lately, where a rate is set.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: HashMap<ConnectionKey, Bucket>,
}

/// When a Client that keeps to its rates would have sent what it has sent.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    messages_until: Instant,
    bytes_until: Instant,
}

/// Goes on with a bucket by so much at this rate; how far it is ahead then.
fn take(until: &mut Instant, now: Instant, amount: u64, rate: u64) -> Duration {
    if rate == 0 {
        return Duration::ZERO;
    }
    let takes = Duration::from_micros(amount.saturating_mul(1_000_000) / rate);
    *until = (*until).max(now) + takes;
    until.saturating_since(now)
}

impl Rates {
    pub(super) fn forget(&mut self, key: ConnectionKey) {
        if !self.buckets.is_empty() {
            self.buckets.remove(&key);
        }
    }
}

impl Core {
    /// Counts a message against the rates of its Client, which is not read for a while if it is
    /// ahead of them.
    #[inline]
    pub(super) fn count_rate(&mut self, now: Instant, key: ConnectionKey, message: &Message) {
        let limits = &self.endpoints.limits;
        if limits.publish_rate_max > 0 || limits.bytes_rate_max > 0 {
            self.count_rates(now, key, message.size() as u64);
        }
    }

    fn count_rates(&mut self, now: Instant, key: ConnectionKey, bytes: u64) {
        let limits = &self.endpoints.limits;
        let bucket = Bucket { messages_until: now, bytes_until: now };
        let bucket = self.rates.buckets.entry(key).or_insert(bucket);
        let rests = [
            (
                LimitCause::PublishRate,
                take(&mut bucket.messages_until, now, 1, u64::from(limits.publish_rate_max)),
            ),
            (
                LimitCause::BytesRate,
                take(&mut bucket.bytes_until, now, bytes, limits.bytes_rate_max as u64),
            ),
        ];
        let Some((cause, ahead)) = rests.into_iter().max_by_key(|(_, ahead)| *ahead) else {
            return;
        };
        if ahead > AHEAD_MAX && self.rest(now, key, now + (ahead - AHEAD_MAX)) {
            self.count_limit(cause, 1);
        }
    }

    /// Reads nothing more of a connection until then; whether it was read so far.
    pub(super) fn rest(&mut self, now: Instant, key: ConnectionKey, until: Instant) -> bool {
        let Some(connection) = self.endpoints.connection(key) else { return false };
        if std::mem::replace(&mut connection.rests, true) {
            return false;
        }
        self.timers.set_towards(now, until, Timer::Rest(key, until));
        true
    }

    /// A connection that has rested is read again.
    pub(super) fn end_rest(&mut self, now: Instant, key: ConnectionKey, until: Instant) {
        if now < until {
            self.timers.set_towards(now, until, Timer::Rest(key, until));
            return;
        }
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.rests = false;
        connection.read_again_at = now;
        self.resume(now, key);
    }
}
