//! The one validator that the names of users and groups pass, whatever source they come from.

use bytes::Bytes;
use dunlin_codec::Text;
use std::fmt;

/// Bytes that the name of a user may have.
pub const USER_NAME_LEN_MAX: usize = 256;

/// The name of a user or of a group: neither empty nor longer than [`USER_NAME_LEN_MAX`] bytes,
/// without control characters.
///
/// Control characters would forge lines in logs and cut names short in programs that stop at
/// U+0000; what is valid here can be printed as it is. Topic characters (`+`, `#`, `/`) are legal:
/// the rules that compare names with Topic Filters must deal with them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Text);

/// Why a string cannot be a [`UserName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUserName {
    /// There is no character in it.
    #[error("the name is empty")]
    Empty,
    /// It has more than [`USER_NAME_LEN_MAX`] bytes.
    #[error("the name is longer than {USER_NAME_LEN_MAX} bytes")]
    TooLong,
    /// It holds a control character: U+0000 to U+001F, U+007F to U+009F.
    #[error("the name holds a control character")]
    ControlCharacter,
}

impl UserName {
    /// Takes a name over after checking it.
    ///
    /// # Errors
    /// [`InvalidUserName`] names the rule that it breaks.
    pub fn new(name: &str) -> Result<Self, InvalidUserName> {
        if name.is_empty() {
            return Err(InvalidUserName::Empty);
        }
        if name.len() > USER_NAME_LEN_MAX {
            return Err(InvalidUserName::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidUserName::ControlCharacter);
        }
        // The null character is the only thing that `Text` could still object to.
        let text = Text::from_bytes(Bytes::copy_from_slice(name.as_bytes()));
        text.map(Self).map_err(|_| InvalidUserName::ControlCharacter)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as a string of MQTT, sharing its buffer.
    pub fn as_text(&self) -> &Text {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl std::str::FromStr for UserName {
    type Err = InvalidUserName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_their_bounds() {
        assert_eq!(UserName::new(""), Err(InvalidUserName::Empty));
        assert!(UserName::new(&"a".repeat(USER_NAME_LEN_MAX)).is_ok());
        let long = "a".repeat(USER_NAME_LEN_MAX + 1);
        assert_eq!(UserName::new(&long), Err(InvalidUserName::TooLong));
        for name in ["a\0b", "a\nb", "\u{7f}", "\u{85}", "a\u{9f}"] {
            assert_eq!(UserName::new(name), Err(InvalidUserName::ControlCharacter), "{name:?}");
        }
        for name in ["a", "+", "#", "a/b", "$SYS", " ", "Zoë", "名前"] {
            assert_eq!(UserName::new(name).expect("valid").as_str(), name);
        }
    }
}
