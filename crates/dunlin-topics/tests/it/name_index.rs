//! `NameIndex`: order, paging while names come and go, cost by match, and what is left after all.

use dunlin_topics::{NameIndex, Page, PageLimit};

fn index(names: &[&str]) -> NameIndex<usize> {
    let mut index = NameIndex::new();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(index.insert(name, number), None);
    }
    index
}

#[test]
fn names_have_one_value() {
    let mut index = index(&["a", "a/b"]);
    assert_eq!(index.insert("a", 7), Some(0));
    *index.get_mut("a/b").unwrap() = 8;
    assert_eq!((index.get("a"), index.get("a/b"), index.get("b")), (Some(&7), Some(&8), None));
    assert_eq!(index.remove("a"), Some(7));
    assert_eq!(index.remove("a"), None);
    assert_eq!(index.len(), 1);
}

#[test]
fn a_subtree_is_one_run() {
    let sorted = ["", "/", "/a", "a", "a/", "a/b", "a/b/c", "a/b!", "a!", "a!/b", "a-level", "b"];
    let mut names = sorted;
    names.reverse();
    let index = index(&names);
    assert!(index.iter().map(|(name, _)| name).eq(sorted));
}

/// One page, and the names that it gave.
fn page<'a>(
    index: &'a NameIndex<usize>,
    topic_filter: &str,
    after: Option<&str>,
    limit: PageLimit,
) -> (Vec<&'a str>, Page<'a>) {
    let mut names = Vec::new();
    let page = index.matches_after(topic_filter, after, limit, |name, _| names.push(name));
    (names, page)
}

#[test]
fn pages_resume_after_names_that_are_gone() {
    let mut index = index(&["a/1/b", "a/2/b", "a/2/c", "a/3/b", "a/4", "a/5/b", "b"]);
    let limit = PageLimit { matches: 2, steps: 100 };
    let (names, next) = page(&index, "a/+/b", None, limit);
    assert_eq!(names, ["a/1/b", "a/2/b"]);
    assert_eq!(next, Page::After("a/2/b"));
    index.remove("a/2/b");
    index.remove("a/3/b");
    index.insert("a/1/b", 9);
    index.insert("a/33/b", 9);
    let (names, next) = page(&index, "a/+/b", Some("a/2/b"), limit);
    assert_eq!(names, ["a/33/b", "a/5/b"]);
    assert_eq!(next, Page::Complete, "nothing that could match is left");
    let (names, next) = page(&index, "a/+/b", Some("zzz"), limit);
    assert_eq!((names.len(), next), (0, Page::Complete));
    let (names, _) = page(&index, "a/+/b", Some("A"), limit);
    assert_eq!(names, ["a/1/b", "a/33/b"], "a name before all matches");
}

/// Where few names match, a page ends by its steps and the next one goes on there.
#[test]
fn steps_bound_a_page_without_matches() {
    let mut index = NameIndex::new();
    for number in 0..10_000 {
        index.insert(&format!("a/{number:05}/x"), number);
    }
    index.insert("a/09999/b", 0);
    let limit = PageLimit { matches: 10, steps: 1_000 };
    let mut found = Vec::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let (names, next) = page(&index, "a/+/b", after, limit);
        found.extend(names);
        pages += 1;
        let Page::After(name) = next else { break };
        assert!(after.is_none_or(|after| after < name), "forward only");
        after = Some(name);
    }
    assert_eq!(found, ["a/09999/b"]);
    assert!((10..=21).contains(&pages), "each page did its share: {pages}");
}

/// The steps say how much was looked at: a match among many costs by what it matches.
#[test]
fn what_can_not_match_is_jumped_over() {
    let mut index = NameIndex::new();
    for plant in 0..10 {
        for unit in 0..5_000 {
            index.insert(&format!("plant/{plant}/unit/{unit}"), unit);
            index.insert(&format!("$SYS/{plant}/unit/{unit}"), unit);
        }
    }
    let limit = PageLimit { matches: 1_000, steps: 200 };
    for topic_filter in ["plant/+/unit/77", "+/+/unit/77", "+/+/unit/77/#"] {
        let (names, next) = page(&index, topic_filter, None, limit);
        assert_eq!((names.len(), next), (10, Page::Complete), "{topic_filter}");
    }
    let (names, next) = page(&index, "plant/3/unit/77/#", None, limit);
    assert_eq!((names, next), (vec!["plant/3/unit/77"], Page::Complete));
}

#[test]
fn names_of_32_000_levels() {
    let deep = "a/".repeat(32_000);
    let mut index = index(&[&deep, "a", "b"]);
    let mut found = 0;
    index.for_each_match(&"+/".repeat(32_000), |name, _| found += name.len());
    assert_eq!(found, deep.len());
    index.for_each_match(&format!("{}#", "+/".repeat(31_000)), |_, _| found += 1);
    assert_eq!(found, deep.len() + 1);
    assert_eq!(index.remove(&deep), Some(0));
}

#[test]
fn churn_returns_to_base() {
    let mut index = NameIndex::new();
    for round in 0..3 {
        for number in 0..5_000 {
            index.insert(&format!("a/name/that/is/longer/than/others/{round}/{number}"), number);
        }
        assert!(index.bytes() > 5_000 * 30);
        for number in 0..5_000 {
            index.remove(&format!("a/name/that/is/longer/than/others/{round}/{number}"));
        }
        assert_eq!((index.len(), index.bytes()), (0, 0));
    }
}
