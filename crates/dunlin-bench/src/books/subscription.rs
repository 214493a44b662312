//! What is known of a subscription that comes and goes: a broker answers later than it acts, so that
//! some messages may come or not.

use std::collections::HashMap;

use super::gaps::{Gaps, Kind};
use super::{Missing, Verdict};

/// How far a subscription has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// SUBSCRIBE was sent: messages that are under way may come.
    Asked,
    /// SUBACK has come: every message is owed.
    Held,
    /// UNSUBSCRIBE was sent: what is under way may come.
    Ending,
    /// UNSUBACK has come, or the Session has ended.
    Gone,
}

/// To which subscription a message belongs that is the first of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The present one; so all behind it are owed, and those from `owed_from` on as well.
    Present { owed_from: u64 },
    /// The one before, of which messages may have been left.
    Earlier,
    /// It should not have come.
    Neither,
}

/// The present subscription, and what is left of the one before.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) standing: Standing,
    /// By publisher: messages before were through when SUBSCRIBE was sent.
    pub(super) through: Box<[u64]>,
    /// By publisher: messages before were sent when the subscription before had its UNSUBACK.
    pub(super) ended: Box<[u64]>,
    /// By lane: the first message that was sent behind SUBACK.
    pub(super) owed_from: Box<[u64]>,
    /// By lane: what comes next of the subscription before.
    pub(super) late: Box<[u64]>,
    /// By lane: what had not come of it when it ended.
    pub(super) late_gaps: HashMap<usize, Gaps>,
    /// What has not come of all subscriptions before.
    pub(super) missing: [Missing; 3],
}

impl Subscription {
    pub(super) fn new(publishers: usize, lanes: usize) -> Self {
        Self {
            standing: Standing::Gone,
            through: vec![0; publishers].into(),
            ended: vec![0; publishers].into(),
            owed_from: vec![0; lanes].into(),
            late: vec![0; lanes].into(),
            late_gaps: HashMap::new(),
            missing: [Missing::default(); 3],
        }
    }

    /// Where a message belongs that is the first of its lane since SUBSCRIBE.
    pub(super) fn first(&self, publisher: usize, lane: usize, sequence: u64) -> First {
        if sequence < self.ended[publisher] {
            return First::Earlier;
        }
        match self.standing {
            Standing::Gone => First::Neither,
            _ if sequence < self.through[publisher] => First::Neither,
            Standing::Held => First::Present { owed_from: self.owed_from[lane] },
            Standing::Asked | Standing::Ending => First::Present { owed_from: sequence },
        }
    }

    /// Books a message that the subscription before has left behind.
    pub(super) fn book_late(&mut self, lane: usize, sequence: u64, step: u64) -> Verdict {
        if sequence >= self.late[lane] {
            self.late[lane] = sequence + step;
            return Verdict::Forgiven;
        }
        match self.late_gaps.get_mut(&lane).and_then(|gaps| gaps.fill(sequence, step)) {
            Some(Kind::Forgiven | Kind::Refused) => Verdict::Forgiven,
            Some(Kind::Skipped) => Verdict::Late,
            None => Verdict::Doubled,
        }
    }
}
