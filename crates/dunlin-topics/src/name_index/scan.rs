//! One search: says of a Topic Name whether it matches, and if not, where in the order the next
//! one that may match can be at the earliest.

use super::order::compare;
use crate::levels::{effective, first_level, hides_from_wildcards, level_end};
use alloc::vec::Vec;
use core::cmp::Ordering;

pub(crate) struct Scan<'f> {
    filter: &'f [u8],
    wildcard_first: bool,
    target: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(crate) enum Step<'f> {
    Match,
    /// Not this one; perhaps the next one.
    Next,
    /// None before the jump's target.
    Jump(Jump<'f>),
    /// None at all from here on.
    End,
}

/// How to get the target from the name that was looked at.
#[derive(Clone, Copy)]
pub(crate) enum Jump<'f> {
    /// To this level below the name.
    Child(&'f [u8]),
    /// To this level in place of the one that starts at the offset.
    Sibling(usize, &'f [u8]),
    /// Past the subtree of the name's levels that end at the offset.
    Past(usize),
    /// Past all names that begin with `$`.
    PastDollar,
}

impl<'f> Scan<'f> {
    pub(crate) fn new(topic_filter: &'f str) -> Self {
        let filter = effective(topic_filter).0.as_bytes();
        let wildcard_first = matches!(first_level(filter), b"+" | b"#");
        Self { filter, wildcard_first, target: Vec::new() }
    }

    /// The levels before the first wildcard: no match is before them.
    pub(crate) fn start(&self) -> &'f [u8] {
        let mut literal_end = 0;
        let mut start = 0;
        while start <= self.filter.len() {
            let end = level_end(self.filter, start);
            if matches!(&self.filter[start..end], b"+" | b"#") {
                break;
            }
            literal_end = end;
            start = end + 1;
        }
        &self.filter[..literal_end]
    }

    pub(crate) fn step(&self, name: &[u8]) -> Step<'f> {
        if self.wildcard_first && hides_from_wildcards(name) {
            return Step::Jump(Jump::PastDollar);
        }
        // Where in the name the last `+` level ended: what comes after it may still match.
        let mut past = None;
        let otherwise =
            |past: Option<usize>| past.map_or(Step::End, |end| Step::Jump(Jump::Past(end)));
        let (mut start, mut at) = (0, 0);
        loop {
            let end = level_end(self.filter, start);
            let level = &self.filter[start..end];
            if level == b"#" {
                return Step::Match;
            }
            if at > name.len() {
                return if level == b"+" { Step::Next } else { Step::Jump(Jump::Child(level)) };
            }
            let name_end = level_end(name, at);
            if level == b"+" {
                past = Some(name_end);
            } else {
                match compare(&name[at..name_end], level) {
                    Ordering::Equal => {}
                    Ordering::Less => return Step::Jump(Jump::Sibling(at, level)),
                    Ordering::Greater => return otherwise(past),
                }
            }
            start = end + 1;
            at = name_end + 1;
            if end == self.filter.len() {
                return if at > name.len() { Step::Match } else { otherwise(past) };
            }
        }
    }

    /// The place to go on at; not a Topic Name, but before the first one that may match.
    pub(crate) fn target(&mut self, name: &[u8], jump: Jump<'_>) -> &[u8] {
        self.target.clear();
        match jump {
            Jump::Child(level) => {
                self.target.extend_from_slice(name);
                self.target.push(b'/');
                self.target.extend_from_slice(level);
            }
            Jump::Sibling(at, level) => {
                self.target.extend_from_slice(&name[..at]);
                self.target.extend_from_slice(level);
            }
            Jump::Past(end) => {
                // In this order the byte zero comes right after `/`, which begins the subtree.
                self.target.extend_from_slice(&name[..end]);
                self.target.push(0);
            }
            Jump::PastDollar => self.target.push(b'$' + 1),
        }
        &self.target
    }
}
