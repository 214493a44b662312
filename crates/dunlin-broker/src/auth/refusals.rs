//! The log of refused logins: whom, from where and why, at a limited rate, so that whoever knocks a
//! thousand times a second does not fill a disk.

use super::chain::Candidate;
use super::scram::claimed_user;
use crate::core::Stranger;
use crate::log_rate::LogRate;
use dunlin_identity::UserName;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant as Clock;

/// Characters of a name that are shown.
const SHOWN_MAX: usize = 64;

/// Says which logins were refused.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    rate: Mutex<LogRate>,
}

impl RefusalLog {
    pub(crate) fn new(now: Clock) -> Self {
        Self { rate: Mutex::new(LogRate::new(now)) }
    }

    /// Tells of a Client that was turned away.
    pub(crate) fn tell(&self, candidate: &Candidate, why: &str) {
        let Some(unsaid) = self.admit() else { return };
        let login = &candidate.login;
        let peer = shown_peer(candidate.address);
        let client_identifier = shown(&login.client_identifier);
        // Where there is an exchange, that decides who it is.
        let claimed = login.enhanced.as_ref().and_then(claimed_user);
        let claimed = claimed.as_ref().map(UserName::as_str);
        let user_name = claimed.or(login.user_name.as_deref()).map(shown);
        tracing::warn!(peer, client_identifier, user_name, unsaid, "a login was refused: {why}");
    }

    /// Tells of a Client that was turned away since the session of its Client Identifier is
    /// another's; an empty name is that of who is anonymous.
    pub(crate) fn tell_stranger(&self, peer: &str, stranger: &Stranger) {
        let Some(unsaid) = self.admit() else { return };
        let client_identifier = shown(stranger.client_identifier());
        let (owner, user_name) = (shown(stranger.owner()), shown(stranger.user()));
        tracing::warn!(
            peer,
            client_identifier,
            user_name,
            owner,
            unsaid,
            "a login was refused: the session of its Client Identifier is another user's"
        );
    }

    /// Tells of a Client that was turned away since it did not go on with its exchange.
    pub(crate) fn tell_unanswered(&self, peer: &str) {
        let Some(unsaid) = self.admit() else { return };
        let why = "it did not go on with its exchange within auth.timeout_secs";
        tracing::warn!(peer, unsaid, "a login was refused: {why}");
    }

    /// Whether there is room for a line, and how many had none since the last one.
    fn admit(&self) -> Option<u64> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).admit(Clock::now())
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
    address.map_or_else(|| "this machine".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        let name = "\u{e9}".repeat(SHOWN_MAX + 1);
        let expected = format!("{}...", "\u{e9}".repeat(SHOWN_MAX));
        assert_eq!(shown(&name), expected);
        assert_eq!(shown("gauge"), "gauge");
    }
}
