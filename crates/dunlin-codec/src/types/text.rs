//! UTF-8 Encoded Strings.

use super::storage::{LEN_MAX_IN_PLACE, Storage};
use super::{scan, unchecked};
use alloc::string::String;
use bytes::Bytes;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};
use core::{borrow::Borrow, fmt, ops::Deref, str::FromStr};

/// A UTF-8 Encoded String: well-formed, without U+0000, at most 65,535 bytes.
///
/// Cheap to clone: up to [`Text::LEN_MAX_IN_PLACE`] bytes are held in the value itself, more in a
/// buffer that clones share, which for a PUBLISH that came off the wire is the one it was read from.
/// Spec: §1.5.4, [MQTT-1.5.4-1], [MQTT-1.5.4-2].
#[derive(Clone)]
pub struct Text(Storage);

/// Why a string cannot be a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// The bytes are not well-formed UTF-8 [MQTT-1.5.4-1].
    #[error("not well-formed UTF-8")]
    IllFormed,
    /// The string holds the null character U+0000 [MQTT-1.5.4-2].
    #[error("holds the null character U+0000")]
    NullCharacter,
    /// The string is longer than its two-byte length prefix can say.
    #[error("longer than 65,535 bytes")]
    TooLong,
}

impl Text {
    /// Strings of up to this many bytes need no memory but that of the value.
    pub const LEN_MAX_IN_PLACE: usize = LEN_MAX_IN_PLACE;

    /// Takes the bytes, in the buffer that they are in unless they are few, if they are a legal
    /// string.
    ///
    /// # Errors
    /// [`InvalidText`] names what is wrong with the bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidText> {
        check(&bytes)?;
        Ok(Self::from_checked(bytes))
    }

    /// Takes bytes that [`check`], or a stricter check, has seen: nothing else keeps the promise
    /// that [`Text::as_str`] relies on.
    #[inline]
    pub(crate) fn from_checked(bytes: Bytes) -> Self {
        Self(Storage::new(bytes))
    }

    /// As [`Text::from_checked`], for bytes that have to be copied.
    #[inline]
    pub(crate) fn copy_checked(bytes: &[u8]) -> Self {
        Self(Storage::copy(bytes))
    }

    /// As [`Text::copy_checked`], if they need no memory but that of the value.
    #[inline]
    pub(crate) fn in_place_checked(bytes: &[u8]) -> Option<Self> {
        Storage::in_place(bytes).map(Self)
    }

    /// A string that is known when the program is written.
    ///
    /// # Panics
    /// When the literal breaks the rules of [`Text`].
    pub fn from_static(text: &'static str) -> Self {
        match Self::from_bytes(Bytes::from_static(text.as_bytes())) {
            Ok(text) => text,
            Err(error) => panic!("{error}"),
        }
    }

    /// The string.
    #[inline]
    pub fn as_str(&self) -> &str {
        unchecked::as_str(self.as_bytes())
    }

    /// The bytes of the string.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same string in memory of its own, so that it no longer pins the buffer that it was read
    /// from.
    pub fn detached(&self) -> Self {
        Self::copy_checked(self.as_bytes())
    }
}

/// Checks the rules of a UTF-8 Encoded String on raw bytes.
pub(crate) fn check(bytes: &[u8]) -> Result<(), InvalidText> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(InvalidText::TooLong);
    }
    if scan::is_plain(bytes) {
        return Ok(());
    }
    core::str::from_utf8(bytes).map_err(|_| InvalidText::IllFormed)?;
    if bytes.contains(&0) {
        return Err(InvalidText::NullCharacter);
    }
    Ok(())
}

impl Default for Text {
    fn default() -> Self {
        Self::copy_checked(&[])
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// As the bytes, which a `Text` can be looked up by.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl FromStr for Text {
    type Err = InvalidText;
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        check(text.as_bytes())?;
        Ok(Self::copy_checked(text.as_bytes()))
    }
}

impl TryFrom<&str> for Text {
    type Error = InvalidText;
    fn try_from(text: &str) -> Result<Self, InvalidText> {
        text.parse()
    }
}

impl TryFrom<String> for Text {
    type Error = InvalidText;
    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::from_bytes(Bytes::from(text.into_bytes()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}
