//! A subscription as the routing index keeps it: who it is for, and what was granted.

use dunlin_protocol::codec::{QoS, SubscriptionIdentifier, SubscriptionOptions};
use dunlin_topics::{FilterIndex, Match, Subscription};
use std::sync::Arc;

/// A session of a worker: its place there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub(super) u32);

/// Another worker of the same broker, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerNumber(pub u8);

/// Whom a match is for: a session of this worker, or another worker that has sessions for it.
///
/// One number, so that entries of the index stay small: sessions count from below, workers take
/// the last 256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SubscriberKey(u32);

const FIRST_WORKER: u32 = u32::MAX - 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscriber {
    Session(SessionKey),
    Worker(WorkerNumber),
}

impl SubscriberKey {
    pub(super) const fn session(session: SessionKey) -> Self {
        debug_assert!(session.0 < FIRST_WORKER);
        Self(session.0)
    }

    pub(super) const fn worker(worker: WorkerNumber) -> Self {
        Self(FIRST_WORKER + worker.0 as u32)
    }

    #[inline]
    pub(super) const fn subscriber(self) -> Subscriber {
        if self.0 < FIRST_WORKER {
            Subscriber::Session(SessionKey(self.0))
        } else {
            Subscriber::Worker(WorkerNumber((self.0 - FIRST_WORKER) as u8))
        }
    }
}

/// What a session gets by a subscription, or by several that overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) maximum_qos: QoS,
    /// Nothing of what is merged here wants the session's own messages.
    pub(super) no_local: bool,
    /// Something of it does not, so that this stands for more than an own message may get.
    pub(super) some_no_local: bool,
    pub(super) retain_as_published: bool,
    /// In a Shared Subscription, of another worker: how many of its members are connected.
    pub(super) connected: u32,
    pub(super) identifiers: Identifiers,
}

/// The Subscription Identifiers of a match: nearly always none or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identifiers {
    None,
    One([SubscriptionIdentifier; 1]),
    Many(Arc<Vec<SubscriptionIdentifier>>),
}

impl Identifiers {
    #[inline]
    pub(super) fn as_slice(&self) -> &[SubscriptionIdentifier] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl From<Option<SubscriptionIdentifier>> for Identifiers {
    fn from(identifier: Option<SubscriptionIdentifier>) -> Self {
        identifier.map_or(Self::None, |identifier| Self::One([identifier]))
    }
}

impl Granted {
    pub(super) fn new(
        options: SubscriptionOptions,
        identifier: Option<SubscriptionIdentifier>,
    ) -> Self {
        Self {
            maximum_qos: options.maximum_qos,
            no_local: options.no_local,
            some_no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            connected: 0,
            identifiers: identifier.into(),
        }
    }

    /// What a session gets of a message that it has published itself, where subscriptions of both
    /// kinds overlap: those with No Local have no part in it [MQTT-3.8.3-3].
    pub(super) fn of_own_message(
        index: &FilterIndex<SubscriberKey, Self>,
        session: SessionKey,
        topic_name: &str,
    ) -> Option<Self> {
        let mut merged: Option<Self> = None;
        index.for_each_match(topic_name, |found| match found {
            Match::Subscriber(key, granted)
                if *key == SubscriberKey::session(session) && !granted.no_local =>
            {
                match &mut merged {
                    Some(merged) => merged.merge(granted),
                    None => merged = Some(granted.clone()),
                }
            }
            _ => {}
        });
        merged
    }

    /// The interest of another worker: it applies the options of its sessions itself.
    pub(super) fn of_worker(connected: u32) -> Self {
        Self { connected, ..Self::new(SubscriptionOptions::default(), None) }
    }
}

impl Subscription for Granted {
    fn merge(&mut self, other: &Self) {
        self.maximum_qos = self.maximum_qos.max(other.maximum_qos);
        // A subscription that wants a Client's own messages gets them, whatever another says.
        self.no_local &= other.no_local;
        self.some_no_local |= other.some_no_local;
        self.retain_as_published |= other.retain_as_published;
        let mut all = self.identifiers.as_slice().to_vec();
        for identifier in other.identifiers.as_slice() {
            if !all.contains(identifier) {
                all.push(*identifier);
            }
        }
        all.sort_unstable();
        self.identifiers = match all.as_slice() {
            [] => Identifiers::None,
            [one] => Identifiers::One([*one]),
            _ => Identifiers::Many(Arc::new(all)),
        };
    }
}
