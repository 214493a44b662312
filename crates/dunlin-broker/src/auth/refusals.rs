//! The log of refused logins: whom, from where and why, at a limited rate, so that whoever knocks a
//! thousand times a second does not fill a disk.

use super::chain::Candidate;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};

/// Lines that may come at once.
const BURST: u32 = 20;
/// How long a line makes room for the next one.
const PERIOD: Duration = Duration::from_secs(1);
/// Characters of a name that are shown.
const SHOWN_MAX: usize = 64;

/// Says which logins were refused.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    rate: Mutex<Rate>,
}

impl RefusalLog {
    pub(crate) fn new(now: Clock) -> Self {
        Self { rate: Mutex::new(Rate { room: BURST, at: now, unsaid: 0 }) }
    }

    /// Tells of a Client that was turned away.
    pub(crate) fn tell(&self, candidate: &Candidate, why: &str) {
        let Some(unsaid) = self.admit() else { return };
        let login = &candidate.login;
        let peer = shown_peer(candidate.address);
        let client_identifier = shown(&login.client_identifier);
        let user_name = login.user_name.as_deref().map(shown);
        tracing::warn!(peer, client_identifier, user_name, unsaid, "a login was refused: {why}");
    }

    /// Tells of a Client that was turned away since the session of its Client Identifier is
    /// another's; an empty name is that of who is anonymous.
    pub(crate) fn tell_stranger(&self, peer: &str, owner: &str, user: &str) {
        let Some(unsaid) = self.admit() else { return };
        let (owner, user_name) = (shown(owner), shown(user));
        tracing::warn!(
            peer,
            owner,
            user_name,
            unsaid,
            "a login was refused: the session of its Client Identifier is another user's"
        );
    }

    /// Whether there is room for a line, and how many had none since the last one.
    fn admit(&self) -> Option<u64> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).admit(Clock::now())
    }
}

#[derive(Debug)]
struct Rate {
    room: u32,
    /// Up to when room was made.
    at: Clock,
    unsaid: u64,
}

impl Rate {
    fn admit(&mut self, now: Clock) -> Option<u64> {
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

/// The beginning of a name; the log escapes what could forge a line.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN_MAX).collect();
    if shown.len() < name.len() {
        shown.push_str("...");
    }
    shown
}

fn shown_peer(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "this process".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_told_of_later() {
        let began = Clock::now();
        let mut rate = Rate { room: BURST, at: began, unsaid: 0 };
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
    fn long_names_are_cut() {
        let name = "\u{e9}".repeat(SHOWN_MAX + 1);
        let expected = format!("{}...", "\u{e9}".repeat(SHOWN_MAX));
        assert_eq!(shown(&name), expected);
        assert_eq!(shown("gauge"), "gauge");
    }
}
