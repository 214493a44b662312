//! Bodies of fuzz targets: they panic where an index and the reference matcher disagree.

use crate::reference::matches;
use crate::{
    FilterIndex, MatchCache, NameIndex, Page, PageLimit, Recipients, Subscription, topic_matches,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One Topic Filter and one Topic Name, separated by the first line feed: all matchers agree.
pub fn filter(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let (topic_filter, topic_name) = text.split_once('\n').unwrap_or((text, text));
    let expected = matches(topic_filter, topic_name);
    assert_eq!(topic_matches(topic_filter, topic_name), expected, "topic_matches");

    let mut filters = FilterIndex::new(1);
    filters.insert(topic_filter, 1_u32, ());
    let mut found = false;
    filters.for_each_match(topic_name, |_| found = true);
    assert_eq!(found, expected, "FilterIndex");
    assert!(filters.remove(topic_filter, 1).is_some(), "a filter just inserted can be removed");

    let mut names = NameIndex::new();
    names.insert(topic_name, ());
    let mut found = false;
    names.for_each_match(topic_filter, |_, ()| found = true);
    assert_eq!(found, expected, "NameIndex");
}

/// Each subscription is a set of numbers here, so that a merge which loses or adds one shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers(BTreeSet<u8>);

impl Subscription for Numbers {
    fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

/// Both indexes and a cache, beside plain maps that are searched with the reference matcher.
struct World {
    filters: FilterIndex<u8, Numbers>,
    cache: MatchCache<u8, Numbers>,
    names: NameIndex<u8>,
    plain_filters: BTreeMap<(String, u8), Numbers>,
    plain_shared: BTreeMap<(String, String), BTreeMap<u8, Numbers>>,
    plain_names: BTreeMap<String, u8>,
}

/// A sequence of operations, a few bytes each, on both indexes and a cache.
pub fn index_operations(data: &[u8]) {
    let mut world = World {
        filters: FilterIndex::new(7),
        cache: MatchCache::new(7, 4, 600),
        names: NameIndex::new(),
        plain_filters: BTreeMap::new(),
        plain_shared: BTreeMap::new(),
        plain_names: BTreeMap::new(),
    };
    let mut input = data.iter().copied();
    while let Some(operation) = input.next() {
        world.step(operation, &mut input);
    }
    world.empty();
}

impl World {
    fn step(&mut self, operation: u8, input: &mut impl Iterator<Item = u8>) {
        let key = operation >> 4;
        let text = topic(input);
        match operation % 8 {
            0 | 1 => self.subscribe(&text, key, operation),
            2 => self.unsubscribe(&text, key),
            3 if operation & 8 == 0 => self.subscribe_shared(&text, key, operation),
            3 => self.unsubscribe_shared(&text, key),
            4 => {
                let old = self.names.insert(&text, operation);
                assert_eq!(old, self.plain_names.insert(text, operation), "NameIndex::insert");
            }
            5 => {
                assert_eq!(self.names.remove(&text), self.plain_names.remove(&text));
            }
            6 => self.publish(&text),
            _ => self.search(&text, usize::from(key)),
        }
        assert_eq!(self.names.len(), self.plain_names.len(), "NameIndex::len");
        let shared: usize = self.plain_shared.values().map(BTreeMap::len).sum();
        assert_eq!(self.filters.len(), self.plain_filters.len() + shared, "FilterIndex::len");
    }

    fn subscribe(&mut self, topic_filter: &str, key: u8, number: u8) {
        let value = Numbers([number].into());
        let version = self.filters.version();
        let old = self.filters.insert(topic_filter, key, value.clone());
        assert!(self.filters.version() > version, "an insert changes the version");
        let place = (effective(topic_filter), key);
        assert_eq!(old, self.plain_filters.insert(place, value), "FilterIndex::insert");
    }

    fn unsubscribe(&mut self, topic_filter: &str, key: u8) {
        let version = self.filters.version();
        let place = (effective(topic_filter), key);
        assert_eq!(self.filters.get(topic_filter, key), self.plain_filters.get(&place));
        let old = self.filters.remove(topic_filter, key);
        assert_eq!(self.filters.version() > version, old.is_some(), "version of a removal");
        assert_eq!(old, self.plain_filters.remove(&place), "FilterIndex::remove");
    }

    fn subscribe_shared(&mut self, topic_filter: &str, key: u8, number: u8) {
        let value = Numbers([number].into());
        let share_name = share_name(key);
        let old = self.filters.insert_shared(share_name, topic_filter, key, value.clone());
        let place = (share_name.to_string(), effective(topic_filter));
        assert_eq!(old, self.plain_shared.entry(place).or_default().insert(key, value));
    }

    fn unsubscribe_shared(&mut self, topic_filter: &str, key: u8) {
        let share_name = share_name(key);
        let old = self.filters.remove_shared(share_name, topic_filter, key);
        let place = (share_name.to_string(), effective(topic_filter));
        let members = self.plain_shared.entry(place.clone()).or_default();
        assert_eq!(old, members.remove(&key), "FilterIndex::remove_shared");
        if members.is_empty() {
            self.plain_shared.remove(&place);
        }
    }

    fn publish(&mut self, topic_name: &str) {
        let mut merged: BTreeMap<u8, Numbers> = BTreeMap::new();
        for ((topic_filter, key), value) in &self.plain_filters {
            if matches(topic_filter, topic_name) {
                merged.entry(*key).and_modify(|old| old.merge(value)).or_insert(value.clone());
            }
        }
        let expected: Vec<_> = merged.into_iter().collect();
        let expected_groups: BTreeMap<_, _> = self
            .plain_shared
            .iter()
            .filter(|((_, topic_filter), _)| matches(topic_filter, topic_name))
            .collect();

        let recipients = self.cache.recipients(&self.filters, topic_name);
        assert_eq!(recipients.subscribers(), expected, "merged recipients of {topic_name:?}");
        assert_eq!(recipients.groups().len(), expected_groups.len(), "each group once");
        for id in recipients.groups() {
            let group = self.filters.group(*id).expect("handles are valid in their version");
            let place = (group.share_name().to_string(), group.topic_filter().to_string());
            let members = expected_groups.get(&place).expect("only groups that match");
            assert!(group.members().eq(members.iter()), "members in key order");
            let last = members.keys().next_back().expect("groups have members");
            assert_eq!(group.last_member(), members.last_key_value());
            assert!(group.members_after(*last).eq(members.iter()), "goes round");
            let (first, _) = members.first_key_value().expect("groups have members");
            assert!(
                group
                    .members_after(*first)
                    .eq(members.iter().skip(1).chain(members.first_key_value()))
            );
        }
        let mut uncached = Recipients::default();
        uncached.collect(&self.filters, topic_name);
        assert_eq!(uncached.subscribers(), expected, "recipients without the cache");
        assert!(self.cache.len() <= 4 && self.cache.bytes() <= 600, "the cache keeps its bounds");
    }

    /// Searches page by page, and removes some of the names that pages end with.
    fn search(&mut self, topic_filter: &str, choice: usize) {
        let limit = PageLimit { matches: choice % 3, steps: if choice > 8 { 2 } else { 100 } };
        let expected: BTreeSet<String> =
            self.plain_names.keys().filter(|name| matches(topic_filter, name)).cloned().collect();
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page =
                self.names.matches_after(topic_filter, after.as_deref(), limit, |name, value| {
                    assert_eq!(self.plain_names.get(name), Some(value), "the value of {name:?}");
                    found.push(name.to_string());
                });
            let Page::After(name) = page else { break };
            let name = name.to_string();
            assert!(after.as_ref() != Some(&name), "each page gets on");
            if choice % 2 == 1 {
                assert_eq!(self.names.remove(&name), self.plain_names.remove(&name));
            }
            after = Some(name);
        }
        let in_index_order = found.clone();
        found.sort();
        assert!(found.iter().eq(&expected), "{topic_filter:?} found {found:?}, not {expected:?}");
        let again: Vec<_> = {
            let mut names = Vec::new();
            self.names.for_each_match(topic_filter, |name, _| names.push(name.to_string()));
            names
        };
        let still_there = in_index_order.iter().filter(|name| self.names.get(name).is_some());
        assert!(still_there.eq(&again), "pages and the whole search have one order");
    }

    /// Takes everything out again: nothing may be left behind.
    fn empty(mut self) {
        for (topic_filter, key) in self.plain_filters.keys() {
            assert!(self.filters.remove(topic_filter, *key).is_some());
        }
        for ((share_name, topic_filter), members) in &self.plain_shared {
            for key in members.keys() {
                assert!(self.filters.remove_shared(share_name, topic_filter, *key).is_some());
            }
        }
        let left = self.filters.statistics();
        let fresh = FilterIndex::<u8, Numbers>::new(7).statistics();
        assert_eq!((left.topic_filters, left.groups), (0, 0));
        assert_eq!((left.nodes, left.subscriptions), (fresh.nodes, fresh.subscriptions));
    }
}

fn share_name(key: u8) -> &'static str {
    ["workers", "w", ""][usize::from(key % 3)]
}

/// Up to seven levels from a small choice, so that operations meet.
fn topic(input: &mut impl Iterator<Item = u8>) -> String {
    const LEVELS: [&str; 12] = [
        "a",
        "b",
        "",
        "+",
        "+",
        "#",
        "ab",
        "$s",
        "a-level-longer-than-22-bytes",
        "\u{0}",
        "!",
        "0",
    ];
    let mut text = String::new();
    let mut more = false;
    for byte in input.take(7) {
        if more {
            text.push('/');
        }
        text.push_str(LEVELS[usize::from(byte & 0x3f) % LEVELS.len()]);
        more = true;
        // The two upper bits end the text: a quarter of all levels.
        if byte >> 6 == 3 {
            break;
        }
    }
    text
}

/// The filter as the index understands it: nothing counts after `#`.
fn effective(topic_filter: &str) -> String {
    let mut text = String::new();
    for (number, level) in topic_filter.split('/').enumerate() {
        if number > 0 {
            text.push('/');
        }
        text.push_str(level);
        if level == "#" {
            break;
        }
    }
    text
}
