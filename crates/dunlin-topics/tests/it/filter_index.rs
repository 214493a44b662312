//! `FilterIndex`: groups, versions, many subscribers, deep topics, and memory after churn.

use crate::keys;
use dunlin_topics::{FilterIndex, Match};
use std::iter::repeat_n;

#[test]
fn a_second_subscription_with_the_same_filter_replaces_the_first() {
    for topic_filter in ["a/b", "a/+", "a/#"] {
        let mut index = FilterIndex::new(1);
        assert_eq!(index.insert(topic_filter, 7, "first"), None);
        assert_eq!(index.insert(topic_filter, 8, "other"), None);
        assert_eq!(index.insert(topic_filter, 7, "second"), Some("first"));
        assert_eq!(index.get(topic_filter, 7), Some(&"second"));
        assert_eq!(index.len(), 2);
        assert_eq!(keys(&index, "a/b"), [7, 8]);
        assert_eq!(index.remove(topic_filter, 7), Some("second"));
        assert_eq!(index.remove(topic_filter, 7), None);
        assert_eq!(keys(&index, "a/b"), [8]);
    }
}

#[test]
fn only_changes_change_the_version() {
    let mut index = FilterIndex::new(1);
    let mut last = index.version();
    let mut changed = |index: &FilterIndex<u32, u8>| {
        let is_changed = index.version() != last;
        last = index.version();
        is_changed
    };
    index.insert("a/+", 1, 0);
    assert!(changed(&index));
    index.insert("a/+", 1, 1);
    assert!(changed(&index), "a new value is a change");
    index.remove("a/+", 2);
    index.remove("a", 1);
    index.remove_shared("s", "a/+", 1);
    assert!(!changed(&index));
    index.insert_shared("s", "a/+", 1, 0);
    assert!(changed(&index));
    index.remove_shared("s", "a/+", 1);
    assert!(changed(&index));
    index.remove("a/+", 1);
    assert!(changed(&index));
}

#[test]
fn each_group_comes_once_with_its_members_in_key_order() {
    let mut index = FilterIndex::new(1);
    for key in [5, 3, 9] {
        index.insert_shared("workers", "jobs/#", key, ());
        index.insert_shared("loggers", "jobs/#", key, ());
        index.insert_shared("workers", "jobs/new", key, ());
    }
    index.insert("jobs/#", 4, ());
    let (mut groups, mut subscribers) = (Vec::new(), Vec::new());
    index.for_each_match("jobs/new", |found| match found {
        Match::Subscriber(key, ()) => subscribers.push(*key),
        Match::Group(group) => {
            assert!(group.members().map(|(key, ())| *key).eq([3, 5, 9]));
            assert_eq!(index.group(group.id()).unwrap().share_name(), group.share_name());
            groups.push(format!("{}/{}", group.share_name(), group.topic_filter()));
        }
    });
    groups.sort();
    assert_eq!(groups, ["loggers/jobs/#", "workers/jobs/#", "workers/jobs/new"]);
    assert_eq!(subscribers, [4], "members of groups are no subscribers");

    let group = index.shared("workers", "jobs/#").unwrap();
    let round = |key| group.members_after(key).map(|(key, ())| *key).collect::<Vec<_>>();
    assert_eq!(round(3), [5, 9, 3]);
    assert_eq!(round(4), [5, 9, 3]);
    assert_eq!(round(9), [3, 5, 9]);
    assert_eq!(round(10), [3, 5, 9]);
    assert_eq!(group.last_member(), Some((&9, &())));
    for key in [3, 5, 9] {
        assert_eq!(index.remove_shared("workers", "jobs/#", key), Some(()));
    }
    assert!(index.shared("workers", "jobs/#").is_none());
    assert_eq!(keys(&index, "jobs/other"), [3, 4, 5, 9], "loggers and the subscriber are left");
}

/// Numbers that pass every threshold of the lists, up and down.
#[test]
fn many_subscribers_of_one_filter() {
    for topic_filter in ["a/b", "a/+"] {
        let mut index = FilterIndex::new(1);
        let base = index.statistics().bytes;
        for key in (0..2_000).rev() {
            index.insert(topic_filter, key, key);
            index.insert_shared("s", topic_filter, key, key);
        }
        assert_eq!(index.len(), 4_000);
        let mut all = keys(&index, "a/b");
        all.dedup();
        assert!(all.iter().copied().eq(0..2_000));
        for key in 0..2_000 {
            assert_eq!(index.get(topic_filter, key), Some(&key));
            assert_eq!(index.remove(topic_filter, key), Some(key));
            assert_eq!(index.remove_shared("s", topic_filter, key), Some(key));
            assert_eq!(index.get(topic_filter, key), None);
        }
        assert_eq!(keys(&index, "a/b"), [0; 0]);
        assert!(index.statistics().bytes <= base + 1_000, "{:?}", index.statistics());
    }
}

#[test]
fn many_groups_of_one_filter() {
    let mut index = FilterIndex::new(1);
    for number in 0..1_000_u32 {
        index.insert_shared(&format!("group-{number}"), "a/+", number, ());
    }
    assert!(keys(&index, "a/b").into_iter().eq(0..1_000));
    for number in (0..1_000_u32).rev() {
        assert_eq!(index.remove_shared(&format!("group-{number}"), "a/+", number), Some(()));
    }
    assert_eq!((index.len(), index.statistics().groups), (0, 0));
}

/// The longest Topic Name there can be, with as many levels as fit, and filters to match.
#[test]
fn topics_of_32_000_levels() {
    let name = repeat_n("a", 32_000).collect::<Vec<_>>().join("/");
    let all_plus = repeat_n("+", 32_000).collect::<Vec<_>>().join("/");
    let half_plus = repeat_n("+", 16_000).collect::<Vec<_>>().join("/");
    let mut index = FilterIndex::new(1);
    let base = index.statistics();
    let filters = [
        name.clone(),
        all_plus.clone(),
        format!("{half_plus}/#"),
        format!("{}/#", &name[..name.len() - 2]),
        format!("{name}/#"),
    ];
    for (key, topic_filter) in (0..).zip(&filters) {
        index.insert(topic_filter, key, ());
    }
    assert!(index.statistics().nodes <= 10, "a filter costs nodes by branches, not by depth");
    assert_eq!(keys(&index, &name), [0, 1, 2, 3, 4]);
    assert_eq!(keys(&index, &format!("{name}/a")), [2, 3, 4]);
    assert_eq!(keys(&index, &half_plus.replace('+', "b")), [2]);
    for (key, topic_filter) in (0..).zip(&filters) {
        assert_eq!(index.remove(topic_filter, key), Some(()));
    }
    assert_eq!(index.statistics().nodes, base.nodes);
}

/// A branch at each of many levels: more branches wait than the stack holds in place.
#[test]
fn a_branch_at_every_level() {
    const DEPTH: usize = 300;
    let mut index = FilterIndex::new(1);
    let mut expected = Vec::new();
    for depth in 0..DEPTH {
        let literal = "a/".repeat(depth);
        let rest = "/a".repeat(DEPTH - depth - 1);
        index.insert(&format!("{literal}+{rest}"), depth as u32, ());
        index.insert(&format!("{literal}+/x"), 1_000_000, ());
        expected.push(depth as u32);
    }
    let name = repeat_n("a", DEPTH).collect::<Vec<_>>().join("/");
    assert_eq!(keys(&index, &name), expected);
}

#[test]
fn churn_returns_to_base() {
    let mut index = FilterIndex::new(1);
    index.insert("keep/+/this", 0, 0);
    let base = index.statistics();
    let topic_filter = |round: usize, number: usize| match number % 6 {
        0 => format!("plant/{number}/temperature-of-round-{round}"),
        1 => format!("plant/{number}/+/x{round}"),
        2 => format!("plant/{}/#", number / 6 + round),
        3 => format!("+/{number}/{round}/#"),
        4 => format!("keep/+/{number}"),
        _ => format!("{round}/{number}/a/b/c/+"),
    };
    for round in 0..4 {
        for number in 0..6_000 {
            let key = number as u32 % 3;
            index.insert(&topic_filter(round, number), key, 1);
            index.insert(&topic_filter(round, number), key + 1, 1);
            index.insert_shared("s", &topic_filter(round, number), key, 1);
        }
        let full = index.statistics();
        assert_eq!(full.subscriptions, index.len());
        assert!(full.bytes > base.bytes + 6_000 * 50);
        // Every second first, then the others: holes in all tables.
        for number in (0..6_000).step_by(2).chain((1..6_000).step_by(2)) {
            let key = number as u32 % 3;
            assert_eq!(index.remove(&topic_filter(round, number), key), Some(1));
            assert_eq!(index.remove(&topic_filter(round, number), key + 1), Some(1));
            assert_eq!(index.remove_shared("s", &topic_filter(round, number), key), Some(1));
        }
        let left = index.statistics();
        assert_eq!((left.nodes, left.groups), (base.nodes, base.groups));
        assert_eq!(left.topic_filters, 1);
        assert!(left.bytes < base.bytes + 100_000, "{left:?} beside {base:?}");
    }
    assert_eq!(keys(&index, "keep/it/this"), [0]);
}
