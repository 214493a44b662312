//! Who has a message already that was refused elsewhere and comes again: sessions that end with
//! their connection, which can't be asked to give it back.

use super::granted::{SessionKey, WorkerNumber};
use super::session::GroupName;
use std::sync::Arc;

/// One that was given a QoS 2 message for good before it was decided whether the message is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GivenTo {
    /// A session, by a subscription of its own: its worker, its place there and the count of that
    /// place.
    Session(WorkerNumber, SessionKey, u32),
    /// A member of a Shared Subscription. No other member may get it then, though that one goes
    /// [MQTT-4.8.2-5].
    Group(Arc<GroupName>),
}

/// All that have a refused message of an MQTT 3.x Client. It can't be told, and sends the message
/// again: for everybody else it is new then.
#[derive(Debug)]
pub(super) struct Given(Vec<GivenTo>);

impl Given {
    pub(super) fn new(mut given: Vec<GivenTo>) -> Self {
        given.sort_unstable();
        Self(given)
    }

    pub(super) fn contains(&self, receiver: &GivenTo) -> bool {
        self.0.binary_search(receiver).is_ok()
    }

    /// The sessions of a worker that have it by subscriptions of their own.
    pub(super) fn of_worker(&self, worker: WorkerNumber) -> impl Iterator<Item = GivenTo> + '_ {
        let is_there =
            move |given: &&GivenTo| matches!(given, GivenTo::Session(at, ..) if *at == worker);
        self.0.iter().filter(is_there).cloned()
    }
}
