//! What the Clients of this worker may do: asked when they publish, subscribe and leave a Will, and
//! again whenever something that was allowed once is used.
//!
//! Without rules nothing of this exists, and each of these places costs one look at an `Option`.

use super::counters::DropCause;
use super::endpoints::Endpoints;
use super::granted::SessionKey;
use super::login::Who;
use super::session::Note;
use super::{Core, GroupName, Record, RecordNumber};
use dunlin_protocol::codec::{QoS, Text, TopicFilter};
use dunlin_protocol::{InFlightState, Instant, Message};
use dunlin_rights::{Covers, Profile, PublishVerdict, Rules, Subject};
use std::sync::Arc;

/// The rules in force, and what of them concerns each session.
#[derive(Debug)]
pub(super) struct Rights {
    rules: Arc<Rules>,
    /// By the place of the session. `None` if it is not known whose a session is: it was stored
    /// while there were no rules, and is judged once somebody takes it up.
    accesses: Vec<Option<Box<Access>>>,
}

/// What a session may do.
#[derive(Debug)]
struct Access {
    subject: Arc<Subject>,
    profile: Profile,
    /// Whether its subscriptions match more than it may have, so that each message is asked about.
    asks: bool,
    /// The Topic Name that it has published to last, and what was said about that.
    last_name: String,
    last: Option<PublishVerdict>,
}

impl Access {
    fn new(rules: &Rules, subject: Arc<Subject>, subscriptions: &[TopicFilter]) -> Self {
        let profile = rules.profile(&subject);
        let mut access =
            Self { subject, profile, asks: false, last_name: String::new(), last: None };
        access.look_at(rules, subscriptions);
        access
    }

    /// Makes it fit rules that are newer than it is.
    fn renew(&mut self, rules: &Rules, subscriptions: &[TopicFilter]) {
        if !self.profile.is_current(rules) {
            self.profile = rules.profile(&self.subject);
            self.last = None;
            self.look_at(rules, subscriptions);
        }
    }

    /// Finds out whether subscriptions that were granted before need a question for each message:
    /// some of what they match is denied now, or not allowed with every QoS.
    fn look_at(&mut self, rules: &Rules, subscriptions: &[TopicFilter]) {
        self.asks = subscriptions.iter().any(|topic_filter| {
            let covers = rules.covers(&self.profile, topic_filter);
            !matches!(covers, Covers::All(_)) || covers.decision().caps().qos_max < QoS::ExactlyOnce
        });
    }

    fn publish(&mut self, rules: &Rules, topic_name: &str) -> PublishVerdict {
        if self.last_name == topic_name
            && let Some(verdict) = self.last
        {
            return verdict;
        }
        let verdict = rules.publish(&self.profile, topic_name);
        self.last_name.clear();
        self.last_name.push_str(topic_name);
        self.last = Some(verdict);
        verdict
    }

    /// The highest QoS of a message that it may receive; `None` if it may not.
    fn receive(&self, rules: &Rules, topic_name: &str, group: Option<&GroupName>) -> Option<QoS> {
        let share_name = group.map(|group| &*group.share_name);
        let decision = rules.receive(&self.profile, share_name, topic_name);
        decision.is_allowed().then(|| decision.caps().qos_max)
    }
}

impl Rights {
    pub(super) const fn new(rules: Arc<Rules>) -> Self {
        Self { rules, accesses: Vec::new() }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    fn access(&self, key: SessionKey) -> Option<&Access> {
        self.accesses.get(key.0 as usize)?.as_deref()
    }

    /// Who uses a session, or did last.
    pub(super) fn subject(&self, key: SessionKey) -> Option<&Arc<Subject>> {
        self.access(key).map(|access| &access.subject)
    }

    fn set(&mut self, key: SessionKey, access: Option<Box<Access>>) {
        let at = key.0 as usize;
        if self.accesses.len() <= at && access.is_some() {
            self.accesses.resize_with(at + 1, || None);
        }
        if let Some(place) = self.accesses.get_mut(at) {
            *place = access;
        }
    }

    fn is_eligible(&self, key: SessionKey, topic_name: &str, group: &GroupName) -> bool {
        let Some(access) = self.access(key) else { return true };
        // New rules have renewed all members.
        debug_assert!(access.profile.is_current(&self.rules), "a member's rights are those of now");
        !access.asks || access.receive(&self.rules, topic_name, Some(group)).is_some()
    }

    fn is_wanted(&self, key: SessionKey, topic_name: &str) -> bool {
        let Some(access) = self.access(key) else { return true };
        if !access.profile.is_current(&self.rules) {
            let access = Access::new(&self.rules, access.subject.clone(), &[]);
            return access.receive(&self.rules, topic_name, None).is_some();
        }
        !access.asks || access.receive(&self.rules, topic_name, None).is_some()
    }

    /// A session has ended.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.set(key, None);
    }
}

/// Whether a retained message may still stand in for its publisher.
pub(super) fn may_retain(rules: &Rules, subject: &Subject, message: &Message) -> bool {
    let verdict = rules.publish(&rules.profile(subject), &message.topic_name);
    verdict.check(message.qos, message.payload.len(), true).is_ok()
}

impl Endpoints {
    /// Who uses a session, or did last, if there are rules and it is known.
    pub(super) fn subject(&self, key: SessionKey) -> Option<&Arc<Subject>> {
        self.rights.as_ref()?.subject(key)
    }

    /// From now on a session is used by this one; without rules nobody asks.
    pub(super) fn set_subject(&mut self, key: SessionKey, subject: Arc<Subject>) {
        if let Some(rights) = &mut self.rights {
            let subscriptions = &self.sessions[key.0].subscriptions;
            let access = Access::new(&rights.rules, subject, subscriptions);
            rights.set(key, Some(Box::new(access)));
        }
    }

    /// What a session may do by the rules of now.
    fn access(&mut self, key: SessionKey) -> Option<(&mut Access, &Rules)> {
        let rights = self.rights.as_deref_mut()?;
        let access = rights.accesses.get_mut(key.0 as usize)?.as_deref_mut()?;
        access.renew(&rights.rules, &self.sessions[key.0].subscriptions);
        Some((access, &rights.rules))
    }

    /// Whether the rules let a session publish this message.
    #[inline(never)]
    pub(super) fn may_publish(&mut self, key: SessionKey, message: &Message) -> bool {
        // Who publishes is known: it has come in under these rules or earlier ones.
        let Some((access, rules)) = self.access(key) else { return self.rights.is_none() };
        let verdict = access.publish(rules, &message.topic_name);
        verdict.check(message.qos, message.payload.len(), message.retain).is_ok()
    }

    /// What a session is granted by a subscription: the QoS that it asks for, or a lower one; or
    /// nothing.
    pub(super) fn may_subscribe(
        &mut self,
        key: SessionKey,
        topic_filter: &TopicFilter,
        asked: QoS,
    ) -> Option<QoS> {
        let Some((access, rules)) = self.access(key) else {
            return self.rights.is_none().then_some(asked);
        };
        let covers = rules.covers(&access.profile, topic_filter);
        access.asks |= matches!(covers, Covers::Holes(_));
        covers.is_allowed().then(|| asked.min(covers.decision().caps().qos_max))
    }

    /// The highest QoS with which a session may have a message that one of its subscriptions
    /// matches; `None` if it may not have it.
    #[inline(never)]
    pub(super) fn may_have(
        &mut self,
        key: SessionKey,
        topic_name: &str,
        group: Option<&GroupName>,
    ) -> Option<QoS> {
        match self.access(key) {
            Some((access, rules)) if access.asks => access.receive(rules, topic_name, group),
            _ => Some(QoS::ExactlyOnce),
        }
    }

    /// Whether a member may have a message of its group, as [`Endpoints::may_have`] will say.
    #[inline]
    pub(super) fn is_eligible(&self, key: SessionKey, topic_name: &str, group: &GroupName) -> bool {
        match &self.rights {
            None => true,
            Some(rights) => rights.is_eligible(key, topic_name, group),
        }
    }

    /// Whether a subscription of a session gets this message to it, if it matches.
    pub(super) fn is_wanted(&self, key: SessionKey, topic_name: &str) -> bool {
        let Some(rights) = &self.rights else { return true };
        rights.is_wanted(key, topic_name)
    }

    /// Whether a message that waited for a session may still be sent to it. Other rules may have
    /// been in force when it came, and the subscription that it came by may be gone.
    pub(super) fn may_still_have(
        &mut self,
        key: SessionKey,
        message: &Message,
        note: &Note,
    ) -> bool {
        match self.access(key) {
            None => true,
            Some((access, rules)) => {
                access.receive(rules, &message.topic_name, note.group.as_deref()).is_some()
            }
        }
    }

    /// Whether the message at the front of a queue may not be sent any more.
    #[inline(never)]
    pub(super) fn is_front_denied(&mut self, key: SessionKey) -> bool {
        let Some(front) = self.sessions[key.0].queue.front() else { return false };
        let message = front.message.clone();
        let note = front.note.as_deref().cloned().unwrap_or_default();
        !self.may_still_have(key, &message, &note)
    }
}

impl Core {
    /// New rules are in force from now on, for open connections as well. What was allowed before is
    /// judged anew where it is used: subscriptions, Wills, retained messages and what waits for
    /// somebody. Without rules from the start ([`CoreConfig::rights`](super::CoreConfig::rights))
    /// nothing changes.
    ///
    /// Costs a microsecond or so for each member of a Shared Subscription, and for every other
    /// session when it is used next. These rules need another
    /// [generation](Rules::with_generation) than those before.
    pub fn handle_rules(&mut self, now: Instant, rules: Arc<Rules>) {
        let Some(rights) = &mut self.endpoints.rights else { return };
        rights.rules = rules;
        let members: Vec<SessionKey> = self
            .endpoints
            .sessions
            .indices()
            .filter(|index| {
                let session = &self.endpoints.sessions[*index];
                session.subscriptions.iter().any(|filter| filter.share_name().is_some())
                    || session.queue.groups().next().is_some()
            })
            .map(SessionKey)
            .collect();
        // All of them before one hands something on.
        for key in &members {
            self.endpoints.access(*key);
        }
        for key in members {
            self.hand_on_denied(now, key);
        }
    }

    /// Who a Client is by the rules, if there are any.
    pub(super) fn subject_of(&self, who: &Who, client_identifier: &Text) -> Option<Arc<Subject>> {
        self.endpoints.rights.as_ref()?;
        let mut subject = Subject::new(who.identity.clone(), client_identifier.detached());
        if let Some(address) = who.address {
            subject = subject.with_address(address);
        }
        if let Some(listener) = &who.listener {
            subject = subject.with_listener(listener.clone());
        }
        Some(Arc::new(subject))
    }

    /// Whether somebody may leave this message as a Will.
    pub(super) fn may_leave(&self, subject: &Subject, will: &Message) -> bool {
        let Some(rights) = &self.endpoints.rights else { return true };
        let verdict = rights.rules.publish(&rights.rules.profile(subject), &will.topic_name);
        verdict.check_will(will.qos, will.payload.len(), will.retain).is_ok()
    }

    /// Whether the Will of a session may be published now. One of which nobody knows whose it is
    /// counts as that of an anonymous Client.
    pub(super) fn is_will_allowed(&self, key: SessionKey, will: &Message) -> bool {
        if self.endpoints.rights.is_none() {
            return true;
        }
        match self.endpoints.subject(key) {
            Some(subject) => self.may_leave(subject, will),
            None => {
                let client_identifier = self.endpoints.sessions[key.0].client_identifier.clone();
                self.may_leave(&Subject::new(Arc::default(), client_identifier), will)
            }
        }
    }

    /// Messages of groups that wait for a session which may no longer have them go to other members.
    pub(super) fn hand_on_denied(&mut self, now: Instant, key: SessionKey) {
        if self.endpoints.queued_groups(key).is_empty() || self.endpoints.access(key).is_none() {
            return;
        }
        let Some(rights) = self.endpoints.rights.take() else { return };
        let denied = self.endpoints.extract_queued(key, |queued| {
            let group = queued.note.as_deref().and_then(|note| note.group.as_deref());
            let topic_name = &queued.message.topic_name;
            let is_denied =
                |access: &Access| access.receive(&rights.rules, topic_name, group).is_none();
            !queued.is_tentative() && group.is_some() && rights.access(key).is_some_and(is_denied)
        });
        self.endpoints.rights = Some(rights);
        let client_identifier = self.endpoints.sessions[key.0].client_identifier.clone();
        for queued in denied {
            if let Some(group) = queued.note.and_then(|note| note.group) {
                self.pass_on(now, &client_identifier, None, &queued.message, Some(&group), None);
            }
        }
    }

    /// A session goes on with a connection: what was in flight and may no longer be sent is given up,
    /// and what came by a group goes to another member.
    ///
    /// Of a QoS 2 message the PUBREL is sent all the same, as if it had been received: if it was,
    /// its Client holds the Packet Identifier until then and would take the next message with it
    /// for a repetition. Gives the record that must be stored before that.
    #[must_use]
    pub(super) fn give_up_denied(&mut self, now: Instant, key: SessionKey) -> Option<RecordNumber> {
        self.endpoints.subject(key)?;
        let mut last_taken = None;
        self.hand_on_denied(now, key);
        let session = &self.endpoints.sessions[key.0];
        let exchanges = session.exchanges.iter().flat_map(|exchanges| exchanges.in_flight());
        let waiting: Vec<_> = exchanges
            .filter_map(|exchange| {
                let message = exchange.message.clone()?;
                Some((exchange.packet_identifier, exchange.state, message))
            })
            .collect();
        let client_identifier = session.client_identifier.clone();
        for (packet_identifier, state, message) in waiting {
            let rare = self.endpoints.sessions[key.0].rare.as_deref();
            let note = rare.and_then(|rare| rare.notes.get(packet_identifier));
            let note = note.cloned().unwrap_or_default();
            if self.endpoints.may_still_have(key, &message, &note) {
                continue;
            }
            if state == InFlightState::AwaitingPubRec {
                self.endpoints.drop_for(key, DropCause::NotAllowed);
                let session = &mut self.endpoints.sessions[key.0];
                session.exchanges_mut().forgo_message(packet_identifier);
                if let Some(number) = note.number {
                    let client_identifier = client_identifier.clone();
                    let taken = self.endpoints.record(Record::Taken { client_identifier, number });
                    let rare = self.endpoints.sessions[key.0].rare();
                    if let Some(note) = rare.notes.get_mut(packet_identifier) {
                        note.taken = Some(taken);
                    }
                    last_taken = Some(taken);
                }
                continue;
            }
            self.endpoints.give_up(key, packet_identifier);
            match &note.group {
                Some(group) => {
                    self.pass_on(now, &client_identifier, None, &message, Some(group), None);
                }
                None => self.endpoints.drop_for(key, DropCause::NotAllowed),
            }
        }
        last_taken
    }
}
