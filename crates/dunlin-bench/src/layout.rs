//! Who publishes what to whom: the Topic Names and Topic Filters of a scenario, and which of the
//! messages each subscriber is owed.
//!
//! The messages of a publisher are numbered from 0. Message `n` belongs to *lane* `n % lanes`: a Topic
//! Name and, with mixed QoS, a QoS. Within a lane the standard promises order [MQTT3-4.6.0-6], so that
//! a subscriber knows the number that has to come next.

use std::ops::Range;

use crate::plan::{Length, Plan, Quality, Scenario};

/// What a client that does not publish is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has its subscriptions all the time, in a Session that outlives its connections if any does.
    Steady,
    /// Its subscription comes and goes.
    Wanderer,
    /// Its Session ends with each of its connections.
    Passing,
    /// It shares a subscription with others.
    Member,
    /// It gets the Wills of all others.
    Watcher,
    /// It sets and deletes retained messages.
    Keeper,
    /// It subscribes to the retained messages anew, again and again.
    Visitor,
}

/// The last clients of a soak, each the only one of its kind.
const GUESTS: [Role; 3] = [Role::Watcher, Role::Keeper, Role::Visitor];

/// Retained messages of a soak.
pub(crate) const RETAINED: u32 = 10;

/// The roles of a run.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    scenario: Scenario,
    /// What all Topic Names begin with.
    root: String,
    /// Clients that publish.
    pub(crate) publishers: u32,
    /// Clients that subscribe, and stay.
    pub(crate) subscribers: u32,
    /// Subscribers of each other kind that a soak has.
    others: u32,
    /// Topic Names of each publisher.
    pub(crate) topics: u32,
    /// The QoS of the messages.
    pub(crate) quality: Quality,
}

/// The part of the messages that a subscriber is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The first of its publishers.
    pub(crate) first_publisher: u32,
    /// How many it has.
    pub(crate) publishers: u32,
    /// The first of their Topic Names that it gets.
    pub(crate) first_topic: u32,
    /// How many of them.
    pub(crate) topics: u32,
}

impl Layout {
    /// The roles that a plan asks for.
    pub(crate) fn new(plan: &Plan) -> Self {
        let topics = match plan.scenario {
            // One for each Session that a publisher serves.
            Scenario::Offline | Scenario::Reconnect => plan.subscribers / plan.publishers.max(1),
            // One for each message.
            Scenario::Retained => match plan.length {
                Length::Messages(messages) => {
                    messages.div_ceil(plan.publishers.max(1).into()).min(u32::MAX.into()) as u32
                }
                Length::Time(_) => plan.topics,
            },
            _ => plan.topics,
        };
        Self {
            scenario: plan.scenario,
            root: format!("{}/{:x}", plan.prefix, plan.run),
            publishers: plan.publishers,
            subscribers: plan.subscribers,
            others: match plan.scenario {
                Scenario::Soak => (plan.subscribers / 10).max(2),
                _ => 0,
            },
            topics,
            quality: plan.quality,
        }
    }

    /// Clients that have messages of the publishers to get.
    pub(crate) fn receivers(&self) -> u32 {
        self.subscribers + 3 * self.others
    }

    /// All clients.
    pub(crate) fn clients(&self) -> u32 {
        let guests = if self.scenario == Scenario::Soak { GUESTS.len() as u32 } else { 0 };
        self.publishers + self.receivers() + guests
    }

    /// What the nth of the clients that do not publish is there for.
    pub(crate) fn role(&self, subscriber: u32) -> Role {
        if let Some(guest) = subscriber.checked_sub(self.receivers()) {
            return GUESTS[guest as usize];
        }
        match subscriber.checked_sub(self.subscribers).map(|nth| nth / self.others) {
            None if self.scenario == Scenario::Shared => Role::Member,
            None => Role::Steady,
            Some(0) => Role::Wanderer,
            Some(1) => Role::Passing,
            Some(_) => Role::Member,
        }
    }

    /// How many subscribers share one subscription.
    pub(crate) fn members(&self) -> u32 {
        if self.is_shared() { self.subscribers } else { self.others }
    }

    /// Number of lanes of each publisher.
    pub(crate) fn lanes(&self) -> u64 {
        u64::from(self.topics) * if self.quality == Quality::Mixed { 3 } else { 1 }
    }

    /// The QoS of the messages of a lane.
    #[inline]
    pub(crate) fn qos(&self, lane: u64) -> u8 {
        match self.quality {
            Quality::All(qos) => qos,
            Quality::Mixed => (lane / u64::from(self.topics)) as u8,
        }
    }

    /// The highest QoS of all messages, which is that of the subscriptions.
    pub(crate) fn qos_max(&self) -> u8 {
        match self.quality {
            Quality::All(qos) => qos,
            Quality::Mixed => 2,
        }
    }

    /// Which Topic Name of its publisher a lane has.
    #[inline]
    pub(crate) fn topic(&self, lane: u64) -> u32 {
        (lane % u64::from(self.topics)) as u32
    }

    /// What a subscriber is owed.
    pub(crate) fn share(&self, subscriber: u32) -> Share {
        let all = Share {
            first_publisher: 0,
            publishers: self.publishers,
            first_topic: 0,
            topics: self.topics,
        };
        match self.scenario {
            Scenario::Soak if self.role(subscriber) == Role::Member => all,
            Scenario::Pairs | Scenario::Wildcards | Scenario::Soak => {
                // In a soak there may be more subscribers than publishers: some get the same.
                let first_publisher = subscriber % self.publishers.max(1);
                Share { first_publisher, publishers: 1, ..all }
            }
            Scenario::Offline | Scenario::Reconnect => Share {
                first_publisher: subscriber / self.topics,
                publishers: 1,
                first_topic: subscriber % self.topics,
                topics: 1,
            },
            _ => all,
        }
    }

    /// The subscribers that are owed some of a publisher's messages, each for itself.
    pub(crate) fn subscribers_of(&self, publisher: u32) -> Vec<u32> {
        let is_owed = |subscriber: &u32| {
            if self.role(*subscriber) == Role::Member {
                return false;
            }
            let share = self.share(*subscriber);
            (share.first_publisher..share.first_publisher + share.publishers).contains(&publisher)
        };
        match self.scenario {
            Scenario::Offline | Scenario::Reconnect => {
                (publisher * self.topics..(publisher + 1) * self.topics).collect()
            }
            Scenario::Pairs | Scenario::Wildcards => vec![publisher],
            _ => (0..self.receivers()).filter(is_owed).collect(),
        }
    }

    /// How many deliveries of each message of a publisher are owed whatever happens: those to
    /// subscribers that stay, and one to a group.
    pub(crate) fn deliveries(&self, publisher: u32) -> u32 {
        match self.scenario {
            Scenario::FanIn | Scenario::FanOut | Scenario::Retained => self.subscribers,
            Scenario::Soak => {
                let (all, each) = (self.subscribers, self.publishers.max(1));
                all / each + u32::from(publisher < all % each) + 1
            }
            Scenario::Connect | Scenario::Idle => 0,
            _ => 1,
        }
    }

    /// Whether there is a group, which has to get each message once.
    pub(crate) fn has_group(&self) -> bool {
        self.members() > 0
    }

    /// Whether all subscribers are one group.
    pub(crate) fn is_shared(&self) -> bool {
        self.scenario == Scenario::Shared
    }

    /// A Topic Name of a publisher.
    pub(crate) fn topic_name(&self, publisher: u32, topic: u32) -> String {
        let root = &self.root;
        match self.scenario {
            Scenario::Wildcards if topic.is_multiple_of(2) => {
                format!("{root}/{publisher}/x/{topic}")
            }
            Scenario::Wildcards => format!("{root}/{publisher}/{topic}/x"),
            _ if self.topics == 1 => format!("{root}/{publisher}"),
            _ => format!("{root}/{publisher}/{topic}"),
        }
    }

    /// Where the Will of a client goes.
    pub(crate) fn will_topic_name(&self, client: u32) -> String {
        format!("{}-wills/{client}", self.root)
    }

    /// The Topic Name of a retained message of a soak.
    pub(crate) fn retained_topic_name(&self, nth: u32) -> String {
        format!("{}-retained/{nth}", self.root)
    }

    /// Number of Topic Filters that a client subscribes to as soon as it is there.
    pub(crate) fn filters(&self, subscriber: u32) -> u32 {
        match (self.scenario, self.role(subscriber)) {
            (Scenario::Connect, _) | (_, Role::Keeper | Role::Visitor) => 0,
            (Scenario::Wildcards | Scenario::Idle, _) => self.topics,
            _ => 1,
        }
    }

    /// All retained messages of a soak.
    pub(crate) fn retained_topic_filter(&self) -> String {
        format!("{}-retained/#", self.root)
    }

    /// Some of the Topic Filters of a subscriber.
    pub(crate) fn topic_filters(&self, subscriber: u32, which: Range<u32>) -> Vec<String> {
        which.map(|nth| self.topic_filter(subscriber, nth)).collect()
    }

    fn topic_filter(&self, subscriber: u32, nth: u32) -> String {
        let (root, share) = (&self.root, self.share(subscriber));
        let publisher = share.first_publisher;
        match self.role(subscriber) {
            Role::Member => return format!("$share/bench/{root}/#"),
            Role::Watcher => return format!("{root}-wills/#"),
            _ => {}
        }
        match self.scenario {
            Scenario::FanIn | Scenario::Retained => format!("{root}/#"),
            Scenario::FanOut if self.publishers > 1 => format!("{root}/#"),
            Scenario::Wildcards if nth.is_multiple_of(2) => format!("{root}/{publisher}/+/{nth}"),
            Scenario::Wildcards => format!("{root}/{publisher}/{nth}/#"),
            Scenario::Idle => format!("{root}/{subscriber}/{nth}"),
            Scenario::Offline | Scenario::Reconnect => {
                self.topic_name(publisher, share.first_topic)
            }
            _ if self.topics == 1 => format!("{root}/{publisher}"),
            _ => format!("{root}/{publisher}/#"),
        }
    }
}
