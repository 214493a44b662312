//! The mistakes that a file of rules can hold.

use super::super::Action;
use super::super::topic::InvalidTopicPattern;
use crate::InvalidName;

/// A mistake in a file of rules: where it is, what it is, and how to mend it, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {mistake}")]
#[non_exhaustive]
pub struct RulesError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub mistake: Mistake,
}

/// What can be wrong with a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mistake {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// It is longer than any file of rules is.
    #[error("a file of rules has at most 16 MiB; put names into groups")]
    TooLong,
    /// It has no rule.
    #[error(
        "there is no rule, so nobody could do anything; write a [[rule]], such as one with allow = \
         [\"publish\", \"subscribe\"] and topics = [\"#\"]"
    )]
    NoRules,
    /// There is no such key here.
    #[error("unknown key `{key}`; {}", did_you_mean(.nearest, .known))]
    UnknownKey {
        /// The key.
        key: String,
        /// A key with a similar name.
        nearest: Option<&'static str>,
        /// All keys that can stand here.
        known: &'static [&'static str],
    },
    /// There is no such action.
    #[error("unknown action `{action}`; {}", did_you_mean(.meant, &super::ACTIONS))]
    UnknownAction {
        /// The word.
        action: String,
        /// What may be meant by it.
        meant: Option<&'static str>,
    },
    /// A value is of another type than the key wants.
    #[error("`{key}` has a value of another type; expected {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it wants.
        expected: &'static str,
    },
    /// A list says nothing.
    #[error("`{0}` is an empty list; fill it, or leave it out")]
    EmptyList(&'static str),
    /// A rule neither allows nor denies.
    #[error("the rule says neither what it allows nor what it denies; add allow = [\"publish\"]")]
    NoAction,
    /// A rule is about nothing.
    #[error("the rule has no topics; add topics = [\"#\"] if it is about all")]
    NoTopics,
    /// A rule contradicts itself.
    #[error("the rule both allows and denies `{0}`; decide for one, or make it two rules")]
    AllowedAndDenied(Action),
    /// A rule only denies, and says how much of it is allowed.
    #[error(
        "`{0}` limits what is allowed, and the rule allows nothing; put it in a rule that does"
    )]
    CapOfDenial(&'static str),
    /// A topic about Shared Subscriptions in a rule that is not about subscribing.
    #[error("a topic with $share/ is about subscribing; add \"subscribe\", or take the topic out")]
    ShareWithoutSubscribe,
    /// A topic is not legal.
    #[error("{0}")]
    Topic(InvalidTopicPattern),
    /// A name can't be one.
    #[error("in `{key}`: {reason}")]
    Name {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: InvalidName,
    },
    /// A name with `*` is not one.
    #[error("in `{key}`: {reason}")]
    NamePattern {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An address is not one.
    #[error("in `{key}`: {reason}")]
    Address {
        /// The key.
        key: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// `qos_max` is no QoS.
    #[error("`qos_max` is 0, 1 or 2")]
    QosMax,
    /// `size_max` is no size.
    #[error("`size_max` is a number of bytes up to 268435455, such as 65536 or \"64KiB\"")]
    SizeMax,
}

fn did_you_mean(nearest: &Option<&'static str>, known: &[&'static str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// A mistake and where it is.
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) mistake: Mistake,
}
