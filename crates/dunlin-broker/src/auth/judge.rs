//! Judges logins by a chain, and tells of those that fail.

use super::chain::{Candidate, Chain, Verdict};
use super::refusals::RefusalLog;
use crate::core::Decision;
use std::time::Instant as Clock;

/// Who decides about logins, on whatever thread.
#[derive(Debug)]
pub(crate) struct Judge {
    chain: Chain,
    refusals: RefusalLog,
}

impl Judge {
    pub(crate) fn new(chain: Chain, now: Clock) -> Self {
        Self { chain, refusals: RefusalLog::new(now) }
    }

    /// The log of those that are refused.
    pub(crate) const fn refusals(&self) -> &RefusalLog {
        &self.refusals
    }

    /// The decision, if it takes no effort.
    pub(crate) fn decide_at_once(&self, candidate: &Candidate) -> Option<Decision> {
        Some(self.pronounce(candidate, self.chain.decide_at_once(candidate)?))
    }

    /// The decision, whatever it takes.
    pub(crate) fn decide(&self, candidate: &Candidate) -> Decision {
        self.pronounce(candidate, self.chain.decide(candidate))
    }

    fn pronounce(&self, candidate: &Candidate, verdict: Verdict) -> Decision {
        if let Verdict::Deny(_, why) = verdict {
            self.refusals.tell(candidate, why);
        }
        verdict.into()
    }
}
