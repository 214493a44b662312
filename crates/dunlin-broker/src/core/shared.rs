//! Shared Subscriptions: which member gets a message, and what becomes of the messages of a
//! member that goes away. Spec: §4.8.2.

use super::GroupName;
use super::endpoints::{Endpoints, Load};
use super::forward::{Forward, Forwarded, OwedTo, PublishNumber, Receiver, WhenFull};
use super::given::GivenTo;
use super::granted::{Granted, SessionKey, Subscriber, SubscriberKey};
use super::outgoing::Outgoing;
use super::pending::LeftToGroup;
use super::publish::Routed;
use super::routing::{Routing, Turns};
use super::workers::InterestState;
use super::{Core, DropCause, WorkerNumber};
use dunlin_protocol::codec::QoS;
use dunlin_protocol::{InFlightState, Instant, Message};
use dunlin_topics::{FilterIndex, Group, GroupId};
use std::sync::Arc;

/// So many members are compared for the least load; in larger groups the turn moves on.
const COMPARED_MEMBERS: usize = 16;

/// Whom a message of a group goes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chosen {
    /// A session of this worker, which has so much to do before.
    Session(SessionKey, Load),
    Worker(WorkerNumber),
}

/// Whom a message goes to, of each group that it is for. There is seldom more than one.
#[derive(Debug, Default)]
pub(super) struct ChosenMembers {
    first: Option<(GroupId, Option<Chosen>)>,
    others: Vec<(GroupId, Option<Chosen>)>,
}

impl ChosenMembers {
    /// One of each of these groups.
    pub(super) fn of(groups: &[GroupId], choice: &Choice<'_>) -> Self {
        let mut members = groups.iter().map(|id| (*id, choice.member(*id)));
        Self { first: members.next(), others: members.collect() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupId, Option<Chosen>)> + '_ {
        self.first.iter().chain(&self.others).copied()
    }
}

impl Core {
    /// Gives a message to one member of a group.
    pub(super) fn route_to_group(
        &mut self,
        now: Instant,
        id: GroupId,
        outgoing: &Outgoing<'_>,
        answer: Option<PublishNumber>,
        routed: &mut Routed,
    ) {
        let chosen = self.choice(&outgoing.message.topic_name).member(id);
        self.route_to_member(now, id, chosen, outgoing, answer, routed);
    }

    fn choice<'a>(&'a self, topic_name: &'a str) -> Choice<'a> {
        let Routing { index, turns, .. } = &self.routing;
        Choice::new(index, turns, &self.interest, &self.endpoints, topic_name)
    }

    /// Gives a message to the member of a group that was chosen.
    pub(super) fn route_to_member(
        &mut self,
        now: Instant,
        id: GroupId,
        chosen: Option<Chosen>,
        outgoing: &Outgoing<'_>,
        answer: Option<PublishNumber>,
        routed: &mut Routed,
    ) {
        let Some(group) = self.routing.index.group(id) else { return };
        if outgoing.was_given(|| GivenTo::Group(group.name().clone())) {
            routed.outcome.matched = true;
            routed.receivers.push(Receiver::Given(GivenTo::Group(group.name().clone())));
            return;
        }
        let turn = self.routing.turns.entry(id).or_default();
        turn.count = turn.count.wrapping_add(1);
        match chosen {
            Some(Chosen::Session(session, load)) => {
                turn.had(session, load);
                self.deliver_to_member(now, id, session, outgoing, routed);
            }
            Some(Chosen::Worker(worker)) => {
                // With rules it answers whether a member there may have it.
                routed.outcome.matched |= self.endpoints.rights.is_none();
                routed.workers += u32::from(answer.is_some());
                let forwarded = Forwarded {
                    message: outgoing.keep().clone(),
                    group: Some(group.name().clone()),
                    taken_by: self.worker,
                    answer,
                    is_tentative: outgoing.is_tentative,
                    when_full: outgoing.when_full,
                    durability: outgoing.durability,
                    given: None,
                    denied_at: Vec::new(),
                };
                self.outbox.push(worker, Forward::Publish(forwarded));
            }
            None => self.endpoints.counters.drop_one(DropCause::NoMember),
        }
    }

    /// Whether a member of this worker that is to have a message would refuse it.
    pub(super) fn members_would_refuse(&mut self, now: Instant, outgoing: &Outgoing<'_>) -> bool {
        self.routing.look_up(outgoing);
        let groups = self.routing.cache.found().groups();
        if groups.is_empty() {
            return false;
        }
        let choice = || self.choice(&outgoing.message.topic_name);
        let members = outgoing.members.get_or_init(|| ChosenMembers::of(groups, &choice()));
        members.iter().any(|(id, chosen)| match chosen {
            Some(Chosen::Session(session, _)) => {
                self.member_would_refuse(now, id, session, outgoing)
            }
            Some(Chosen::Worker(_)) | None => false,
        })
    }

    fn member_would_refuse(
        &mut self,
        now: Instant,
        id: GroupId,
        session: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let Some(group) = self.routing.index.group(id) else { return false };
        if outgoing.was_given(|| GivenTo::Group(group.name().clone())) {
            return false;
        }
        let granted = group.get(SubscriberKey::session(session));
        granted.is_some_and(|granted| granted.maximum_qos > QoS::AtMostOnce)
            && self.endpoints.would_refuse(now, session, outgoing)
    }

    /// Whether the member of this worker that is to have a forwarded message would refuse it.
    pub(super) fn shared_would_refuse(
        &mut self,
        now: Instant,
        name: &GroupName,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        self.choose_here(name, &outgoing.message.topic_name)
            .is_some_and(|(id, session, _)| self.member_would_refuse(now, id, session, outgoing))
    }

    /// The member of this worker that is to have the next message of a group.
    fn choose_here(
        &self,
        name: &GroupName,
        topic_name: &str,
    ) -> Option<(GroupId, SessionKey, Load)> {
        let group = self.routing.index.shared(&name.share_name, &name.topic_filter)?;
        let (session, load) = self.choice(topic_name).session(group)?;
        Some((group.id(), session, load))
    }

    fn deliver_to_member(
        &mut self,
        now: Instant,
        id: GroupId,
        session: SessionKey,
        outgoing: &Outgoing<'_>,
        routed: &mut Routed,
    ) {
        let Some(group) = self.routing.index.group(id) else { return };
        let Some(granted) = group.get(SubscriberKey::session(session)) else { return };
        let retain = granted.retain_as_published && outgoing.message.retain;
        let name = Some(group.name());
        let delivered = self.endpoints.deliver(now, session, granted, outgoing, retain, name);
        routed.add(&self.endpoints, self.worker, session, name, delivered);
    }

    /// A message of a group that another worker gives to a member here. When the last member here
    /// left while the message was on its way, or none may have it, it goes on to a worker that has
    /// one. That ends: each worker on the way has told the next one, before the message, that it has
    /// none, or is named with the message as one where it is denied.
    pub(super) fn deliver_shared(
        &mut self,
        now: Instant,
        mut forwarded: Forwarded,
        name: &GroupName,
    ) {
        let mut routed = Routed::default();
        match self.choose_here(name, &forwarded.message.topic_name) {
            Some((id, session, load)) => {
                self.routing.turns.entry(id).or_default().had(session, load);
                let outgoing = forwarded.outgoing();
                self.deliver_to_member(now, id, session, &outgoing, &mut routed);
            }
            None => {
                let group = self.routing.index.shared(&name.share_name, &name.topic_filter);
                if self.endpoints.rights.is_some() {
                    forwarded.denied_at.push(self.worker);
                }
                let denied_at = &forwarded.denied_at;
                if let Some(worker) = group.and_then(|group| a_worker(group, denied_at)) {
                    // It may arrive after the news that its publisher has gone, and must not wait
                    // then.
                    let when_full = match forwarded.when_full {
                        WhenFull::Hold(_) => WhenFull::Exceed,
                        when_full => when_full,
                    };
                    let forwarded = Forwarded { when_full, ..forwarded };
                    self.outbox.push(worker, Forward::Publish(forwarded));
                    return;
                }
                self.endpoints.counters.drop_one(DropCause::NoMember);
            }
        }
        self.answer_forwarded(now, &forwarded, routed);
    }

    /// A member has gone away: what it has not acknowledged of its groups' messages goes to other
    /// members that are connected, or to any when its session ends. QoS 2 messages that were sent
    /// stay with it [MQTT-4.8.2-5]; those that wait for the store before they are sent are left
    /// when its session ends.
    pub(super) fn hand_on(&mut self, now: Instant, key: SessionKey, session_ends: bool) {
        let messages = self.take_group_messages(key, session_ends);
        if messages.is_empty() {
            // What follows shares the identifier, which costs memory for good.
            return;
        }
        let client_identifier = self.endpoints.sessions[key.0].client_identifier.clone();
        let generation = self.endpoints.sessions.generation(key.0);
        for GroupMessage { group, message, tentative } in messages {
            match tentative {
                // Withdrawn, it comes again, for the whole group.
                Some(number) => {
                    let left = LeftToGroup {
                        client_identifier: client_identifier.clone(),
                        group,
                        message,
                    };
                    self.pending.left_to_groups.insert((key, generation, number), left);
                }
                None => self.pass_on(now, &client_identifier, None, &message, Some(&group), None),
            }
        }
    }

    /// What these sessions, or those that have ended, owed tentatively is owed.
    pub(super) fn handle_confirmed(&mut self, now: Instant, owed: &OwedTo) {
        self.endpoints.confirm(now, owed);
        if let Some(left) = self.pending.take_left(owed) {
            let LeftToGroup { client_identifier, group, message } = left;
            self.pass_on(now, &client_identifier, None, &message, Some(&group), None);
        }
    }

    /// What these sessions, or those that have ended, owed tentatively is not owed after all.
    pub(super) fn handle_withdrawn(&mut self, now: Instant, owed: &OwedTo) {
        self.endpoints.withdraw(now, owed);
        self.pending.take_left(owed);
    }

    /// Takes out of a session that is away the messages that others can have, in their order.
    fn take_group_messages(&mut self, key: SessionKey, session_ends: bool) -> Vec<GroupMessage> {
        let session = &self.endpoints.sessions[key.0];
        let noted: Vec<_> = match &session.rare {
            Some(rare) => rare
                .notes
                .iter()
                .filter_map(|(identifier, note)| {
                    Some((identifier, note.group.clone()?, note.unsent))
                })
                .collect(),
            None => Vec::new(),
        };
        let mut taken = Vec::new();
        if !noted.is_empty() {
            let in_flight: Vec<_> = session
                .exchanges
                .iter()
                .flat_map(|exchanges| exchanges.in_flight())
                .filter_map(|exchange| {
                    let (_, group, unsent) = noted
                        .iter()
                        .find(|(identifier, ..)| *identifier == exchange.packet_identifier)?;
                    let is_movable = match exchange.state {
                        InFlightState::AwaitingPubAck => {
                            session_ends || self.has_connected_member(group)
                        }
                        InFlightState::AwaitingPubRec => session_ends && *unsent,
                        _ => false,
                    };
                    let message = exchange.message.clone().filter(|_| is_movable)?;
                    Some((exchange.packet_identifier, group.clone(), message))
                })
                .collect();
            for (identifier, group, message) in in_flight {
                self.endpoints.give_up(key, identifier);
                taken.push(GroupMessage { group, message, tentative: None });
            }
        }
        let group_of = |queued: &super::queue::Queued| {
            queued.note.as_ref().and_then(|note| note.group.clone())
        };
        let mut movable: Vec<Arc<GroupName>> = self
            .endpoints
            .queued_groups(key)
            .into_iter()
            .filter(|group| session_ends || self.has_connected_member(group))
            .collect();
        movable.sort_unstable();
        if !movable.is_empty() {
            let queued = self.endpoints.extract_queued(key, |queued| {
                // What is tentative is not its to give, unless it goes.
                (session_ends || !queued.is_tentative())
                    && group_of(queued).is_some_and(|group| movable.binary_search(&group).is_ok())
            });
            taken.extend(queued.into_iter().filter_map(|queued| {
                let group = group_of(&queued)?;
                let note = queued.note.as_deref().filter(|note| note.tentative);
                let tentative = note.and_then(|note| note.number);
                Some(GroupMessage { group, message: queued.message, tentative })
            }));
        }
        taken
    }

    fn has_connected_member(&self, group: &GroupName) -> bool {
        self.interest.connected(group) > 0
            || self
                .routing
                .index
                .shared(&group.share_name, &group.topic_filter)
                .is_some_and(|group| workers(group).any(|(_, connected)| connected > 0))
    }
}

/// A message of a Shared Subscription that a member can't get.
struct GroupMessage {
    group: Arc<GroupName>,
    message: Arc<Message>,
    /// Its number within the session, if it was not yet decided whether the message is owed.
    tentative: Option<u64>,
}

/// All that the choice of a member depends on.
pub(super) struct Choice<'a> {
    index: &'a FilterIndex<SubscriberKey, Granted>,
    turns: &'a Turns,
    interest: &'a InterestState,
    endpoints: &'a Endpoints,
    topic_name: &'a str,
}

impl<'a> Choice<'a> {
    pub(super) const fn new(
        index: &'a FilterIndex<SubscriberKey, Granted>,
        turns: &'a Turns,
        interest: &'a InterestState,
        endpoints: &'a Endpoints,
        topic_name: &'a str,
    ) -> Self {
        Self { index, turns, interest, endpoints, topic_name }
    }

    /// Whom the next message of a group goes to: turns go over the workers by how many connected
    /// members they have.
    fn member(&self, id: GroupId) -> Option<Chosen> {
        let group = self.index.group(id)?;
        if group.has_worker() {
            let count = self.turns.get(&id).map_or(0, |turn| turn.count).wrapping_add(1);
            let connected_here = self.interest.connected(group.name());
            if let Some(worker) = worker_in_turn(group, connected_here, count) {
                return Some(Chosen::Worker(worker));
            }
        }
        let session = self.session(group).map(|(session, load)| Chosen::Session(session, load));
        session.or_else(|| a_worker(group, &[]).map(Chosen::Worker))
    }

    /// The member of this worker that is to have the next message: connected before away, the least
    /// in flight first, and among equals in turn.
    ///
    /// The least is what the one before had to do, while somebody has no more than that: then not
    /// all need to be asked. Whoever has become less busy meanwhile is found within one round.
    fn session(&self, group: &Group<SubscriberKey, Granted>) -> Option<(SessionKey, Load)> {
        let turn = self.turns.get(&group.id());
        let (last, enough) = turn.map_or_else(Default::default, |turn| (turn.last, turn.load));
        let mut best: Option<(SessionKey, Load)> = None;
        let mut compared = 0;
        for (key, _) in group.members_after(last) {
            let Subscriber::Session(session) = key.subscriber() else { continue };
            if !self.endpoints.is_eligible(session, self.topic_name, group.name()) {
                continue;
            }
            let load = self.endpoints.load(session);
            if best.is_none_or(|(_, least)| load < least) {
                best = Some((session, load));
            }
            compared += 1;
            let may_end = best.is_some_and(|(_, least)| !least.is_away);
            if may_end && (load <= enough || compared >= COMPARED_MEMBERS) {
                break;
            }
        }
        best
    }
}

/// The other workers that have members, each with how many are connected.
fn workers(group: &Group<SubscriberKey, Granted>) -> impl Iterator<Item = (WorkerNumber, u32)> {
    group.members().filter_map(|(key, granted)| match key.subscriber() {
        Subscriber::Worker(worker) => Some((worker, granted.connected)),
        Subscriber::Session(_) => None,
    })
}

/// The worker whose turn it is, when turns go over all connected members; `None` for this one.
fn worker_in_turn(
    group: &Group<SubscriberKey, Granted>,
    connected_here: u32,
    turn: u32,
) -> Option<WorkerNumber> {
    let elsewhere: u32 = workers(group).map(|(_, connected)| connected).sum();
    let mut at = turn.checked_rem(connected_here + elsewhere)?.checked_sub(connected_here)?;
    for (worker, connected) in workers(group) {
        match at.checked_sub(connected) {
            None => return Some(worker),
            Some(rest) => at = rest,
        }
    }
    None
}

/// A worker that has members, one with connected ones before others, and none of these.
fn a_worker(
    group: &Group<SubscriberKey, Granted>,
    except: &[WorkerNumber],
) -> Option<WorkerNumber> {
    let others = || workers(group).filter(|(worker, _)| !except.contains(worker));
    let with_connected = others().find(|(_, connected)| *connected > 0);
    with_connected.or_else(|| others().next()).map(|(worker, _)| worker)
}

trait HasWorker {
    /// Whether members are with other workers: theirs are the last keys in order.
    fn has_worker(&self) -> bool;
}

impl HasWorker for Group<SubscriberKey, Granted> {
    fn has_worker(&self) -> bool {
        self.last_member().is_some_and(|(key, _)| matches!(key.subscriber(), Subscriber::Worker(_)))
    }
}
