//! `MatchCache` and `Recipients`: merging, invalidation, and both bounds.

use crate::Options;
use dunlin_topics::{FilterIndex, MatchCache};

#[test]
fn overlapping_subscriptions_merge() {
    let mut index = FilterIndex::new(1);
    index.insert("a/#", 2, Options::new(0, 10));
    index.insert("a/+", 2, Options::new(2, 11));
    index.insert("a/b", 2, Options::new(1, 12));
    index.insert("a/b", 1, Options::new(1, 13));
    index.insert("x/b", 1, Options::new(2, 14));
    let mut cache = MatchCache::new(1, 10, 10_000);
    let merged = Options { qos: 2, subscription_identifiers: vec![10, 11, 12] };
    let expected = [(1, Options::new(1, 13)), (2, merged)];
    assert_eq!(cache.recipients(&index, "a/b").subscribers(), expected);
    assert!(cache.recipients(&index, "b").is_empty());
}

#[test]
fn a_change_of_the_index_is_seen_at_once() {
    let mut index = FilterIndex::new(1);
    let mut cache = MatchCache::new(1, 10, 10_000);
    assert!(cache.recipients(&index, "a").is_empty());
    index.insert("a", 1, Options::new(0, 1));
    assert_eq!(cache.recipients(&index, "a").subscribers().len(), 1);
    index.insert("a", 1, Options::new(2, 1));
    assert_eq!(cache.recipients(&index, "a").subscribers()[0].1.qos, 2);
    index.insert_shared("s", "+", 1, Options::new(0, 1));
    assert_eq!(cache.recipients(&index, "a").groups().len(), 1);
    index.remove("a", 1);
    index.remove_shared("s", "+", 1);
    assert!(cache.recipients(&index, "a").is_empty());
    assert_eq!(cache.len(), 1, "one name, refreshed in place");
}

#[test]
fn the_number_of_entries_is_bounded() {
    let index = FilterIndex::<u32, Options>::new(1);
    for entries_max in [0, 1, 7] {
        let mut cache = MatchCache::new(1, entries_max, 1_000_000);
        for number in 0..entries_max * 10 + 1 {
            cache.recipients(&index, &format!("name/{number}"));
            assert!(cache.len() <= entries_max);
        }
        assert_eq!(cache.len(), entries_max);
    }
}

#[test]
fn the_bytes_are_bounded() {
    let mut index = FilterIndex::new(1);
    for key in 0..100 {
        index.insert("small/#", key, Options::default());
    }
    for key in 0..10_000 {
        index.insert("large", key, Options::default());
    }
    const BYTES_MAX: usize = 40_000;
    let mut cache = MatchCache::new(1, 1_000, BYTES_MAX);
    for number in 0..200 {
        let recipients = cache.recipients(&index, &format!("small/{number}"));
        assert_eq!(recipients.subscribers().len(), 100);
        assert!(cache.bytes() <= BYTES_MAX);
        if number % 10 == 0 {
            assert_eq!(cache.recipients(&index, "large").subscribers().len(), 10_000);
            assert!(cache.bytes() <= BYTES_MAX, "what is too large is not kept");
        }
    }
    assert!(cache.len() > 5);
    // What was small becomes too large while it is cached.
    for _ in 0..100 {
        cache.recipients(&index, "grows");
    }
    let len = cache.len();
    for key in 0..10_000 {
        index.insert("grows", key, Options::default());
    }
    assert_eq!(cache.recipients(&index, "grows").subscribers().len(), 10_000);
    assert!(cache.bytes() <= BYTES_MAX);
    assert_eq!(cache.len(), len - 1);
    cache.clear();
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

/// Names that come once must not displace the one that comes all the time: it keeps its buffer.
#[test]
fn names_in_use_stay() {
    let mut index = FilterIndex::new(1);
    index.insert("hot", 1, Options::default());
    let mut cache = MatchCache::new(1, 8, 1_000_000);
    let hot = cache.recipients(&index, "hot").subscribers().as_ptr();
    for number in 0..100 {
        cache.recipients(&index, &format!("once/{number}"));
        assert_eq!(cache.recipients(&index, "hot").subscribers().as_ptr(), hot);
    }
}

/// An index that changes before each request: the cache steps aside, stays right, and comes back
/// when it can help.
#[test]
fn without_hits_the_cache_steps_aside() {
    let mut index = FilterIndex::new(1);
    let mut cache = MatchCache::new(1, 1_000, 1_000_000);
    for number in 0..1_000 {
        index.insert("name/+", 1, Options::new(0, number));
        let recipients = cache.recipients(&index, &format!("name/{number}"));
        assert_eq!(recipients.subscribers(), [(1, Options::new(0, number))]);
    }
    assert!(cache.len() < 150, "most of these names were not kept: {}", cache.len());
    let kept = |cache: &mut MatchCache<u32, Options>| {
        let first = cache.recipients(&index, "name/often").subscribers().as_ptr();
        cache.recipients(&index, "name/other");
        cache.recipients(&index, "name/often").subscribers().as_ptr() == first
    };
    for _ in 0..100 {
        cache.recipients(&index, "name/often");
    }
    assert!(kept(&mut cache));
}
