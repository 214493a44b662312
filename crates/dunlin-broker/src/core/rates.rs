//! How fast a Client may publish: who is faster is read later, and loses nothing as long as it is
//! there. Who leaves and comes again goes on where it was.

use super::granted::SessionKey;
use super::limits::LimitCause;
use super::login::Owner;
use super::timers::Timer;
use super::{ConnectionKey, Core};
use dunlin_protocol::codec::Text;
use dunlin_protocol::{Instant, Message};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::time::Duration;

/// How much a Client may be ahead of its rate: what it publishes in so long at that rate may come
/// at once.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// How far a Client is ahead of its rate at most, whatever it has sent: a single message may be worth
/// hours of a low rate, and a Client that is not read for so long is as good as shut out.
const DEBT_MAX: Duration = Duration::from_secs(60);

/// How long what a Client has left behind is read at its rate: until that is done nobody learns that it
/// is gone.
const LEFT_MAX: Duration = Duration::from_secs(60);

/// Clients that are remembered while they are away. Who is forgotten begins anew.
const AWAY_MAX: usize = 16_384;

/// The Clients that have published lately, where a rate is set.
#[derive(Debug)]
pub(super) struct Rates {
    buckets: HashMap<ConnectionKey, Bucket>,
    /// Connections whose peer has closed its side before all was read, and since when that is known.
    left: HashMap<ConnectionKey, Instant>,
    away: Away,
}

/// Those who have left before they were back within their rates, by Client Identifier and user: for
/// no longer than that.
#[derive(Debug)]
struct Away {
    hasher: FixedState,
    /// By the hash of both: names may be long.
    buckets: HashMap<u64, (Bucket, Place)>,
    /// Who will be back within its rates first.
    by_end: BTreeMap<Place, u64>,
    /// How many have left.
    count: u64,
}

/// When somebody is back within its rates; among equals, who has left first.
type Place = (Instant, u64);

/// When a Client that keeps to its rates would have sent what it has sent.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    messages_until: Instant,
    bytes_until: Instant,
}

/// Goes on with a bucket by so much at this rate.
fn take(until: &mut Instant, now: Instant, amount: u64, rate: u64) {
    if rate == 0 {
        return;
    }
    let takes = Duration::from_micros(amount.saturating_mul(1_000_000) / rate);
    *until = ((*until).max(now) + takes).min(now + DEBT_MAX);
}

impl Bucket {
    /// When the Client is back within its rates.
    fn end(&self) -> Instant {
        self.messages_until.max(self.bytes_until)
    }

    /// How far it is ahead, and of which rate.
    fn ahead(&self, now: Instant) -> (LimitCause, Duration) {
        let messages = self.messages_until.saturating_since(now);
        let bytes = self.bytes_until.saturating_since(now);
        if bytes >= messages {
            (LimitCause::BytesRate, bytes)
        } else {
            (LimitCause::PublishRate, messages)
        }
    }
}

impl Rates {
    /// The seed is random where peers choose their names.
    pub(super) fn new(seed: u64) -> Self {
        let away = Away {
            hasher: FixedState::with_seed(seed),
            buckets: HashMap::new(),
            by_end: BTreeMap::new(),
            count: 0,
        };
        Self { buckets: HashMap::new(), left: HashMap::new(), away }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, key: ConnectionKey) {
        if !self.buckets.is_empty() {
            self.buckets.remove(&key);
        }
        if !self.left.is_empty() {
            self.left.remove(&key);
        }
    }

    /// Until when what a Client has left behind is read at its rate, if it is gone.
    fn left_until(&self, key: ConnectionKey) -> Option<Instant> {
        if self.left.is_empty() { None } else { self.left.get(&key).map(|at| *at + LEFT_MAX) }
    }

    /// A connection is quiet: nothing is to be known of a Client within its rates.
    pub(super) fn shrink(&mut self, now: Instant, key: ConnectionKey) {
        if self.buckets.get(&key).is_some_and(|bucket| bucket.end() <= now) {
            self.buckets.remove(&key);
        }
    }

    /// A Client has left.
    fn leave(&mut self, now: Instant, key: ConnectionKey, owner: &Owner, name: &Text) {
        if let Some(bucket) = self.buckets.remove(&key) {
            self.away.put(now, owner, name, bucket);
        }
    }

    /// How many Clients are remembered that have left.
    #[cfg(test)]
    pub(super) fn away_len(&self) -> usize {
        debug_assert_eq!(self.away.buckets.len(), self.away.by_end.len());
        self.away.buckets.len()
    }
}

impl Away {
    fn key(&self, owner: &Owner, client_identifier: &Text) -> u64 {
        let user = owner.name().map(Text::as_str);
        self.hasher.hash_one((user, client_identifier.as_str()))
    }

    fn put(&mut self, now: Instant, owner: &Owner, client_identifier: &Text, bucket: Bucket) {
        let end = bucket.end();
        let key = self.key(owner, client_identifier);
        self.take_key(key);
        while let Some(first) = self.by_end.first_entry()
            && (first.key().0 <= now || self.buckets.len() >= AWAY_MAX)
        {
            self.buckets.remove(&first.remove());
        }
        if end > now {
            self.count += 1;
            let place = (end, self.count);
            self.buckets.insert(key, (bucket, place));
            self.by_end.insert(place, key);
        }
    }

    fn take(&mut self, owner: &Owner, client_identifier: &Text) -> Option<Bucket> {
        if self.buckets.is_empty() {
            return None;
        }
        self.take_key(self.key(owner, client_identifier))
    }

    fn take_key(&mut self, key: u64) -> Option<Bucket> {
        let (bucket, place) = self.buckets.remove(&key)?;
        self.by_end.remove(&place);
        Some(bucket)
    }
}

impl Core {
    /// Counts a message against the rates of its Client, which is not read for a while if it is
    /// ahead of them. Whether the message is taken: of one that is gone for long it is not.
    #[inline]
    pub(super) fn count_rate(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        message: &Message,
    ) -> bool {
        self.count_brought(key, message.payload.len());
        let limits = &self.endpoints.limits;
        let has_rate = limits.publish_rate_max > 0 || limits.bytes_rate_max > 0;
        !has_rate || self.count_rates(now, key, message.size() as u64)
    }

    fn count_rates(&mut self, now: Instant, key: ConnectionKey, bytes: u64) -> bool {
        if self.rates.left_until(key).is_some_and(|until| until <= now) {
            if let Some(connection) = self.endpoints.connection(key) {
                connection.forgoes = true;
            }
            return false;
        }
        let limits = &self.endpoints.limits;
        let bucket = Bucket { messages_until: now, bytes_until: now };
        let bucket = self.rates.buckets.entry(key).or_insert(bucket);
        take(&mut bucket.messages_until, now, 1, u64::from(limits.publish_rate_max));
        take(&mut bucket.bytes_until, now, bytes, limits.bytes_rate_max as u64);
        let bucket = *bucket;
        self.rest_if_ahead(now, key, &bucket);
        true
    }

    fn rest_if_ahead(&mut self, now: Instant, key: ConnectionKey, bucket: &Bucket) {
        let (cause, ahead) = bucket.ahead(now);
        if ahead <= AHEAD_MAX {
            return;
        }
        let until = now + (ahead - AHEAD_MAX);
        let until = self.rates.left_until(key).map_or(until, |left| left.min(until));
        if self.rest(now, key, until) {
            self.count_limit(cause, 1);
        }
    }

    /// A Client is gone, and not all is read that it has sent.
    pub(super) fn leave_unread(&mut self, now: Instant, key: ConnectionKey) {
        let limits = &self.endpoints.limits;
        if limits.publish_rate_max > 0 || limits.bytes_rate_max > 0 {
            self.rates.left.entry(key).or_insert(now);
        }
    }

    /// A Client has come, perhaps again: what it was ahead of its rates it still is.
    pub(super) fn resume_rates(&mut self, now: Instant, key: ConnectionKey, session: SessionKey) {
        let session = &self.endpoints.sessions[session.0];
        if let Some(bucket) = self.rates.away.take(&session.owner, &session.client_identifier) {
            self.rates.buckets.insert(key, bucket);
            self.rest_if_ahead(now, key, &bucket);
        }
    }

    /// A Client has left: it is remembered while it is ahead of its rates.
    pub(super) fn keep_rates(&mut self, now: Instant, key: ConnectionKey, session: SessionKey) {
        let session = &self.endpoints.sessions[session.0];
        self.rates.leave(now, key, &session.owner, &session.client_identifier);
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

    /// What a connection has sent by now waits to be read: it is not blamed for silence.
    pub fn excuse(&mut self, now: Instant, key: ConnectionKey) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.read_again_at = now;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_who_are_away_those_who_are_furthest_ahead_are_remembered() {
        let (mut rates, now) = (Rates::new(1), Instant::ZERO);
        let owner = Owner::default();
        let name = |at: usize| -> Text { format!("client-{at}").parse().expect("text") };
        let bucket = |at: usize| {
            let messages_until = now + Duration::from_micros(at as u64);
            Bucket { messages_until, bytes_until: now }
        };
        for at in 0..10 * AWAY_MAX {
            rates.away.put(now, &owner, &name(at), bucket(at));
            assert!(rates.away_len() <= AWAY_MAX);
        }
        for (at, is_known) in [(1, false), (9 * AWAY_MAX - 1, false), (9 * AWAY_MAX, true)] {
            assert_eq!(rates.away.take(&owner, &name(at)).is_some(), is_known, "{at}");
        }
        // Under the same name another user is somebody else.
        let last = name(10 * AWAY_MAX - 1);
        let user = Owner::stored(Some("gauge".parse().expect("text")));
        assert!(rates.away.take(&user, &last).is_none());
        assert!(rates.away.take(&owner, &last).is_some());
    }
}
