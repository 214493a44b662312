//! When a subscription stood, in the order of what happened.

/// A point in the order of all that was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

/// From SUBSCRIBE to UNSUBACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) asked: Moment,
    pub(crate) granted: Option<Moment>,
    pub(crate) leaving: Option<Moment>,
    pub(crate) left: Option<Moment>,
}

impl Interval {
    pub(crate) const fn asked(at: Moment) -> Self {
        Self { asked: at, granted: None, leaving: None, left: None }
    }

    /// Whether a message is owed whose publish began at this moment. What the Server still holds
    /// when it is asked to end the subscription it may drop.
    pub(crate) fn owes(&self, begun: Moment) -> bool {
        self.leaving.is_none() && self.granted.is_some_and(|granted| granted < begun)
    }

    /// Whether a message may have been routed while this stood.
    pub(crate) fn allows(&self, begun: Moment, ended: Option<Moment>) -> bool {
        self.left.is_none_or(|left| begun < left) && ended.is_none_or(|ended| self.asked < ended)
    }
}
