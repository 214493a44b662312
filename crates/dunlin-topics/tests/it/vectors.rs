//! `vectors/matching.toml` against the reference matcher, the fast one, and both indexes.

use crate::keys;
use dunlin_topics::{FilterIndex, NameIndex, reference, topic_matches};

struct Case {
    topic_filter: String,
    matches: Vec<String>,
    rejects: Vec<String>,
}

fn cases() -> Vec<Case> {
    let table: toml::Table = include_str!("../../vectors/matching.toml").parse().unwrap();
    let names = |case: &toml::Value, kind| {
        let names = case[kind].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let cases = table["filter"].as_array().unwrap().iter().map(|case| Case {
        topic_filter: case["filter"].as_str().unwrap().to_owned(),
        matches: names(case, "matches"),
        rejects: names(case, "rejects"),
    });
    cases.collect()
}

#[test]
fn one_filter_against_one_name() {
    for case in cases() {
        let wanted = case.matches.iter().map(|name| (name, true));
        for (name, expected) in wanted.chain(case.rejects.iter().map(|name| (name, false))) {
            let filter = &case.topic_filter;
            assert_eq!(reference::matches(filter, name), expected, "{filter:?} {name:?}");
            assert_eq!(topic_matches(filter, name), expected, "{filter:?} {name:?}");
        }
    }
}

/// All filters stand in one index, so that they share, split and join trie nodes.
#[test]
fn all_filters_in_one_index() {
    let cases = cases();
    let mut index = FilterIndex::new(3);
    for (key, case) in (0..).zip(&cases) {
        assert_eq!(index.insert(&case.topic_filter, key, ()), None);
    }
    for name in cases.iter().flat_map(|case| case.matches.iter().chain(&case.rejects)) {
        let matching = (0..).zip(&cases);
        let matching = matching.filter(|(_, case)| reference::matches(&case.topic_filter, name));
        let expected: Vec<u32> = matching.map(|(key, _)| key).collect();
        assert_eq!(keys(&index, name), expected, "{name:?}");
    }
}

#[test]
fn all_names_in_one_index() {
    let cases = cases();
    let mut index = NameIndex::new();
    for name in cases.iter().flat_map(|case| case.matches.iter().chain(&case.rejects)) {
        index.insert(name, ());
    }
    for case in &cases {
        let mut found = Vec::new();
        index.for_each_match(&case.topic_filter, |name, ()| found.push(name));
        let all = index.iter().map(|(name, ())| name);
        let expected: Vec<_> =
            all.filter(|name| reference::matches(&case.topic_filter, name)).collect();
        assert_eq!(found, expected, "{:?}", case.topic_filter);
        assert!(case.matches.iter().all(|name| found.contains(&name.as_str())));
    }
}
