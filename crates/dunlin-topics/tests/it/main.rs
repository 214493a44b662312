//! The crate from outside: the rules of the standard as vectors, random operations beside a naive
//! model, and limits: depth, breadth, memory after churn.

mod cache;
mod corpus;
mod filter_index;
mod model;
mod name_index;
mod vectors;

use dunlin_topics::{FilterIndex, Match, Subscription};

/// The value of a subscription in these tests: the highest QoS and all Subscription Identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    qos: u8,
    subscription_identifiers: Vec<u32>,
}

impl Options {
    fn new(qos: u8, subscription_identifier: u32) -> Self {
        Self { qos, subscription_identifiers: vec![subscription_identifier] }
    }
}

impl Subscription for Options {
    fn merge(&mut self, other: &Self) {
        self.qos = self.qos.max(other.qos);
        self.subscription_identifiers.extend(&other.subscription_identifiers);
        self.subscription_identifiers.sort_unstable();
    }
}

/// Keys of all subscribers that a Topic Name reaches, one for each subscription, ascending.
fn keys<V>(index: &FilterIndex<u32, V>, topic_name: &str) -> Vec<u32> {
    let mut keys = Vec::new();
    index.for_each_match(topic_name, |found| match found {
        Match::Subscriber(key, _) => keys.push(*key),
        Match::Group(group) => keys.extend(group.members().map(|(key, _)| key)),
    });
    keys.sort_unstable();
    keys
}
