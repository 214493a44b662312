//! Faults are planted where they belong, or not at all.

use std::path::Path;

use super::search::{self, Found, look_for};
use super::tree::{self, NamedEdit, edited};
use super::{parse, read_faults};
use crate::workspace::Workspace;

fn edit<'a>(find: &'a str, replace: &'a str) -> NamedEdit<'a> {
    NamedEdit { fault: "lazy", find, replace }
}

#[track_caller]
fn check(edits: &[NamedEdit<'_>], expected: Result<&str, &str>) {
    let result = edited("let a = 1; let b = 2; let b = 3;", edits);
    match expected {
        Ok(text) => assert_eq!(result.unwrap(), text),
        Err(text) => assert!(result.unwrap_err().to_string().contains(text)),
    }
}

#[test]
fn edits_fit_exactly_once() {
    let planted = "let a = if crate::planted::is(\"lazy\") { 0 } else { 1 }; \
                   let b = 2; let b = 3;";
    check(&[edit("a = 1", "a = if planted!(\"lazy\") { 0 } else { 1 }")], Ok(planted));
    check(&[edit("c = 1", "planted!(\"lazy\")")], Err("not there any more"));
    check(&[edit("let b", "planted!(\"lazy\")")], Err("more than once"));
    check(&[edit("a = 1", "a = 2")], Err("does not ask"));
    let twice = [edit("a = 1", "planted!(\"lazy\")"), edit("1;", "planted!(\"lazy\")")];
    check(&twice, Err("touches"));
}

#[test]
fn a_fault_has_a_name_a_meaning_and_edits() {
    let text = "[[fault]]\nname = 'a'\nsays = 'b'\n[[fault.edit]]\nfile = 'c'\nfind = 'd'\n\
                replace = 'e'\n";
    assert_eq!(parse(text).unwrap()[0].edits[0].find, "d");
    for line in ["says = 'b'\n", "find = 'd'\n", "name = 'a'\n"] {
        assert!(parse(&text.replace(line, "")).is_err(), "{line}");
    }
}

#[test]
fn a_fault_is_found_where_a_sound_broker_goes_well() {
    let found = |seed| Found { seed, promise: "Order".to_owned() };
    let breaks = |from| Ok([3, 5, 8].into_iter().find(|seed| *seed >= from).map(found));
    assert_eq!(look_for(10, breaks, |_| Ok(true)).unwrap(), Some(found(3)));
    assert_eq!(look_for(10, breaks, |seed| Ok(seed > 4)).unwrap(), Some(found(5)));
    assert_eq!(look_for(10, breaks, |_| Ok(false)).unwrap(), None);
}

#[test]
fn the_simulator_names_the_seed_and_the_promise() {
    let text = "seeds from 0\nfound: seed 17 panic: no more\n";
    let found = Found { seed: 17, promise: "panic: no more".to_owned() };
    assert_eq!(search::parse(text), Some(found));
    assert_eq!(search::parse("seeds from 0\n"), None);
}

#[test]
fn the_faults_of_this_repository_have_their_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let workspace = Workspace { root: root.to_owned(), target: root.join("target") };
    let folder = tempfile::tempdir().unwrap();
    tree::plant(root, folder.path(), &read_faults(&workspace).unwrap()).unwrap();
}
