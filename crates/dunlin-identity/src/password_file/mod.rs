//! Password files: one line for each user and method, a name, a colon, and what its password is
//! checked with.
//!
//! ```text
//! # Comments and empty lines are kept.
//! gauge:$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH
//! pump:$7$101$SALT$HASH
//! valve:$scram-sha-256$i=4096$SALT$STORED_KEY$SERVER_KEY
//! :$unknown-users$KEY
//! ```
//!
//! The second is what `mosquitto_passwd` writes. A user may have one password hash and one line for
//! each SCRAM mechanism; who has only SCRAM credentials can log in with the plain password, too. The line without a name is
//! the secret that salts for unknown users are made of, see [`PasswordFile::scram_unknown_user_key`].
//! A file with a line that is none of these is refused as a whole: half a file in force would lock
//! out or let in whom nobody thinks of. A file without users is one that lets nobody in; whether that is
//! meant, or it is half-written, the line [`NO_USERS`] tells.

mod checker;
mod edit;
mod secret;
#[cfg(test)]
mod tests;

pub use checker::{PASSWORD_LEN_MAX, PasswordChecker, REMEMBERED_MAX, Verdict};
pub use edit::{EditError, remove_user, set_password, set_scram};
pub use secret::{Cost, InvalidCost, InvalidSecret};

use crate::hash::{Hash, from_base64};
use crate::scram::{Credentials, ITERATIONS_DEFAULT, Mechanism};
use crate::user_name::{InvalidUserName, UserName};
use secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes that a password file may have.
pub const FILE_LEN_MAX: usize = 64 << 20;

/// Costs by which users can't be told apart by the time of a refusal; a file with more of them
/// would make each refusal too dear.
const COSTS_MAX: usize = 8;

/// Bytes of the key that salts for unknown users are made of.
pub const UNKNOWN_USER_KEY_LEN: usize = 32;

/// The line by which a file without users says that it is meant to have none.
pub const NO_USERS: &str = "# no users";

/// What the key stands behind, in a line without a name.
const UNKNOWN_USER_KEY: &str = "$unknown-users$";

/// The users of a password file.
#[derive(Clone)]
pub struct PasswordFile {
    users: BTreeMap<Box<str>, User>,
    /// One secret of each cost: whoever is refused is checked with all of them, so that the time
    /// tells nothing of who is known.
    dummies: Vec<Secret>,
    unknown_user_key: Option<[u8; UNKNOWN_USER_KEY_LEN]>,
    says_no_users: bool,
}

/// What a user can be checked with; at least one of them is there.
#[derive(Clone, Default)]
struct User {
    password: Option<Secret>,
    scram_sha_256: Option<Credentials>,
    scram_sha_512: Option<Credentials>,
}

/// Why a password file is refused: the line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", place(*line))]
#[non_exhaustive]
pub struct InvalidLine {
    /// The number of the line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

/// What can be wrong with a line, or with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The file is larger than [`FILE_LEN_MAX`].
    #[error("the file is larger than {} MiB", FILE_LEN_MAX >> 20)]
    TooLarge,
    /// The bytes of the line are not UTF-8.
    #[error("not UTF-8; save the file as UTF-8, or remove the line")]
    NotUtf8,
    /// There is no colon in the line.
    #[error("no `:` between the user and its hash; write a comment with `#` in front")]
    NoColon,
    /// The name of the user is not one.
    #[error("{0}; rename the user or remove the line")]
    UserName(#[from] InvalidUserName),
    /// The name begins or ends with a space.
    #[error("a space before or after the name; remove it")]
    Space,
    /// SASLprep would change the name, so that nobody could log in with SCRAM under it.
    #[error("SCRAM knows the user by another spelling (SASLprep); rename it")]
    Unprepared,
    /// What follows the colon is nothing that a password can be checked with.
    #[error("{0}")]
    Secret(#[from] InvalidSecret),
    /// The user has been there with the same kind of hash.
    #[error("the user `{0}` has a line of this kind already; remove one of them")]
    Duplicate(UserName),
    /// The line without a name is not the key for unknown users.
    #[error("no user before the `:`, and no key for unknown users behind it; remove the line")]
    NoName,
    /// There is another key for unknown users.
    #[error("there is a key for unknown users already; remove one of them")]
    SecondKey,
}

/// A line of a password file.
enum Line<'a> {
    /// Nothing but spaces, or a comment.
    Empty,
    /// [`NO_USERS`].
    NoUsers,
    /// A user and what follows the colon.
    User(&'a str, &'a str),
}

impl<'a> Line<'a> {
    fn split(line: &'a str) -> Result<Self, LineFault> {
        let line = line.trim_end_matches([' ', '\t', '\r']);
        if line == NO_USERS {
            return Ok(Self::NoUsers);
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self::Empty);
        }
        line.split_once(':')
            .map_or(Err(LineFault::NoColon), |(user, secret)| Ok(Self::User(user, secret)))
    }
}

impl PasswordFile {
    /// Reads a file; it may have no users.
    ///
    /// # Errors
    /// [`InvalidLine`] for the first line that is wrong.
    pub fn parse(file: &[u8]) -> Result<Self, InvalidLine> {
        if file.len() > FILE_LEN_MAX {
            return Err(InvalidLine { line: 0, fault: LineFault::TooLarge });
        }
        let mut users: BTreeMap<Box<str>, User> = BTreeMap::new();
        let (mut costs, mut dummies) = (BTreeSet::new(), Vec::new());
        let mut unknown_user_key = None;
        let mut says_no_users = false;
        // A mark that some editors put at the beginning is not part of the first name.
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        for (line, bytes) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let mut read = || {
                let text = std::str::from_utf8(bytes).map_err(|_| LineFault::NotUtf8)?;
                let (name, secret) = match Line::split(text)? {
                    Line::User(name, secret) => (name, secret),
                    Line::NoUsers => {
                        says_no_users = true;
                        return Ok(());
                    }
                    Line::Empty => return Ok(()),
                };
                if name.is_empty() {
                    let key = key_of(secret).ok_or(LineFault::NoName)?;
                    let before = unknown_user_key.replace(key);
                    return before.map_or(Ok(()), |_| Err(LineFault::SecondKey));
                }
                let name = checked_name(name)?;
                let secret = Secret::parse(secret)?;
                if secret.scram().is_some() {
                    check_prepared(&name)?;
                }
                if dummies.len() < COSTS_MAX && costs.insert(secret.cost()) {
                    dummies.push(secret.clone());
                }
                let user = users.entry(name.as_str().into()).or_default();
                if user.add(secret) { Ok(()) } else { Err(LineFault::Duplicate(name)) }
            };
            read().map_err(|fault| InvalidLine { line, fault })?;
        }
        Ok(Self { users, dummies, unknown_user_key, says_no_users })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none, so that nobody gets in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether there are none on purpose: [`NO_USERS`] is among the lines. What is empty without it may
    /// be half-written.
    pub fn is_meant_empty(&self) -> bool {
        self.is_empty() && self.says_no_users
    }

    /// Whether the file has a line for the user.
    pub fn contains(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// The user's credentials for a mechanism.
    pub fn scram(&self, user: &str, mechanism: Mechanism) -> Option<&Credentials> {
        self.users.get(user)?.scram(mechanism)
    }

    /// A key for [`ScramServer::new`](crate::scram::ScramServer::new) that nobody knows who does not
    /// know the file, and that stays the same with each start and each change of users; `None` if
    /// nobody has credentials for the mechanism.
    ///
    /// Without a line for it ([`PasswordFile::has_unknown_user_key`]) it is made of the credentials of
    /// all users, so that none of them can compute it alone, and changes with each of these.
    pub fn scram_unknown_user_key(
        &self,
        mechanism: Mechanism,
    ) -> Option<[u8; UNKNOWN_USER_KEY_LEN]> {
        let mut known = self.users.values().filter_map(|user| user.scram(mechanism)).peekable();
        known.peek()?;
        if self.unknown_user_key.is_some() {
            return self.unknown_user_key;
        }
        let known: Vec<String> = known.map(ToString::to_string).collect();
        let parts: Vec<&[u8]> = known.iter().map(String::as_bytes).collect();
        let derived = Hash::Sha256.hmac(b"salt of unknown users", &parts);
        derived.try_into().ok()
    }

    /// Whether it has a key for unknown users, which [`set_scram`] gives it.
    pub fn has_unknown_user_key(&self) -> bool {
        self.unknown_user_key.is_some()
    }

    /// The iterations that most credentials for a mechanism have: what unknown users are told, see
    /// [`ScramServer::unknown_user_iterations`](crate::scram::ScramServer::unknown_user_iterations).
    pub fn scram_iterations(&self, mechanism: Mechanism) -> u32 {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for credentials in self.users.values().filter_map(|user| user.scram(mechanism)) {
            *counts.entry(credentials.iterations()).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or(ITERATIONS_DEFAULT, |(iterations, _)| iterations)
    }

    /// What a plain password of the user is checked with.
    fn secret(&self, user: &str) -> Option<Secret> {
        let user = self.users.get(user)?;
        let scram = || user.scram_sha_256.as_ref().or(user.scram_sha_512.as_ref());
        user.password.clone().or_else(|| scram().cloned().map(Secret::Scram))
    }

    /// What a refusal is to cost beside the check of this secret.
    fn dummies_beside(&self, checked: Option<&Secret>) -> impl Iterator<Item = &Secret> {
        let checked = checked.map(Secret::cost);
        self.dummies.iter().filter(move |dummy| Some(dummy.cost()) != checked)
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl User {
    fn scram(&self, mechanism: Mechanism) -> Option<&Credentials> {
        if mechanism == Mechanism::SHA_256 {
            self.scram_sha_256.as_ref()
        } else {
            self.scram_sha_512.as_ref()
        }
    }

    /// Whether there was no secret of its kind yet.
    fn add(&mut self, secret: Secret) -> bool {
        match secret {
            Secret::Scram(credentials) => {
                let place = if credentials.mechanism() == Mechanism::SHA_256 {
                    &mut self.scram_sha_256
                } else {
                    &mut self.scram_sha_512
                };
                place.replace(credentials).is_none()
            }
            secret => self.password.replace(secret).is_none(),
        }
    }
}

/// The key for unknown users, as it stands behind the colon.
fn key_of(text: &str) -> Option<[u8; UNKNOWN_USER_KEY_LEN]> {
    from_base64(text.strip_prefix(UNKNOWN_USER_KEY)?)?.try_into().ok()
}

/// A name as it may stand before the colon.
fn checked_name(name: &str) -> Result<UserName, LineFault> {
    // U+FEFF is a mark at the beginning of a file, and a space without width anywhere else.
    if name.trim_matches([' ', '\t', '\u{feff}']) != name {
        return Err(LineFault::Space);
    }
    Ok(UserName::new(name)?)
}

/// SCRAM clients send the name prepared: under any other it would never be found.
fn check_prepared(name: &UserName) -> Result<(), LineFault> {
    match stringprep::saslprep(name.as_str()) {
        Ok(prepared) if prepared == name.as_str() => Ok(()),
        _ => Err(LineFault::Unprepared),
    }
}
