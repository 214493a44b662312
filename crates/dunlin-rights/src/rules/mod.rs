//! Rules: what a file of them says ([`parse`]), made ready ([`compile`]), and asked.

mod compile;
mod conditions;
mod covers;
mod explain;
mod parse;
mod profile;
mod topic;
mod trie;
mod verdict;
mod whole;

#[cfg(test)]
mod tests;

pub use covers::Covers;
pub use explain::{Explanation, NearMiss, Question, WhyNot};
pub use parse::{Mistake, RulesError};
pub use profile::Profile;
pub use topic::InvalidTopicPattern;
pub use verdict::{Decision, PublishVerdict, Refusal};
pub use whole::{END, HalfWritten};

pub(crate) use topic::{Level, TopicPattern};

use compile::Compiled;
use conditions::{Conditions, Groups};
use dunlin_codec::QoS;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

/// What a rule allows or denies; each is decided by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Publish to a Topic Name.
    Publish = 0,
    /// Subscribe to a Topic Filter, and receive what it matches.
    Subscribe = 1,
    /// Publish with RETAIN, besides publishing.
    Retain = 2,
    /// Leave a Will, besides publishing.
    Will = 3,
}

impl Action {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Subscribe, Self::Retain, Self::Will];

    /// The word for it in a file of rules.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Retain => "retain",
            Self::Will => "will",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A set of [`Action`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// The set with these.
    pub const fn of(actions: &[Action]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < actions.len() {
            bits |= 1 << actions[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Whether this one is in it.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contains(*action))
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How much a rule allows at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// The highest QoS: of a PUBLISH, and the one that a subscription is cut to.
    pub qos_max: QoS,
    /// The longest payload of a PUBLISH, in bytes.
    pub size_max: u32,
}

impl Caps {
    /// As much as MQTT can carry.
    pub const NONE: Self = Self { qos_max: QoS::ExactlyOnce, size_max: u32::MAX };
}

/// Which rule, counted from 1: of the file, or of those that came with an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleNumber {
    number: NonZeroU32,
    is_of_identity: bool,
}

impl RuleNumber {
    /// The rule at this place of the file, from 0.
    fn at(ordinal: u32) -> Option<Self> {
        let number = ordinal.checked_add(1).and_then(NonZeroU32::new)?;
        Some(Self { number, is_of_identity: false })
    }

    const fn ordinal(self) -> u32 {
        self.number.get() - 1
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.number.get()
    }

    /// Whether it is one of [`Identity::rules`](crate::Identity::rules).
    pub const fn is_of_identity(self) -> bool {
        self.is_of_identity
    }
}

impl fmt::Debug for RuleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.is_of_identity { " of the identity" } else { "" };
        write!(f, "rule {}{of}", self.number)
    }
}

/// One rule, as written.
#[derive(Clone, Debug)]
pub struct Rule {
    line: usize,
    source: Range<usize>,
    allow: Actions,
    deny: Actions,
    topics: Box<[TopicPattern]>,
    conditions: Conditions,
    caps: Caps,
}

impl Rule {
    /// The line on which it begins, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What it allows.
    pub fn allows(&self) -> Actions {
        self.allow
    }

    /// What it denies.
    pub fn denies(&self) -> Actions {
        self.deny
    }

    /// How much it allows at most.
    pub fn caps(&self) -> Caps {
        self.caps
    }

    pub(crate) fn topics(&self) -> &[TopicPattern] {
        &self.topics
    }

    /// Whether all that it asks of who acts is so, its topics aside.
    pub(crate) fn concerns(&self, rules: &Rules, subject: &crate::Subject) -> bool {
        self.conditions.first_broken(&rules.groups.view(subject)).is_none()
    }
}

/// A file of rules, ready to be asked. Never changes; new rules are a new value.
#[derive(Clone, Debug)]
pub struct Rules {
    text: Box<str>,
    rules: Box<[Rule]>,
    groups: Groups,
    compiled: Compiled,
    generation: u64,
}

impl Rules {
    /// Reads and compiles the text of a file of rules.
    ///
    /// # Errors
    /// The first mistake in the text, with its line and column. A text without a rule is one: an
    /// emptied file must not look like a decision.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let parse::Parsed { rules, groups } = parse::parse(text)?;
        let compiled = Compiled::new(&rules);
        Ok(Self { text: text.into(), rules: rules.into(), groups, compiled, generation: 0 })
    }

    /// The same rules under a number that tells them from those before: a [`Profile`] serves only
    /// rules of the generation that it was made by.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// The number that [`Rules::with_generation`] gave; 0 from the start.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The text that they were read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this number; `None` if it is of others, such as an identity's.
    pub fn rule(&self, number: RuleNumber) -> Option<&Rule> {
        self.rules.get(number.ordinal() as usize).filter(|_| !number.is_of_identity)
    }

    /// The lines of the file that the rule was read from.
    pub fn source(&self, rule: &Rule) -> &str {
        self.text.get(rule.source.clone()).unwrap_or_default().trim_end()
    }
}

/// Rules are equal if they were read from the same text.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rules {}
