//! When to fetch a key set, and how long to trust what was fetched: decisions, no fetching.

use crate::jwt::KeySet;
use std::sync::Arc;
use std::time::Duration;

/// The times by which a [`KeySetCache`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After a success: until the set is fetched again. 10 minutes.
    pub refresh: Duration,
    /// From the beginning of one fetch to that of the next, whatever happens: whoever sends tokens
    /// with made-up identifiers gets the issuer one question in this time. 30 s.
    pub cooldown: Duration,
    /// After the last success: until no token is accepted any more. 1 hour.
    pub expiry: Duration,
    /// A fetch that has not come back for so long has failed. 30 s.
    pub fetch_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            expiry: Duration::from_secs(3_600),
            fetch_timeout: Duration::from_secs(30),
        }
    }
}

/// The last key set of one issuer. Times are read from any clock that never goes back.
///
/// After each call [`KeySetCache::begin_fetch`] says whether to fetch now;
/// [`KeySetCache::poll_timeout`] when to ask again at the latest.
#[derive(Clone, Debug)]
pub struct KeySetCache {
    timing: Timing,
    set: Option<(Arc<KeySet>, Duration)>,
    /// When the last fetch began.
    began: Option<Duration>,
    is_fetching: bool,
    /// Somebody needs a key that is not there.
    is_wanted: bool,
}

impl KeySetCache {
    /// A cache without keys, which asks for a fetch at once.
    pub fn new(timing: Timing) -> Self {
        Self { timing, set: None, began: None, is_fetching: false, is_wanted: true }
    }

    /// The set, unless the last success is too long ago: then all tokens are to be denied.
    pub fn key_set(&self, now: Duration) -> Option<&Arc<KeySet>> {
        let (set, fetched_at) = self.set.as_ref()?;
        (now < fetched_at.saturating_add(self.timing.expiry)).then_some(set)
    }

    /// Tells of a token whose key is not in the set. A thousand such tokens are one wish.
    pub fn handle_unknown_key(&mut self) {
        self.is_wanted = true;
    }

    /// Whether a fetch is to begin now; if so it counts as begun, and
    /// [`KeySetCache::handle_fetched`] is to be called with its outcome.
    pub fn begin_fetch(&mut self, now: Duration) -> bool {
        if now < self.poll_timeout() {
            return false;
        }
        self.began = Some(now);
        self.is_fetching = true;
        self.is_wanted = false;
        true
    }

    /// Takes the outcome of a fetch; `None` is a failure of any kind. What was fetched before stays
    /// in force then, until it expires, and is asked for again after the cooldown.
    pub fn handle_fetched(&mut self, now: Duration, set: Option<KeySet>) {
        self.is_fetching = false;
        match set {
            Some(set) => self.set = Some((Arc::new(set), now)),
            None => self.is_wanted = true,
        }
    }

    /// When to call [`KeySetCache::begin_fetch`] at the latest. Always some time: a set is kept
    /// fresh, so that no login has to wait for one.
    pub fn poll_timeout(&self) -> Duration {
        let Some(began) = self.began else { return Duration::ZERO };
        let cooled = began.saturating_add(self.timing.cooldown);
        if self.is_fetching {
            return cooled.max(began.saturating_add(self.timing.fetch_timeout));
        }
        if self.is_wanted {
            return cooled;
        }
        let fetched_at = self.set.as_ref().map_or(began, |(_, fetched_at)| *fetched_at);
        cooled.max(fetched_at.saturating_add(self.timing.refresh))
    }
}
