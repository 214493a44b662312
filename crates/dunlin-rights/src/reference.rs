//! The naive reading of the rules: all of them in order, their topics pasted into Topic Filters and
//! compared by the naive matcher. It defines the truth for the tries; it is slow, and for small
//! rules only where Topic Filters are compared.

use crate::rules::{Action, Covers, Level, Rule, Rules, TopicPattern};
use crate::{Decision, Subject};
use dunlin_codec::{QoS, Text, TopicFilter};
use dunlin_topics::reference::matches;
use std::collections::BTreeSet;

/// The topic as a Topic Filter for this subject, if its values can be part of one.
fn pasted(topic: &TopicPattern, subject: &Subject) -> Option<(Option<String>, String)> {
    let level = |level: &Level| match level {
        Level::Plus => Some("+".to_owned()),
        Level::Hash => Some("#".to_owned()),
        Level::Literal(text) => Some(text.to_string()),
        Level::Value(value, before, after) => {
            let name = match value.sign() {
                "%c" => Some(subject.client_identifier().as_str()),
                _ => subject.identity().user().map(Text::as_str),
            }?;
            let is_usable =
                !name.is_empty() && !name.starts_with('$') && !name.contains(['+', '#', '/']);
            is_usable.then(|| format!("{before}{name}{after}"))
        }
    };
    let share_name = match &topic.share_name {
        Some(share_name) => Some(level(share_name)?),
        None => None,
    };
    let levels = topic.levels.iter().map(level).collect::<Option<Vec<_>>>()?;
    Some((share_name, levels.join("/")))
}

/// The Topic Filters of a rule that count for a subscription with this Share Name, or none.
fn filters(
    rule: &Rule,
    action: Action,
    subject: &Subject,
    share_name: Option<&str>,
) -> Vec<String> {
    let pasted = rule.topics().iter().filter_map(|topic| pasted(topic, subject));
    let counting = pasted.filter(|(share_pattern, _)| match (share_pattern, share_name) {
        (None, None) => true,
        (None, Some(_)) => rule.denies().contains(action),
        (Some(pattern), Some(name)) => {
            action == Action::Subscribe && (pattern == "+" || pattern == name)
        }
        (Some(_), None) => false,
    });
    counting.map(|(_, filter)| filter).collect()
}

/// The first rule that decides about an action on a Topic Name.
#[must_use]
pub fn decide(
    rules: &Rules,
    subject: &Subject,
    action: Action,
    share_name: Option<&str>,
    topic_name: &str,
) -> Option<usize> {
    rules.rules().iter().position(|rule| {
        rule.allows().contains(action) | rule.denies().contains(action)
            && rule.concerns(rules, subject)
            && filters(rule, action, subject, share_name)
                .iter()
                .any(|filter| matches(filter, topic_name))
    })
}

/// Whether a decision is what [`decide`] comes to.
#[must_use]
pub fn agrees(rules: &Rules, action: Action, decision: Decision, expected: Option<usize>) -> bool {
    let number = decision.rule().map(|rule| rule.get() as usize - 1);
    let is_allowed = expected.is_some_and(|rule| rules.rules()[rule].allows().contains(action));
    number == expected && decision.is_allowed() == is_allowed
}

/// What the reference says about subscribing: whether all, with holes, or not at all, and by which
/// rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This rule allows it.
    All(usize),
    /// This rule allows it, and an earlier one denies some of it, or caps its QoS lower.
    Holes(usize),
    /// This rule denies it, or none allows it.
    No(Option<usize>),
}

impl From<Covers> for Expected {
    fn from(covers: Covers) -> Self {
        let rule = covers.decision().rule().map(|rule| rule.get() as usize - 1);
        match (covers, rule) {
            (Covers::All(_), Some(rule)) => Self::All(rule),
            (Covers::Holes(_), Some(rule)) => Self::Holes(rule),
            (_, rule) => Self::No(rule),
        }
    }
}

/// What the rules say about subscribing, by trying all Topic Names of up to `depth` levels that are
/// made of the levels of all filters at hand, and of one that is in none of them.
#[must_use]
pub fn covers(rules: &Rules, subject: &Subject, filter: &TopicFilter, depth: usize) -> Expected {
    let asked = filter.matching_part();
    let mut is_denied_in_part = false;
    let mut lowest_cap = QoS::ExactlyOnce;
    for (ordinal, rule) in rules.rules().iter().enumerate() {
        let action = Action::Subscribe;
        let is_denial = rule.denies().contains(action);
        if !(rule.allows().contains(action) || is_denial) || !rule.concerns(rules, subject) {
            continue;
        }
        for topic in filters(rule, action, subject, filter.share_name()) {
            let names = names(&[asked, &topic], depth);
            let asked_for = || names.iter().filter(|name| matches(asked, name));
            if asked_for().all(|name| matches(&topic, name)) {
                return match is_denied_in_part || lowest_cap < rule.caps().qos_max {
                    _ if is_denial => Expected::No(Some(ordinal)),
                    true => Expected::Holes(ordinal),
                    false => Expected::All(ordinal),
                };
            }
        }
        let has_some = filters(rule, action, subject, filter.share_name()).iter().any(|topic| {
            let names = names(&[asked, topic], depth);
            names.iter().any(|name| matches(asked, name) && matches(topic, name))
        });
        is_denied_in_part |= has_some && is_denial;
        if has_some && !is_denial {
            lowest_cap = lowest_cap.min(rule.caps().qos_max);
        }
    }
    Expected::No(None)
}

/// All Topic Names of up to `depth` levels that these Topic Filters could tell apart. (Among them
/// the empty one, which is not legal: filters are compared level by level, as if it were.)
fn names(filters: &[&str], depth: usize) -> BTreeSet<String> {
    let levels = filters.iter().flat_map(|filter| filter.split('/'));
    let mut levels: BTreeSet<&str> = levels.filter(|level| !matches!(*level, "+" | "#")).collect();
    levels.extend(["other", "$other"]);
    let mut names = BTreeSet::new();
    let mut longest: BTreeSet<String> = levels.iter().map(|level| (*level).to_owned()).collect();
    for _ in 1..depth {
        let longer = longest
            .iter()
            .flat_map(|name| levels.iter().map(move |level| format!("{name}/{level}")))
            .collect();
        names.append(&mut longest);
        longest = longer;
    }
    names.append(&mut longest);
    names
}
