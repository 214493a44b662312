//! Answers for people: the deciding rule, and the earlier ones that nearly matched. Goes through
//! all rules in order, so it is slow, and owes nothing to the tries.

use super::conditions::Key;
use super::topic::{Level, TopicPattern, Value};
use super::{Action, Actions, Covers, Decision, Rule, RuleNumber, Rules};
use crate::Subject;
use dunlin_codec::TopicFilter;
use std::fmt::{self, Write};

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Publish to this Topic Name.
    Publish(&'a str),
    /// Publish to it with RETAIN.
    Retain(&'a str),
    /// Leave a Will for it.
    Will(&'a str),
    /// Subscribe to this Topic Filter.
    Subscribe(&'a TopicFilter),
    /// Receive a message with this Topic Name by an ordinary subscription.
    Receive(&'a str),
}

/// Why a rule does not match, though it nearly does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNot {
    /// It doesn't name the action.
    Action(Action),
    /// This condition does not hold.
    Condition(&'static str),
    /// The value for `%c` or `%u` is missing, empty, begins with `$` or holds `+`, `#` or `/`.
    Value(&'static str),
    /// One side begins with a wildcard, the other with `$`.
    Dollar(Box<str>),
    /// It allows Shared Subscriptions only if it says `$share/`.
    Share(Box<str>),
    /// The Topic Filter matches more than this topic does.
    Wider(Box<str>),
    /// It denies some of what the Topic Filter matches: each delivery has to ask.
    DeniesSome(Box<str>),
    /// This topic differs first at this level, counted from 1.
    Level(Box<str>, usize),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => write!(f, "it does not name `{action}`"),
            Self::Condition(key) if key.starts_with("unless_") => write!(f, "its `{key}` matches"),
            Self::Condition(key) => write!(f, "its `{key}` does not match"),
            Self::Value(sign) => write!(
                f,
                "the value for {sign} fits no level: it is missing, begins with '$', or holds \
                 '+', '#' or '/'"
            ),
            Self::Dollar(topic) => {
                write!(f, "\"{topic}\" does not match, since wildcards don't match a leading '$'")
            }
            Self::Share(topic) => {
                write!(f, "\"{topic}\" allows no Shared Subscription; \"$share/+/{topic}\" would")
            }
            Self::Wider(topic) => write!(f, "the Topic Filter is wider than \"{topic}\""),
            Self::DeniesSome(topic) => write!(f, "\"{topic}\" is denied, which is a part of it"),
            Self::Level(topic, level) => write!(f, "\"{topic}\" differs at level {level}"),
        }
    }
}

/// A rule that nearly matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleNumber,
    /// The one thing that kept it from matching.
    pub why_not: WhyNot,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What the rules say.
    pub decision: Decision,
    /// Whether only some of what the Topic Filter matches will be delivered, or with that QoS.
    pub has_holes: bool,
    /// The rules before the deciding one, in order, that lacked one thing.
    pub near_misses: Vec<NearMiss>,
}

impl Rules {
    /// Answers with reasons.
    pub fn explain(&self, subject: &Subject, question: Question<'_>) -> Explanation {
        let profile = self.profile(subject);
        let (action, decision, has_holes) = match question {
            Question::Publish(name) => {
                (Action::Publish, self.publish(&profile, name).publish, false)
            }
            Question::Retain(name) => (Action::Retain, self.publish(&profile, name).retain, false),
            Question::Will(name) => (Action::Will, self.publish(&profile, name).will, false),
            Question::Receive(name) => {
                (Action::Subscribe, self.receive(&profile, None, name), false)
            }
            Question::Subscribe(filter) => {
                let covers = self.covers(&profile, filter);
                let has_holes = matches!(covers, Covers::Holes(_));
                (Action::Subscribe, covers.decision(), has_holes)
            }
        };
        // Rules of the identity come after all of the file.
        let of_file = decision.rule().filter(|rule| !rule.is_of_identity());
        let before = of_file.map_or(self.rules.len(), |rule| rule.ordinal() as usize);
        let view = self.groups.view(subject);
        let mut near_misses = Vec::new();
        for (ordinal, rule) in (0..).zip(self.rules.iter().take(before)) {
            let mut broken = rule.conditions.broken(&view);
            let why_not = match (broken.next(), broken.next()) {
                (None, _) => self.topics_near_miss(subject, rule, question, action),
                (Some((key, unless)), None) => {
                    self.condition_near_miss(subject, rule, question, action, key, unless)
                }
                _ => None,
            };
            if let (Some(why_not), Some(rule)) = (why_not, RuleNumber::at(ordinal)) {
                near_misses.push(NearMiss { rule, why_not });
            }
        }
        Explanation { decision, has_holes, near_misses }
    }

    /// The answer as text: the verdict with the rule's place and lines, then the near misses.
    pub fn describe(&self, explanation: &Explanation, file_name: &str) -> String {
        let mut text = String::new();
        let verdict = if explanation.decision.is_allowed() { "allowed" } else { "denied" };
        let holes =
            if explanation.has_holes { ", but for what a rule before denies or caps" } else { "" };
        // Writing to a string can't fail.
        let _ = match explanation.decision.rule().map(|number| (number, self.rule(number))) {
            None => writeln!(text, "denied: no rule matches"),
            Some((number, None)) => {
                let number = number.get();
                writeln!(text, "{verdict} by rule {number} of those of the identity{holes}")
            }
            Some((_, Some(rule))) => {
                let _ = writeln!(text, "{verdict} by {file_name}:{}{holes}", rule.line());
                self.source(rule).lines().try_for_each(|line| writeln!(text, "    {line}"))
            }
        };
        for NearMiss { rule, why_not } in &explanation.near_misses {
            let line = self.rule(*rule).map_or(0, Rule::line);
            let _ = writeln!(text, "not by {file_name}:{line}: {why_not}");
        }
        text
    }

    /// Whether but for one condition the rule would decide.
    fn condition_near_miss(
        &self,
        subject: &Subject,
        rule: &Rule,
        question: Question<'_>,
        action: Action,
        key: Key,
        unless: bool,
    ) -> Option<WhyNot> {
        let fits = |topic| matches!(relation(topic, subject, question, rule), Relation::Contains);
        let names_it = rule.allow.or(rule.deny).contains(action);
        (names_it && rule.topics.iter().any(fits)).then(|| WhyNot::Condition(key.word(unless)))
    }

    /// What about topics or actions keeps a rule for this subject from deciding, if it is little.
    fn topics_near_miss(
        &self,
        subject: &Subject,
        rule: &Rule,
        question: Question<'_>,
        action: Action,
    ) -> Option<WhyNot> {
        let relations = || rule.topics.iter().map(|topic| relation(topic, subject, question, rule));
        if !rule.allow.or(rule.deny).contains(action) {
            let is_publishing = Actions::of(&[Action::Publish, Action::Retain, Action::Will]);
            let is_akin = is_publishing.contains(action)
                && !rule.allow.or(rule.deny).and(is_publishing).is_empty();
            let fits = relations().any(|relation| matches!(relation, Relation::Contains));
            return (is_akin && fits).then_some(WhyNot::Action(action));
        }
        let misses = rule.topics.iter().zip(relations());
        let misses = misses.filter_map(|(topic, relation)| {
            let text = topic.text.clone();
            match relation {
                Relation::Overlaps if rule.deny.contains(action) => {
                    Some((0, WhyNot::DeniesSome(text)))
                }
                Relation::Overlaps => Some((0, WhyNot::Wider(text))),
                Relation::Value(value) => Some((1, WhyNot::Value(value.sign()))),
                Relation::Dollar => Some((2, WhyNot::Dollar(text))),
                Relation::Share => Some((3, WhyNot::Share(text))),
                // One that differs from the start is about something else.
                Relation::Differs(level) if level > 1 => Some((4, WhyNot::Level(text, level))),
                Relation::Differs(_) | Relation::Contains => None,
            }
        });
        misses.min_by_key(|(rank, _)| *rank).map(|(_, why_not)| why_not)
    }
}

/// How a topic of a rule relates to what is asked about.
enum Relation {
    Contains,
    Overlaps,
    /// The level, from 1, at which they differ first.
    Differs(usize),
    Dollar,
    Share,
    Value(Value),
}

fn relation(
    topic: &TopicPattern,
    subject: &Subject,
    question: Question<'_>,
    rule: &Rule,
) -> Relation {
    let own = |value| match value {
        Value::ClientIdentifier => Some(subject.client_identifier()),
        Value::UserName => subject.identity().user(),
    };
    let is_usable = |value| own(value).is_some_and(|name| Value::is_usable(name));
    if let Some(value) = topic.values().find(|value| !is_usable(*value)) {
        return Relation::Value(value);
    }
    let is_level = |level: &Level, text: &str| match level {
        Level::Plus | Level::Hash => true,
        Level::Literal(literal) => **literal == *text,
        Level::Value(value, before, after) => own(*value).is_some_and(|name| {
            let rest = text.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
            rest == Some(name.as_str())
        }),
    };
    let (share_name, filter) = match question {
        Question::Subscribe(filter) => (filter.share_name(), filter.matching_part()),
        Question::Publish(name)
        | Question::Retain(name)
        | Question::Will(name)
        | Question::Receive(name) => (None, name),
    };
    match (&topic.share_name, share_name) {
        (Some(level), Some(name)) if is_level(level, name) => {}
        (None, None) => {}
        (None, Some(_)) if rule.deny.contains(Action::Subscribe) => {}
        (None, Some(_)) => return Relation::Share,
        (Some(_), _) => return Relation::Differs(1),
    }
    let mut levels = &*topic.levels;
    if let [Level::Plus, Level::Hash] = levels {
        levels = &levels[1..];
    }
    let filter = if filter == "+/#" { "#" } else { filter };
    let wild = |text: &str| matches!(text, "+" | "#");
    let first = filter.split('/').next().unwrap_or_default();
    let dollar = match levels.first() {
        Some(Level::Plus | Level::Hash) => filter.starts_with('$'),
        Some(Level::Literal(text) | Level::Value(_, text, _)) => {
            text.starts_with('$') && wild(first)
        }
        None => false,
    };
    if dollar {
        return Relation::Dollar;
    }
    let (mut levels, mut texts) = (levels.iter(), filter.split('/'));
    let mut contains = true;
    for number in 1.. {
        match (levels.next(), texts.next()) {
            (Some(Level::Hash), _) | (None, None) => break,
            (_, Some("#")) => return Relation::Overlaps,
            (None, _) | (_, None) => return Relation::Differs(number),
            (Some(Level::Plus), _) => {}
            (Some(_), Some("+")) => contains = false,
            (Some(level), Some(text)) if is_level(level, text) => {}
            _ => return Relation::Differs(number),
        }
    }
    if contains { Relation::Contains } else { Relation::Overlaps }
}
