//! Rights: what the rules say that may have been in force at some time.
//!
//! New rules reach each worker when it takes them up. From the moment they are told until all
//! workers go by them, those before and those after are possible; what only some of them allow may
//! happen or not. The rules are read by their naive reference, one after the other.

use super::connections::{Publishing, Subscribing};
use super::messages::Record;
use super::moment::Presence;
use super::names::{FilterId, Names, TopicId};
use super::promise::Promise;
use super::sessions::LifeId;
use super::subscriptions::Version;
use super::{Judge, Rules};
use crate::history::ConnectionId;
use dunlin_broker::core::{Identity, Rules as RightsRules, Subject};
use dunlin_codec::{Connect, QoS, ReasonCode, Text, TopicFilter};
use dunlin_protocol::Instant;
use dunlin_rights::{Action, Covers, reference};
use hashbrown::HashMap;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Who is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SubjectId(usize);

/// The rules that are in force, and those before them.
#[derive(Debug)]
pub(super) struct Rights {
    rules: Vec<InForce>,
    subjects: Vec<Subject>,
    decisions: RefCell<HashMap<Question, Decided>>,
    covers: RefCell<HashMap<(usize, SubjectId, FilterId), Covers>>,
}

/// Which rules are asked about whom, to do what, in which group, with which Topic Name.
type Question = (usize, SubjectId, Action, Option<FilterId>, TopicId);

#[derive(Debug)]
struct InForce {
    rules: Arc<RightsRules>,
    /// From here on a worker may go by them.
    told: Instant,
    /// From here on all do.
    certain: Option<Instant>,
}

/// What rules say about one thing.
#[derive(Clone, Copy, Debug)]
struct Decided {
    is_allowed: bool,
    qos_max: QoS,
    size_max: u32,
}

/// What is asked of a message's publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishAs {
    /// May he publish it, with its RETAIN flag or without?
    Itself,
    /// May it be retained on his behalf?
    Retained,
    /// May he leave it as a Will?
    Will,
}

/// What a receiver may have, by the rules of some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    pub(super) presence: Presence,
    /// The lowest QoS that it may be cut to while it is allowed.
    pub(super) least: QoS,
}

impl Receiving {
    /// Without rules.
    const ALL: Self = Self { presence: Presence::Certain, least: QoS::ExactlyOnce };
    /// When it is not known who is judged.
    const UNSURE: Self = Self { presence: Presence::Possible, least: QoS::AtMostOnce };
}

impl Rights {
    pub(super) fn new(rules: &Rules) -> Option<Self> {
        let rules = rules.rights.clone()?;
        let first = InForce { rules, told: Instant::ZERO, certain: Some(Instant::ZERO) };
        Some(Self {
            rules: vec![first],
            subjects: Vec::new(),
            decisions: RefCell::default(),
            covers: RefCell::default(),
        })
    }

    fn subject(&mut self, subject: Subject) -> SubjectId {
        let known = self.subjects.iter().position(|known| *known == subject);
        SubjectId(known.unwrap_or_else(|| {
            self.subjects.push(subject);
            self.subjects.len() - 1
        }))
    }

    /// The rules that a worker may have gone by at some time between these. Many things happen at
    /// one instant: at that of a change both are possible.
    fn possible(&self, from: Instant, to: Instant) -> RangeInclusive<usize> {
        let is_certain = |known: &InForce| known.certain.is_some_and(|certain| certain < from);
        let first = self.rules.iter().rposition(is_certain).unwrap_or(0);
        let last = self.rules.iter().rposition(|known| known.told <= to).unwrap_or(0);
        first..=last.max(first)
    }

    fn decide(
        &self,
        names: &Names,
        at: usize,
        subject: SubjectId,
        action: Action,
        group: Option<FilterId>,
        topic: TopicId,
    ) -> Decided {
        let (rules, subjects) = (&self.rules[at].rules, &self.subjects);
        *self.decisions.borrow_mut().entry((at, subject, action, group, topic)).or_insert_with(
            || {
                let share_name = group.and_then(|group| share_name(names.filter_text(group)));
                let topic_name = names.topic_text(topic);
                let subject = &subjects[subject.0];
                let found = reference::decide(rules, subject, action, share_name, topic_name);
                let rule = found.map(|at| &rules.rules()[at]);
                Decided {
                    is_allowed: rule.is_some_and(|rule| rule.allows().contains(action)),
                    qos_max: rule.map_or(QoS::AtMostOnce, |rule| rule.caps().qos_max),
                    size_max: rule.map_or(0, |rule| rule.caps().size_max),
                }
            },
        )
    }

    /// What all that may have been in force say together.
    fn together(said: impl Iterator<Item = bool>) -> Presence {
        let (mut any, mut all) = (false, true);
        for is_allowed in said {
            any |= is_allowed;
            all &= is_allowed;
        }
        match (any, all) {
            (false, _) => Presence::Absent,
            (true, false) => Presence::Possible,
            (true, true) => Presence::Certain,
        }
    }

    fn covers(&self, names: &Names, at: usize, subject: SubjectId, filter: FilterId) -> Covers {
        let (rules, subjects) = (&self.rules[at].rules, &self.subjects);
        *self.covers.borrow_mut().entry((at, subject, filter)).or_insert_with(|| {
            let profile = rules.profile(&subjects[subject.0]);
            let filter: Result<TopicFilter, _> = names.filter_text(filter).parse();
            filter.map_or(Covers::No(dunlin_rights::Decision::NO_RULE), |filter| {
                rules.covers(&profile, &filter)
            })
        })
    }
}

/// The Share Name of a Topic Filter.
fn share_name(topic_filter: &str) -> Option<&str> {
    topic_filter.strip_prefix("$share/")?.split('/').next()
}

/// What is said of a SUBSCRIBE's Topic Filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscribable {
    pub(super) presence: Presence,
    /// It is granted with a QoS between these, if it is.
    pub(super) least: QoS,
    pub(super) most: QoS,
}

impl Judge {
    /// Who asks for a connection; `None` without rules.
    pub(super) fn subject_of(&mut self, id: ConnectionId, connect: &Connect) -> Option<SubjectId> {
        let rights = self.rights.as_mut()?;
        let login = self.connections.get(&id).map(|connection| &connection.login);
        let user = login.and_then(|login| login.user.as_deref());
        let identity = Identity::new(user, []).unwrap_or_default();
        let client_identifier: Text = connect.client_identifier.detached();
        Some(rights.subject(Subject::new(Arc::new(identity), client_identifier)))
    }

    pub(super) fn on_rules_changed(&mut self, rules: &Arc<RightsRules>) {
        let told = self.moment.at;
        if let Some(rights) = &mut self.rights {
            rights.rules.push(InForce { rules: rules.clone(), told, certain: None });
        }
    }

    pub(super) fn on_rules_in_force(&mut self, number: u64) {
        let now = self.moment.at;
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(known) = self.rights.as_mut().and_then(|rights| rights.rules.get_mut(place)) {
            known.certain = Some(now);
        }
    }

    fn subject_on(&self, id: ConnectionId) -> Option<SubjectId> {
        self.connections.get(&id)?.subject
    }

    /// Whether who uses a connection may publish this, by the rules between these moments.
    pub(super) fn may_publish(
        &self,
        id: ConnectionId,
        what: PublishAs,
        message: &MessageShape,
        from: Instant,
        to: Instant,
    ) -> Presence {
        let Some(subject) = self.subject_on(id) else { return Presence::Certain };
        let Some(rights) = &self.rights else { return Presence::Certain };
        let mut needed = vec![Action::Publish];
        needed.extend((message.retain || what == PublishAs::Retained).then_some(Action::Retain));
        needed.extend((what == PublishAs::Will).then_some(Action::Will));
        let names = &self.names;
        Rights::together(rights.possible(from, to).map(|at| {
            needed.iter().all(|action| {
                let decided = rights.decide(names, at, subject, *action, None, message.topic);
                decided.is_allowed
                    && message.qos <= decided.qos_max
                    && message.payload_len <= decided.size_max as usize
            })
        }))
    }

    /// The same for a message that is known.
    pub(super) fn may_have_published(
        &self,
        number: u64,
        what: PublishAs,
        from: Instant,
        to: Instant,
    ) -> Presence {
        let Some(record) = self.messages.get(&number) else { return Presence::Certain };
        let (connection, shape) = (record.connection, MessageShape::of(record));
        self.may_publish(connection, what, &shape, from, to)
    }

    /// Whether a session may have messages of a Topic Name, of a group or else by a subscription of
    /// its own, by the rules between these moments.
    pub(super) fn may_receive(
        &self,
        life: LifeId,
        group: Option<FilterId>,
        topic: TopicId,
        from: Instant,
        to: Instant,
    ) -> Receiving {
        let Some(subject) = self.sessions.life(life).subject else { return Receiving::ALL };
        let Some(rights) = &self.rights else { return Receiving::ALL };
        if self.sessions.life(life).is_subject_unsure {
            return Receiving::UNSURE;
        }
        let names = &self.names;
        let mut least = QoS::ExactlyOnce;
        let presence = Rights::together(rights.possible(from, to).map(|at| {
            let decided = rights.decide(names, at, subject, Action::Subscribe, group, topic);
            if decided.is_allowed {
                least = least.min(decided.qos_max);
            }
            decided.is_allowed
        }));
        Receiving { presence, least }
    }

    /// The QoS levels to which what a subscription was granted may be cut for a Topic Name. Where
    /// a rule allows all that its Topic Filter matches, nothing is asked for each message.
    pub(super) fn possible_cuts(
        &self,
        life: LifeId,
        version: &Version,
        topic: TopicId,
        from: Instant,
        to: Instant,
    ) -> [bool; 3] {
        let granted = version.granted;
        let mut cuts = [false; 3];
        let Some(subject) = self.sessions.life(life).subject else {
            cuts[usize::from(granted.value())] = true;
            return cuts;
        };
        let Some(rights) = &self.rights else {
            cuts[usize::from(granted.value())] = true;
            return cuts;
        };
        if self.sessions.life(life).is_subject_unsure {
            return [true; 3];
        }
        let names = &self.names;
        let group = version.is_shared.then_some(version.filter);
        // What was granted is not known before SUBACK.
        let mut grants = vec![granted];
        if version.made.is_none() {
            grants.extend(rights.possible(version.taken.at, version.taken.at).map(|at| {
                let covers = rights.covers(names, at, subject, version.filter);
                granted.min(covers.decision().caps().qos_max)
            }));
        }
        for (at, granted) in rights
            .possible(from, to)
            .flat_map(|at| grants.iter().map(move |granted| (at, *granted)))
        {
            let decided = rights.decide(names, at, subject, Action::Subscribe, group, topic);
            if decided.is_allowed {
                cuts[usize::from(granted.min(decided.qos_max).value())] = true;
            }
            if let Covers::All(decision) = rights.covers(names, at, subject, version.filter)
                && granted <= decision.caps().qos_max
            {
                cuts[usize::from(granted.value())] = true;
            }
        }
        cuts
    }

    /// What a session may be granted of a Topic Filter now.
    pub(super) fn may_subscribe(&self, life: LifeId, filter: FilterId) -> Subscribable {
        let now = self.moment.at;
        let all = Subscribable {
            presence: Presence::Certain,
            least: QoS::ExactlyOnce,
            most: QoS::ExactlyOnce,
        };
        let Some(subject) = self.sessions.life(life).subject else { return all };
        let Some(rights) = &self.rights else { return all };
        if self.sessions.life(life).is_subject_unsure {
            return Subscribable { presence: Presence::Possible, ..all };
        }
        let (mut least, mut most) = (QoS::ExactlyOnce, QoS::AtMostOnce);
        let names = &self.names;
        let presence = Rights::together(rights.possible(now, now).map(|at| {
            let covers = rights.covers(names, at, subject, filter);
            if covers.is_allowed() {
                let qos_max = covers.decision().caps().qos_max;
                (least, most) = (least.min(qos_max), most.max(qos_max));
            }
            covers.is_allowed()
        }));
        Subscribable { presence, least, most }
    }

    /// Since when the broker may have said what it writes now.
    pub(super) fn said_since(&self, id: ConnectionId) -> Instant {
        let blocked = self.connections.get(&id).and_then(|connection| connection.blocked);
        blocked.unwrap_or(self.moment.at)
    }

    /// Since when the broker may have resumed the session of a connection.
    pub(super) fn resumed_since(&self, id: ConnectionId) -> Instant {
        let asked = self.connections.get(&id).and_then(|connection| connection.asked.as_ref());
        asked.map_or(self.moment.at, |asked| asked.taken.at)
    }

    /// Whether what was in flight to a session may have been given up when this connection took it
    /// up, since it may no longer have the message.
    pub(super) fn may_be_given_up(&mut self, id: ConnectionId, number: Option<u64>) -> bool {
        if self.rights.is_none() {
            return false;
        }
        let (Some(number), Some(life)) = (number, self.life_of(id)) else { return true };
        let Some(topic) = self.messages.get(&number).map(|record| record.topic) else {
            return true;
        };
        let (from, now) = (self.resumed_since(id), self.moment.at);
        self.groups_of(life, topic).into_iter().any(|group| {
            self.may_receive(life, group, topic, from, now).presence < Presence::Certain
        })
    }

    /// How messages of a Topic Name may have come to a session: by which groups, and by
    /// subscriptions of its own.
    fn groups_of(&mut self, life: LifeId, topic: TopicId) -> Vec<Option<FilterId>> {
        let mut groups = Vec::new();
        for version in &self.sessions.life(life).versions {
            let group = version.is_shared.then_some(version.filter);
            if !groups.contains(&group) && self.names.matches(version.matching, topic) {
                groups.push(group);
            }
        }
        groups
    }

    /// Whether a session may have got what is sent again to it: when the connection took it up, it
    /// had a right to it by one of its subscriptions.
    pub(super) fn may_be_sent_again(
        &mut self,
        id: ConnectionId,
        life: LifeId,
        number: u64,
    ) -> bool {
        let Some(topic) = self.messages.get(&number).map(|record| record.topic) else {
            return true;
        };
        let (from, now) = (self.resumed_since(id), self.moment.at);
        let groups = self.groups_of(life, topic);
        groups.is_empty()
            || groups.into_iter().any(|group| {
                self.may_receive(life, group, topic, from, now).presence > Presence::Absent
            })
    }
}

/// What rules ask about of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageShape {
    pub(super) topic: TopicId,
    pub(super) qos: QoS,
    pub(super) payload_len: usize,
    pub(super) retain: bool,
}

impl MessageShape {
    fn of(record: &Record) -> Self {
        Self {
            topic: record.topic,
            qos: record.qos,
            payload_len: record.payload.len(),
            retain: record.retain,
        }
    }
}

// ---- what the broker says

impl Judge {
    /// A Will that its Client may not leave, and nothing else of the rights, refuses a CONNECT.
    pub(super) fn judge_connack_rights(
        &mut self,
        id: ConnectionId,
        asked: Instant,
        reason_code: ReasonCode,
    ) {
        if (self.rights.is_none() && self.rules.login_limit.is_none()) || self.is_stranger(id) {
            return;
        }
        let is_let_in = self.is_let_in(id);
        let will = self.connections.get(&id).and_then(|connection| connection.will.as_ref());
        let number = will.map(|will| will.number);
        let now = self.moment.at;
        let right = number.map_or(Presence::Certain, |number| {
            self.may_have_published(number, PublishAs::Will, asked, now)
        });
        let text = match right {
            Presence::Absent if !reason_code.is_error() => {
                format!("Will {number:?} is taken, and the rules forbid it")
            }
            Presence::Certain
                if reason_code == ReasonCode::NotAuthorized
                    && is_let_in
                    && !self.may_be_late(id)
                    && !self.may_be_foreign(id) =>
            {
                "CONNECT is refused, and the rules allow it".to_owned()
            }
            _ => return,
        };
        self.breach(Promise::Rights, &[id], text);
    }

    /// Each Topic Filter is granted or refused as the rules say.
    pub(super) fn judge_suback_rights(
        &mut self,
        id: ConnectionId,
        life: LifeId,
        asked: &Subscribing,
        reason_codes: &[ReasonCode],
    ) {
        if self.rights.is_none() || self.is_stranger(id) {
            return;
        }
        for ((at, right), reason_code) in asked.versions.iter().zip(&asked.rights).zip(reason_codes)
        {
            let version = &self.sessions.life(life).versions[*at];
            let (filter, wanted) = (version.filter, version.options.maximum_qos);
            let what = match (right.presence, QoS::new(reason_code.value())) {
                (Presence::Absent, Some(_)) => "is granted, and the rules forbid it",
                (Presence::Certain, None) if *reason_code == ReasonCode::NotAuthorized => {
                    "is refused, and the rules allow it"
                }
                (_, Some(granted)) if granted > right.most => {
                    "is granted with a higher QoS than the rules allow"
                }
                (Presence::Certain, Some(granted)) if granted < wanted.min(right.least) => {
                    "is granted with a lower QoS than the rules allow"
                }
                _ => continue,
            };
            let text = format!("{} {what}", self.names.filter_text(filter));
            self.breach(Promise::Rights, &[id], text);
        }
    }

    /// A PUBLISH is taken or refused as the rules say.
    pub(super) fn judge_puback_rights(
        &mut self,
        id: ConnectionId,
        publishing: &Publishing,
        reason_code: ReasonCode,
    ) {
        if self.is_stranger(id) {
            return;
        }
        let what = match publishing.right {
            Presence::Absent if !reason_code.is_error() => "is taken, and the rules forbid it",
            Presence::Certain if reason_code == ReasonCode::NotAuthorized => {
                "is refused, and the rules allow it"
            }
            _ => return,
        };
        let text = match publishing.number {
            Some(number) => format!("message {number} {what}"),
            None => format!("a message {what}"),
        };
        self.breach(Promise::Rights, &[id], text);
    }
}
