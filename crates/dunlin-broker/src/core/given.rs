//! Who has a message already that was refused elsewhere and comes again: sessions that end with
//! their connection, which can't be asked to give it back.

use super::GroupName;
use super::endpoints::Endpoints;
use super::granted::{SessionKey, WorkerNumber};
use dunlin_protocol::codec::PacketIdentifier;
use std::collections::VecDeque;
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
pub(super) struct Given(Box<[GivenTo]>);

impl Given {
    pub(super) fn new(mut given: Vec<GivenTo>) -> Self {
        given.sort_unstable();
        Self(given.into_boxed_slice())
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

    fn bytes(&self) -> usize {
        let of_name = |given: &GivenTo| match given {
            GivenTo::Session(..) => 0,
            GivenTo::Group(name) => {
                size_of::<GroupName>() + name.share_name.len() + name.topic_filter.len()
            }
        };
        OVERHEAD + size_of_val(&*self.0) + self.0.iter().map(of_name).sum::<usize>()
    }
}

/// About what a list takes beside what is in it.
const OVERHEAD: usize = 64;
/// How many bytes of lists a session may have, beyond the one that came last.
const SESSION_BYTES_MAX: usize = 1024 * 1024;
/// How many bytes all sessions of a worker may have: what is beyond takes the place of nothing that
/// another session has.
const WORKER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The refused messages of an MQTT 3.x Client that it sends again, by their Packet Identifiers, and
/// who has them. The one that was refused last is the last.
#[derive(Debug, Default)]
pub(super) struct RefusedMessages {
    lists: VecDeque<(PacketIdentifier, Arc<Given>)>,
    bytes: usize,
}

impl RefusedMessages {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many bytes the lists take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, packet_identifier: PacketIdentifier) -> Option<&Arc<Given>> {
        self.lists.iter().find(|(of, _)| *of == packet_identifier).map(|(_, given)| given)
    }

    fn insert(&mut self, packet_identifier: PacketIdentifier, given: Given) {
        self.remove(packet_identifier);
        self.bytes += given.bytes();
        self.lists.push_back((packet_identifier, Arc::new(given)));
    }

    fn remove(&mut self, packet_identifier: PacketIdentifier) {
        let at = self.lists.iter().position(|(of, _)| *of == packet_identifier);
        if let Some((_, given)) = at.and_then(|at| self.lists.remove(at)) {
            self.bytes -= given.bytes();
        }
        if self.lists.is_empty() {
            self.lists = VecDeque::new();
        }
    }

    /// Forgets the messages that were refused first until there are no more than so many, and what
    /// is left takes no more than `bytes_max`; gives how many went. One alone may take more.
    fn shrink(&mut self, len_max: usize, bytes_max: usize) -> u64 {
        let mut forgotten = 0;
        while self.lists.len() > len_max.max(1) || self.lists.len() > 1 && self.bytes > bytes_max {
            let Some((_, given)) = self.lists.pop_front() else { break };
            self.bytes -= given.bytes();
            forgotten += 1;
        }
        forgotten
    }
}

impl Endpoints {
    /// A QoS 2 message of the Client of a session was refused, and these have it. A Client has no
    /// more than so many of its messages under way; what would take too much memory is forgotten,
    /// the earliest first, and counted: such a message comes twice to those who have it.
    pub(super) fn remember_given(
        &mut self,
        key: SessionKey,
        packet_identifier: PacketIdentifier,
        given: Given,
    ) {
        let len_max = usize::from(self.limits.receive_maximum);
        let refused = &mut self.sessions[key.0].rare().refused;
        let others = self.counters.given_bytes - refused.bytes() as u64;
        let room = usize::try_from(WORKER_BYTES_MAX - others).unwrap_or(usize::MAX);
        self.counters.given_forgotten += if given.bytes() > room {
            refused.remove(packet_identifier);
            1
        } else {
            refused.insert(packet_identifier, given);
            refused.shrink(len_max, room.min(SESSION_BYTES_MAX))
        };
        self.counters.given_bytes = others + refused.bytes() as u64;
    }

    /// What comes with this Packet Identifier is no repetition, or is on its way again.
    pub(super) fn forget_given(&mut self, key: SessionKey, packet_identifier: PacketIdentifier) {
        if let Some(rare) = &mut self.sessions[key.0].rare {
            let bytes = rare.refused.bytes();
            rare.refused.remove(packet_identifier);
            self.counters.given_bytes -= (bytes - rare.refused.bytes()) as u64;
        }
    }
}
