//! The topics of a rule: Topic Filters in which `%c` and `%u` stand for the client's own names.

use std::str::FromStr;

/// More levels than this has no topic of a rule. It bounds what a search has to remember.
pub(crate) const LEVELS_MAX: usize = 32;

/// Why a text can't be a topic of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopicPattern {
    /// It has no character.
    #[error("a topic has at least one character")]
    Empty,
    /// It is longer than a Topic Filter can be.
    #[error("a topic has at most 65,535 bytes")]
    TooLong,
    /// It holds U+0000, which no topic of MQTT does [MQTT-4.7.3-2].
    #[error("a topic does not hold U+0000")]
    NullCharacter,
    /// It has more levels than a rule may have.
    #[error("a topic of a rule has at most {LEVELS_MAX} levels; end it with '#' before")]
    TooManyLevels,
    /// `#` stands alone in the last level [MQTT-4.7.1-1].
    #[error("'#' stands alone in the last level, as in \"devices/#\"")]
    MultiLevelWildcard,
    /// `+` stands alone in its level [MQTT-4.7.1-2].
    #[error("'+' stands alone in its level, as in \"devices/+/state\"")]
    SingleLevelWildcard,
    /// A `%` that is neither `%c` nor `%u` nor `%%`.
    #[error(
        "after '%' comes 'c' (the Client Identifier), 'u' (the user name) or '%' (a percent sign)"
    )]
    Percent,
    /// Two values in a level could share its text in more than one way.
    #[error("a level holds one '%c' or '%u' at most; put a '/' between them")]
    TwoValues,
    /// A Shared Subscription has a Share Name and a Topic Filter [MQTT-4.8.2-1].
    #[error("a Shared Subscription is \"$share/NAME/FILTER\", with '+' for any NAME")]
    ShareName,
}

/// What fits one level of a Topic Name; but for [`Level::Hash`], which fits all that is left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Literal(Box<str>),
    Plus,
    Hash,
    /// The value with text before and after it.
    Value(Value, Box<str>, Box<str>),
}

/// One of the client's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    ClientIdentifier,
    UserName,
}

impl Value {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::ClientIdentifier => "%c",
            Self::UserName => "%u",
        }
    }

    /// Whether a name can be part of a level without being more, or other, than that.
    pub(crate) fn is_usable(name: &str) -> bool {
        !name.is_empty() && !name.starts_with('$') && !name.contains(['+', '#', '/'])
    }
}

/// One topic of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TopicPattern {
    /// As it was written.
    pub(crate) text: Box<str>,
    /// What the Share Name has to be, if it is about Shared Subscriptions.
    pub(crate) share_name: Option<Level>,
    /// At least one, not more than [`LEVELS_MAX`]; `Hash` is the last if it occurs.
    pub(crate) levels: Box<[Level]>,
}

impl FromStr for TopicPattern {
    type Err = InvalidTopicPattern;

    fn from_str(text: &str) -> Result<Self, InvalidTopicPattern> {
        use InvalidTopicPattern as Invalid;
        if text.is_empty() {
            return Err(Invalid::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(Invalid::TooLong);
        }
        if text.contains('\0') {
            return Err(Invalid::NullCharacter);
        }
        let (share_name, filter) = match text.strip_prefix("$share/") {
            Some(shared) => {
                let (name, filter) = shared.split_once('/').ok_or(Invalid::ShareName)?;
                let name = level(name)?;
                let empty = matches!(&name, Level::Literal(name) if name.is_empty());
                if empty || name == Level::Hash || filter.is_empty() {
                    return Err(Invalid::ShareName);
                }
                (Some(name), filter)
            }
            None => (None, text),
        };
        let mut levels = Vec::new();
        for text in filter.split('/') {
            if levels.last() == Some(&Level::Hash) {
                return Err(Invalid::MultiLevelWildcard);
            }
            if levels.len() == LEVELS_MAX {
                return Err(Invalid::TooManyLevels);
            }
            levels.push(level(text)?);
        }
        Ok(Self { text: text.into(), share_name, levels: levels.into() })
    }
}

impl TopicPattern {
    /// The values that it needs.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        self.share_name.iter().chain(&self.levels).filter_map(|level| match level {
            Level::Value(value, _, _) => Some(*value),
            _ => None,
        })
    }
}

fn level(text: &str) -> Result<Level, InvalidTopicPattern> {
    match text {
        "#" => return Ok(Level::Hash),
        "+" => return Ok(Level::Plus),
        _ if text.contains('#') => return Err(InvalidTopicPattern::MultiLevelWildcard),
        _ if text.contains('+') => return Err(InvalidTopicPattern::SingleLevelWildcard),
        _ => {}
    }
    let mut found = None;
    let mut before = String::new();
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            plain.push(c);
            continue;
        }
        let value = match chars.next() {
            Some('%') => {
                plain.push('%');
                continue;
            }
            Some('c') => Value::ClientIdentifier,
            Some('u') => Value::UserName,
            _ => return Err(InvalidTopicPattern::Percent),
        };
        if found.replace(value).is_some() {
            return Err(InvalidTopicPattern::TwoValues);
        }
        before = std::mem::take(&mut plain);
    }
    Ok(match found {
        Some(value) => Level::Value(value, before.into(), plain.into()),
        None => Level::Literal(plain.into()),
    })
}
