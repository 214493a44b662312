//! What every entry of a table has to keep.

use dunlin_conformance::{BOTH, Case, cases, client, server, statements};
use std::collections::BTreeSet;

fn is_kebab_case(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    part.bytes().all(is_allowed) && !part.is_empty() && !part.starts_with('-')
}

#[test]
fn names_are_unique_and_of_two_parts() {
    check_names(cases(server::TABLES, BOTH));
    check_names(cases(client::TABLES, BOTH));
}

fn check_names<B>(cases: Vec<Case<B>>) {
    let mut names = BTreeSet::new();
    for case in cases {
        let parts: Vec<&str> = case.check.name.split('/').collect();
        assert_eq!(parts.len(), 2, "{}", case.check.name);
        assert!(parts.into_iter().all(is_kebab_case), "{}", case.check.name);
        assert!(names.insert(case.name()), "{} is there twice", case.name());
    }
}

#[test]
fn every_case_tests_statements_that_exist_in_its_version() {
    check_statements(cases(server::TABLES, BOTH));
    check_statements(cases(client::TABLES, BOTH));
}

fn check_statements<B>(cases: Vec<Case<B>>) {
    let known: BTreeSet<String> = statements::v5()
        .into_iter()
        .chain(statements::v311())
        .map(|statement| statement.id)
        .collect();
    for case in cases {
        assert_ne!(case.statements().count(), 0, "{} tests no statement", case.name());
        for id in case.check.statements {
            assert!(known.contains(*id), "{} tests {id}, which is none", case.name());
        }
    }
}
