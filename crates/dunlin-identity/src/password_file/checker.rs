//! Checks logins against a file, and remembers which ones were right: a thousand clients that come
//! back at once must not cost a thousand hashes.

use super::PasswordFile;
use super::secret::Secret;
use crate::hash::Hash;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Logins that are remembered when nobody says otherwise.
pub const REMEMBERED_MAX: usize = 65_536;

/// Bytes that a password may have. Longer ones are nobody's, and are not hashed.
pub const PASSWORD_LEN_MAX: usize = 1_024;

/// A password file with a memory. A reload makes a new one, and so forgets.
pub struct PasswordChecker {
    file: PasswordFile,
    key: [u8; 32],
    verified: Mutex<Verified>,
}

/// What a check of a password comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the user's password.
    Right,
    /// It is not.
    Wrong,
    /// The file has no such user: another method may know it.
    UnknownUser,
}

impl PasswordChecker {
    /// Takes over a file. The key is random, made anew by each process, and leaves no memory that
    /// could be searched for passwords; up to `remembered_max` logins are remembered.
    pub fn new(file: PasswordFile, key: &[u8; 32], remembered_max: usize) -> Self {
        let verified = Mutex::new(Verified::new(remembered_max));
        Self { file, key: *key, verified }
    }

    /// The file.
    pub fn file(&self) -> &PasswordFile {
        &self.file
    }

    /// Checks a login. A refusal takes as long for an unknown user as for a known one, also in a file
    /// of several kinds of hashes; a login that was right before takes microseconds.
    ///
    /// Several threads may check at the same time: nothing is held while hashing.
    pub fn check(&self, user: &str, password: &[u8]) -> Verdict {
        if password.len() > PASSWORD_LEN_MAX {
            return if self.file.contains(user) { Verdict::Wrong } else { Verdict::UnknownUser };
        }
        let Some(secret) = self.file.secret(user) else {
            self.spend(None, password);
            return Verdict::UnknownUser;
        };
        let tag = self.tag(user, &secret.to_string(), password);
        if self.with_verified(|verified| verified.contains(&tag)) {
            return Verdict::Right;
        }
        if !secret.is_password(password) {
            self.spend(Some(&secret), password);
            return Verdict::Wrong;
        }
        self.with_verified(|verified| verified.insert(tag));
        Verdict::Right
    }

    /// Whether the login is remembered, so that a check would cost next to nothing: it needs no
    /// thread of its own then.
    pub fn is_remembered(&self, user: &str, password: &[u8]) -> bool {
        let Some(secret) = self.file.secret(user) else { return false };
        let tag = self.tag(user, &secret.to_string(), password);
        self.with_verified(|verified| verified.contains(&tag))
    }

    /// Takes the time of all costs of the file but the one that was checked.
    fn spend(&self, checked: Option<&Secret>, password: &[u8]) {
        for dummy in self.file.dummies_beside(checked) {
            let _ = dummy.is_password(password);
        }
    }

    /// Stands for user, hash and password together; each goes in with its length.
    fn tag(&self, user: &str, secret: &str, password: &[u8]) -> Tag {
        let lengths = [user.len(), secret.len()].map(|len| (len as u64).to_be_bytes());
        let parts = [&lengths[0][..], &lengths[1], user.as_bytes(), secret.as_bytes(), password];
        let mut tag = Tag::default();
        for (to, from) in tag.iter_mut().zip(Hash::Sha256.hmac(&self.key, &parts)) {
            *to = from;
        }
        tag
    }

    fn with_verified<T>(&self, act: impl FnOnce(&mut Verified) -> T) -> T {
        act(&mut self.verified.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for PasswordChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChecker").field("file", &self.file).finish_non_exhaustive()
    }
}

type Tag = [u8; 32];

/// The logins that were right, in two halves: what is used moves to the young one, and when that is
/// full, the old one is forgotten. So what is used stays, at the cost of no list.
struct Verified {
    young: BTreeSet<Tag>,
    old: BTreeSet<Tag>,
    half_max: usize,
}

impl Verified {
    fn new(len_max: usize) -> Self {
        Self { young: BTreeSet::new(), old: BTreeSet::new(), half_max: len_max / 2 }
    }

    fn contains(&mut self, tag: &Tag) -> bool {
        if self.young.contains(tag) {
            return true;
        }
        let found = self.old.remove(tag);
        if found {
            self.insert(*tag);
        }
        found
    }

    fn insert(&mut self, tag: Tag) {
        if self.half_max == 0 {
            return;
        }
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let mut verified = Verified::new(8);
        let tag = |number: u8| [number; 32];
        verified.insert(tag(0));
        for number in 1..=200 {
            verified.insert(tag(number));
            assert!(verified.contains(&tag(0)), "used after {number}");
            assert!(verified.young.len() + verified.old.len() <= 8);
        }
        assert!(!verified.contains(&tag(1)));
        let mut nothing = Verified::new(0);
        nothing.insert(tag(1));
        assert!(!nothing.contains(&tag(1)));
    }
}
