//! Subscriptions, each from the SUBSCRIBE that may have made it to the UNSUBACK that says it is
//! gone.

use super::moment::{Moment, Presence};
use super::names::FilterId;
use super::sessions::ClientKey;
use crate::history::ConnectionId;
use dunlin_codec::{QoS, RetainHandling, SubscriptionIdentifier, SubscriptionOptions};

/// A subscription as one SUBSCRIBE asked for it. A later one with the same Topic Filter replaces it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// The whole Topic Filter.
    pub(super) filter: FilterId,
    /// The part of it that selects Topic Names.
    pub(super) matching: FilterId,
    pub(super) is_shared: bool,
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: Option<SubscriptionIdentifier>,
    /// The QoS that was asked for, or granted once that is known.
    pub(super) granted: QoS,
    pub(super) connection: ConnectionId,
    /// SUBSCRIBE was taken: from here on it may be there.
    pub(super) taken: Moment,
    /// SUBACK was written: from here on it is there.
    pub(super) made: Option<Moment>,
    /// Its Session may have ended since SUBSCRIBE was taken.
    pub(super) may_be_gone: bool,
    /// What removes or replaces it was taken: from here on it may be gone.
    pub(super) ending: Option<Moment>,
    /// That was answered: from here on it is gone.
    pub(super) ended: Option<Moment>,
    /// Whether the same Topic Filter was subscribed to before.
    pub(super) before: Presence,
}

impl Version {
    /// Whether it was there at some moment between these; `None` is the end of time.
    pub(super) fn is_possible(&self, from: Moment, to: Option<Moment>) -> bool {
        to.is_none_or(|to| self.taken <= to) && self.ended.is_none_or(|ended| ended >= from)
    }

    /// Whether it was certainly there all the time between these.
    pub(super) fn is_certain(&self, from: Moment, to: Moment) -> bool {
        self.made.is_some_and(|made| made < from) && self.ending.is_none_or(|ending| ending > to)
    }

    /// Whether messages of this publisher are kept from it.
    pub(super) fn excludes(&self, subscriber: ClientKey, publisher: Option<ClientKey>) -> bool {
        self.options.no_local && publisher == Some(subscriber)
    }

    /// Whether making it may have retained messages sent.
    pub(super) fn may_send_retained(&self) -> bool {
        !self.is_shared
            && match self.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => self.before < Presence::Certain,
                RetainHandling::DoNotSend => false,
            }
    }

    /// Whether making it must have retained messages sent.
    pub(super) fn must_send_retained(&self) -> bool {
        !self.is_shared
            && match self.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => self.before == Presence::Absent,
                RetainHandling::DoNotSend => false,
            }
    }
}
