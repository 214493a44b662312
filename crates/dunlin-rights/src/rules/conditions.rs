//! What a rule asks of who acts: his names, and where he came from.

use crate::Subject;
use core::net::IpAddr;
use dunlin_codec::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// A name, or with a `*` at an end whatever ends or begins so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NamePattern {
    fixed: Box<str>,
    open_start: bool,
    open_end: bool,
}

/// Why a text is no [`NamePattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidNamePattern {
    #[error("a name has at least one character")]
    Empty,
    #[error("a '*' stands at the start or the end only")]
    Star,
}

impl FromStr for NamePattern {
    type Err = InvalidNamePattern;

    fn from_str(text: &str) -> Result<Self, InvalidNamePattern> {
        if text.is_empty() {
            return Err(InvalidNamePattern::Empty);
        }
        let (open_start, fixed) =
            text.strip_prefix('*').map_or((false, text), |fixed| (true, fixed));
        let (open_end, fixed) =
            fixed.strip_suffix('*').map_or((false, fixed), |fixed| (true, fixed));
        if fixed.contains('*') {
            return Err(InvalidNamePattern::Star);
        }
        Ok(Self { fixed: fixed.into(), open_start, open_end })
    }
}

impl NamePattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => name == &*self.fixed,
            (true, false) => name.ends_with(&*self.fixed),
            (false, true) => name.starts_with(&*self.fixed),
            (true, true) => name.contains(&*self.fixed),
        }
    }

    /// The only name that matches, if there is only one.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.open_start && !self.open_end).then_some(&*self.fixed)
    }
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    /// The address, all bits behind the prefix zero.
    address: IpAddr,
    prefix_len: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidNetwork {
    #[error("expected an address or a network, such as \"10.0.0.0/8\" or \"fd00::/8\"")]
    Syntax,
    #[error("the length of the prefix is at most {0}")]
    Prefix(u8),
    #[error("an IPv4 network is written as one, such as \"10.0.0.0/8\"")]
    Mapped,
    #[error("the network with this prefix is {0}: write that, or a longer prefix")]
    HostBits(Network),
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Syntax)?;
        // Such addresses of clients count as the IPv4 addresses that they are.
        if address != address.to_canonical() {
            return Err(InvalidNetwork::Mapped);
        }
        let longest = bits(address).1;
        let digits_only = |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_len = match prefix {
            None => longest,
            Some(prefix) if !prefix.is_empty() && digits_only(prefix) => prefix
                .parse()
                .ok()
                .filter(|length| *length <= longest)
                .ok_or(InvalidNetwork::Prefix(longest))?,
            Some(_) => return Err(InvalidNetwork::Syntax),
        };
        let network = Self { address: masked(address, prefix_len), prefix_len };
        if network.address == address {
            Ok(network)
        } else {
            Err(InvalidNetwork::HostBits(network))
        }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && masked(address, self.prefix_len) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The address at the low end of 128 bits, and how many of them are its own.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

fn masked(address: IpAddr, prefix_len: u8) -> IpAddr {
    let (bits, length) = bits(address);
    let behind = u32::from(length.saturating_sub(prefix_len));
    let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
    match address {
        // What was 32 bits before is no more now.
        IpAddr::V4(_) => IpAddr::V4(((bits & mask) as u32).into()),
        IpAddr::V6(_) => IpAddr::V6((bits & mask).into()),
    }
}

/// A choice of people and places; a list without entries says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) users: Box<[NamePattern]>,
    pub(super) clients: Box<[NamePattern]>,
    pub(super) groups: Box<[NamePattern]>,
    pub(super) listeners: Box<[NamePattern]>,
    pub(super) addresses: Box<[Network]>,
}

/// Of each list in `required` one entry must match, of those in `excluded` none may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Conditions {
    pub(super) required: Who,
    pub(super) excluded: Who,
}

/// The key of a condition in a file of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    User,
    Client,
    Group,
    Listener,
    Address,
}

impl Key {
    pub(super) const ALL: [Self; 5] =
        [Self::User, Self::Client, Self::Group, Self::Listener, Self::Address];

    pub(super) const fn word(self, unless: bool) -> &'static str {
        match (self, unless) {
            (Self::User, false) => "user",
            (Self::User, true) => "unless_user",
            (Self::Client, false) => "client",
            (Self::Client, true) => "unless_client",
            (Self::Group, false) => "group",
            (Self::Group, true) => "unless_group",
            (Self::Listener, false) => "listener",
            (Self::Listener, true) => "unless_listener",
            (Self::Address, false) => "address",
            (Self::Address, true) => "unless_address",
        }
    }
}

impl Conditions {
    /// The first condition that does not hold: its key, and whether it is an `unless`.
    pub(super) fn first_broken(&self, view: &View<'_>) -> Option<(Key, bool)> {
        self.broken(view).next()
    }

    /// All conditions that don't hold.
    pub(super) fn broken(&self, view: &View<'_>) -> impl Iterator<Item = (Key, bool)> {
        let required = Key::ALL.into_iter().filter(move |key| {
            self.required.says_about(*key) && !self.required.has_a_match(*key, view)
        });
        let excluded =
            Key::ALL.into_iter().filter(move |key| self.excluded.has_a_match(*key, view));
        required.map(|key| (key, false)).chain(excluded.map(|key| (key, true)))
    }
}

impl Who {
    fn says_about(&self, key: Key) -> bool {
        match key {
            Key::User => !self.users.is_empty(),
            Key::Client => !self.clients.is_empty(),
            Key::Group => !self.groups.is_empty(),
            Key::Listener => !self.listeners.is_empty(),
            Key::Address => !self.addresses.is_empty(),
        }
    }

    fn has_a_match(&self, key: Key, view: &View<'_>) -> bool {
        let any = |patterns: &[NamePattern], name: &str| {
            patterns.iter().any(|pattern| pattern.matches(name))
        };
        let subject = view.subject;
        match key {
            Key::User => subject.identity().user().is_some_and(|user| any(&self.users, user)),
            Key::Client => any(&self.clients, subject.client_identifier()),
            Key::Group => {
                !self.groups.is_empty() && view.groups.iter().any(|group| any(&self.groups, group))
            }
            Key::Listener => subject.listener().is_some_and(|name| any(&self.listeners, name)),
            Key::Address => subject.address().is_some_and(|address| {
                self.addresses.iter().any(|network| network.contains(address))
            }),
        }
    }
}

/// Who is in which group by the word of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    by_user: BTreeMap<Box<str>, Vec<Box<str>>>,
    /// Members given with a `*`.
    by_pattern: Vec<(NamePattern, Box<str>)>,
}

impl Groups {
    pub(super) fn insert(&mut self, group: &str, member: NamePattern) {
        match member.exact() {
            Some(user) => {
                let user = user.into();
                self.by_user.entry(user).or_default().push(group.into());
            }
            None => self.by_pattern.push((member, group.into())),
        }
    }

    /// The subject with all groups that it is in: those that vouched for it, and those of the file.
    pub(super) fn view<'a>(&'a self, subject: &'a Subject) -> View<'a> {
        let mut groups: BTreeSet<&str> =
            subject.identity().groups().iter().map(Text::as_str).collect();
        if let Some(user) = subject.identity().user() {
            let by_user = self.by_user.get(user.as_str()).into_iter().flatten();
            groups.extend(by_user.map(|group| &**group));
            let by_pattern = self.by_pattern.iter().filter(|(member, _)| member.matches(user));
            groups.extend(by_pattern.map(|(_, group)| &**group));
        }
        View { subject, groups }
    }
}

/// A subject as rules see it.
pub(super) struct View<'a> {
    pub(super) subject: &'a Subject,
    pub(super) groups: BTreeSet<&'a str>,
}
