//! Topic Names and Topic Filters.

use super::scan;
use super::text::{self, InvalidText, Text};
use alloc::string::String;
use bytes::Bytes;
use core::{fmt, ops::Deref, str::FromStr};

/// The label of an Application Message: at least one character, no wildcards.
///
/// Spec: §4.7.3, [MQTT-3.3.2-2], [MQTT-4.7.3-1].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Text);

/// Why a string cannot be a [`TopicName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopicName {
    /// A Topic Name has at least one character [MQTT-4.7.3-1].
    #[error("a Topic Name has at least one character")]
    Empty,
    /// A Topic Name holds no `+` and no `#` [MQTT-3.3.2-2].
    #[error("a Topic Name holds no wildcard")]
    Wildcard,
    /// The string itself is not legal.
    #[error("not a legal string")]
    Text(#[from] InvalidText),
}

impl TopicName {
    /// Takes the bytes, in the buffer that they are in unless they are few, if they are a legal
    /// Topic Name.
    ///
    /// # Errors
    /// [`InvalidTopicName`] names the rule that is broken.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidTopicName> {
        Self::check(&bytes)?;
        Ok(Self(Text::from_checked(bytes)))
    }

    /// Checks all rules of a Topic Name on raw bytes.
    #[inline]
    pub(crate) fn check(bytes: &[u8]) -> Result<(), InvalidTopicName> {
        if !bytes.is_empty() && bytes.len() <= usize::from(u16::MAX) && scan::is_plain_name(bytes) {
            return Ok(());
        }
        text::check(bytes)?;
        check_name(bytes)
    }

    /// Takes a string whose bytes [`TopicName::check`] has seen.
    #[inline]
    pub(crate) fn from_checked(text: Text) -> Self {
        Self(text)
    }

    /// A Topic Name that is known when the program is written.
    ///
    /// # Panics
    /// When the literal is not a legal Topic Name.
    pub fn from_static(text: &'static str) -> Self {
        match Self::from_bytes(Bytes::from_static(text.as_bytes())) {
            Ok(name) => name,
            Err(error) => panic!("{error}"),
        }
    }

    /// The Topic Name as a string.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The Topic Name as a UTF-8 Encoded String.
    pub fn as_text(&self) -> &Text {
        &self.0
    }

    /// The same Topic Name in memory of its own.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

fn check_name(bytes: &[u8]) -> Result<(), InvalidTopicName> {
    if bytes.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if bytes.iter().copied().any(is_wildcard) {
        return Err(InvalidTopicName::Wildcard);
    }
    Ok(())
}

/// An expression that selects Topic Names, as a subscription carries it; may be a Shared
/// Subscription (`$share/{ShareName}/{filter}`).
///
/// Spec: §4.7, §4.8.2, [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1], [MQTT-4.8.2-2].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Text);

/// Why a string cannot be a [`TopicFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopicFilter {
    /// A Topic Filter has at least one character [MQTT-4.7.3-1].
    #[error("a Topic Filter has at least one character")]
    Empty,
    /// `#` stands alone in its level, and that level is the last [MQTT-4.7.1-1].
    #[error("'#' stands alone in the last level of a Topic Filter")]
    MultiLevelWildcard,
    /// `+` stands alone in its level [MQTT-4.7.1-2].
    #[error("'+' stands alone in its level of a Topic Filter")]
    SingleLevelWildcard,
    /// A Share Name has at least one character and none of `/`, `+`, `#` [MQTT-4.8.2-1]
    /// [MQTT-4.8.2-2], and a Topic Filter follows it.
    #[error("a Shared Subscription is '$share/', a name without '+' and '#', '/', a Topic Filter")]
    ShareName,
    /// The string itself is not legal.
    #[error("not a legal string")]
    Text(#[from] InvalidText),
}

const SHARE_PREFIX: &str = "$share/";

impl TopicFilter {
    /// Takes the bytes, in the buffer that they are in unless they are few, if they are a legal
    /// Topic Filter.
    ///
    /// # Errors
    /// [`InvalidTopicFilter`] names the rule that is broken.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidTopicFilter> {
        Self::check(&bytes)?;
        Ok(Self(Text::from_checked(bytes)))
    }

    /// Checks all rules of a Topic Filter on raw bytes.
    pub(crate) fn check(bytes: &[u8]) -> Result<(), InvalidTopicFilter> {
        text::check(bytes)?;
        check_filter(bytes)
    }

    /// Takes a string whose bytes [`TopicFilter::check`] has seen.
    #[inline]
    pub(crate) fn from_checked(text: Text) -> Self {
        Self(text)
    }

    /// A Topic Filter that is known when the program is written.
    ///
    /// # Panics
    /// When the literal is not a legal Topic Filter.
    pub fn from_static(text: &'static str) -> Self {
        match Self::from_bytes(Bytes::from_static(text.as_bytes())) {
            Ok(filter) => filter,
            Err(error) => panic!("{error}"),
        }
    }

    /// The whole Topic Filter as it was written, `$share/…` included.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The whole Topic Filter as a UTF-8 Encoded String.
    pub fn as_text(&self) -> &Text {
        &self.0
    }

    /// The Share Name of a Shared Subscription; `None` for an ordinary one.
    pub fn share_name(&self) -> Option<&str> {
        self.split_share().map(|(share_name, _)| share_name)
    }

    /// The part that Topic Names are matched with: the Topic Filter without `$share/{ShareName}/`.
    pub fn matching_part(&self) -> &str {
        self.split_share().map_or_else(|| self.as_str(), |(_, filter)| filter)
    }

    fn split_share(&self) -> Option<(&str, &str)> {
        self.as_str().strip_prefix(SHARE_PREFIX)?.split_once('/')
    }

    /// Whether the matching part holds `+` or `#`.
    pub fn has_wildcard(&self) -> bool {
        self.matching_part().bytes().any(is_wildcard)
    }

    /// The same Topic Filter in memory of its own.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

fn check_filter(filter: &[u8]) -> Result<(), InvalidTopicFilter> {
    let mut filter = filter;
    if filter.is_empty() {
        return Err(InvalidTopicFilter::Empty);
    }
    if let Some(shared) = filter.strip_prefix(SHARE_PREFIX.as_bytes()) {
        let slash = shared.iter().position(|byte| *byte == b'/');
        let (share_name, rest) = slash
            .and_then(|at| shared.split_at_checked(at))
            .ok_or(InvalidTopicFilter::ShareName)?;
        let has_wildcard = share_name.iter().copied().any(is_wildcard);
        if share_name.is_empty() || has_wildcard || rest.len() < 2 {
            return Err(InvalidTopicFilter::ShareName);
        }
        filter = &rest[1..];
    }
    for (at, byte) in filter.iter().enumerate().filter(|(_, byte)| is_wildcard(**byte)) {
        let starts_level = at == 0 || filter[at - 1] == b'/';
        let ends_level = filter.get(at + 1).is_none_or(|next| *next == b'/');
        if *byte == b'#' {
            if !starts_level || at + 1 != filter.len() {
                return Err(InvalidTopicFilter::MultiLevelWildcard);
            }
        } else if !starts_level || !ends_level {
            return Err(InvalidTopicFilter::SingleLevelWildcard);
        }
    }
    Ok(())
}

const fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'+' | b'#')
}

macro_rules! topic_string {
    ($type:ty, $error:ty, $check:expr) => {
        impl Deref for $type {
            type Target = str;
            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                <$type>::check(text.as_bytes())?;
                Ok(Self(Text::copy_checked(text.as_bytes())))
            }
        }

        impl TryFrom<&str> for $type {
            type Error = $error;
            fn try_from(text: &str) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::from_bytes(Bytes::from(text.into_bytes()))
            }
        }

        impl TryFrom<Text> for $type {
            type Error = $error;
            fn try_from(text: Text) -> Result<Self, $error> {
                $check(text.as_bytes())?;
                Ok(Self(text))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.as_str(), f)
            }
        }
    };
}

topic_string!(TopicName, InvalidTopicName, check_name);
topic_string!(TopicFilter, InvalidTopicFilter, check_filter);
