//! Who a client is. All names of people and groups pass one validator, wherever they come from.

use crate::Rules;
use core::net::IpAddr;
use dunlin_codec::{InvalidText, Text};
use std::sync::Arc;

/// How long the name of a user or group may be, in bytes.
pub const NAME_LEN_MAX: usize = 256;
/// How many groups an identity may be in.
pub const GROUPS_MAX: usize = 64;

/// Why a name can't be that of a user or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It has no character.
    #[error("a name has at least one character")]
    Empty,
    /// It is longer than [`NAME_LEN_MAX`].
    #[error("a name has at most {NAME_LEN_MAX} bytes, not {0}")]
    TooLong(usize),
    /// It holds a control character, which would forge lines of a log or end a string early.
    #[error("a name holds no control character, such as U+{0:04X}")]
    Control(u32),
    /// It is no UTF-8 Encoded String.
    #[error("not a legal string")]
    Text(#[from] InvalidText),
}

/// Why there can be no such [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIdentity {
    /// The user's name is not legal.
    #[error("the user name is not legal")]
    User(#[source] InvalidName),
    /// A group's name is not legal.
    #[error("the name of a group is not legal")]
    Group(#[source] InvalidName),
    /// There are more than [`GROUPS_MAX`].
    #[error("an identity is in at most {GROUPS_MAX} groups")]
    TooManyGroups,
}

/// Checks the name of a user or group: 1 to [`NAME_LEN_MAX`] bytes, no control characters.
///
/// # Errors
/// [`InvalidName`] says what is wrong.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_LEN_MAX {
        return Err(InvalidName::TooLong(name.len()));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(control) => Err(InvalidName::Control(control.into())),
        None => Ok(()),
    }
}

fn checked(name: &str) -> Result<Text, InvalidName> {
    check_name(name)?;
    Ok(name.parse()?)
}

/// Whom somebody has proved to be: a user and the groups that vouch for him. Exists only with legal
/// names, each in an allocation of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<Text>,
    groups: Box<[Text]>,
    rules: Option<Arc<Rules>>,
}

impl Identity {
    /// The identity with this user, if it has one, and these groups; their order and repetitions
    /// don't count.
    ///
    /// # Errors
    /// [`InvalidIdentity`] says whose name is not legal.
    pub fn new<'a>(
        user: Option<&str>,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidIdentity> {
        let user = user.map(checked).transpose().map_err(InvalidIdentity::User)?;
        let mut names = Vec::new();
        for group in groups {
            let group = checked(group).map_err(InvalidIdentity::Group)?;
            if let Err(place) = names.binary_search(&group) {
                names.insert(place, group);
            }
            if names.len() > GROUPS_MAX {
                return Err(InvalidIdentity::TooManyGroups);
            }
        }
        Ok(Self { user, groups: names.into(), rules: None })
    }

    /// Nobody in particular: no user, no groups.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The same, with rules that came with its proof, such as a token. They decide where no rule of
    /// the file matches.
    #[must_use]
    pub fn with_rules(mut self, rules: Arc<Rules>) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The rules that came with its proof.
    pub fn rules(&self) -> Option<&Arc<Rules>> {
        self.rules.as_ref()
    }

    /// The user name; `None` for the anonymous.
    pub fn user(&self) -> Option<&Text> {
        self.user.as_ref()
    }

    /// The groups, sorted, each once.
    pub fn groups(&self) -> &[Text] {
        &self.groups
    }
}

/// An identity as it acts: with the Client Identifier that it uses, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    identity: Arc<Identity>,
    client_identifier: Text,
    address: Option<IpAddr>,
    listener: Option<Arc<str>>,
}

impl Subject {
    /// Somebody of whom no address and no listener is known, so that no rule that asks for one
    /// matches.
    pub fn new(identity: Arc<Identity>, client_identifier: Text) -> Self {
        Self { identity, client_identifier, address: None, listener: None }
    }

    /// The same, from this address. An IPv4 address within IPv6 counts as what it is.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address.to_canonical());
        self
    }

    /// The same, come in by the listener of this name.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<str>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Who it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The Client Identifier in use.
    pub fn client_identifier(&self) -> &Text {
        &self.client_identifier
    }

    /// The address that it came from.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The name of the listener that it came in by.
    pub fn listener(&self) -> Option<&str> {
        self.listener.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_free_of_control_characters() {
        let error = |name: &str| Identity::new(Some(name), []).unwrap_err();
        assert_eq!(error(""), InvalidIdentity::User(InvalidName::Empty));
        assert_eq!(error(&"é".repeat(129)), InvalidIdentity::User(InvalidName::TooLong(258)));
        for control in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{85}'] {
            let expected = InvalidName::Control(control.into());
            assert_eq!(error(&format!("a{control}")), InvalidIdentity::User(expected));
            let group = format!("{control}");
            let group = Identity::new(None, [group.as_str()]).unwrap_err();
            assert_eq!(group, InvalidIdentity::Group(expected));
        }
        let longest = "é".repeat(128);
        assert_eq!(Identity::new(Some(&longest), []).unwrap().user().unwrap(), longest.as_str());
    }

    #[test]
    fn groups_are_a_bounded_set() {
        let identity = Identity::new(None, ["b", "a", "b"]).unwrap();
        assert_eq!(identity.groups(), ["a", "b"]);
        let names: Vec<String> = (0..=GROUPS_MAX).map(|n| n.to_string()).collect();
        let groups = |count| names.iter().take(count).map(String::as_str);
        assert!(Identity::new(None, groups(GROUPS_MAX)).is_ok());
        let error = Identity::new(None, groups(GROUPS_MAX + 1)).unwrap_err();
        assert_eq!(error, InvalidIdentity::TooManyGroups);
    }

    #[test]
    fn an_ipv4_address_within_ipv6_is_an_ipv4_address() {
        let subject = Subject::new(Arc::new(Identity::anonymous()), Text::from_static("c"));
        let subject = subject.with_address("::ffff:10.1.2.3".parse().unwrap());
        assert_eq!(subject.address(), Some("10.1.2.3".parse().unwrap()));
    }
}
