//! Faults are planted where they belong, or not at all.

use super::parse;
use super::tree::{NamedEdit, edited};

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
