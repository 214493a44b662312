//! The password file: read at start, again when that is asked for, and asked for each login.

use super::chain::{Answer, Candidate, Method};
use dunlin_identity::password_file::{
    FILE_LEN_MAX, InvalidLine, PASSWORD_LEN_MAX, PasswordChecker, PasswordFile, REMEMBERED_MAX,
    Verdict,
};
use dunlin_identity::{USER_NAME_LEN_MAX, UserName};
use dunlin_protocol::codec::ReasonCode;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Where random bytes come from.
const RANDOM: &str = "/dev/urandom";

/// Why a password file is of no use: the file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordFileError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody on the machine could let themselves in.
    #[error("{}: everybody may write to it; say chmod o-w", .0.display())]
    WorldWritable(PathBuf),
    /// A line is wrong.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: InvalidLine,
    },
    /// It names no user, and there is no other way to come in.
    #[error("{}: no user is in it, so nobody could log in; add one with `dunlin passwd`", .0.display())]
    NoUser(PathBuf),
}

/// The users of a file.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    checker: RwLock<Arc<PasswordChecker>>,
}

impl Passwords {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let checker = RwLock::new(Arc::new(checker(path)?));
        Ok(Self { path: path.to_owned(), checker })
    }

    /// Reads the file again; gives how many users there are. What is in force stays so if the file
    /// is of no use; one without users is of use, and lets nobody in.
    pub(crate) fn reload(&self) -> Result<usize, PasswordFileError> {
        let checker = Arc::new(checker(&self.path)?);
        let users = checker.file().len();
        *self.checker.write().unwrap_or_else(PoisonError::into_inner) = checker;
        Ok(users)
    }

    /// How many users there are.
    pub(crate) fn len(&self) -> usize {
        self.checker().file().len()
    }

    fn checker(&self) -> Arc<PasswordChecker> {
        self.checker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn checker(path: &Path) -> Result<PasswordChecker, PasswordFileError> {
    let unreadable = |source| PasswordFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.permissions().mode() & 0o002 != 0 {
        return Err(PasswordFileError::WorldWritable(path.to_owned()));
    }
    let mut text = Vec::new();
    // One byte more than there may be, so that too many are noticed.
    file.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
    let file = PasswordFile::parse(&text)
        .map_err(|source| PasswordFileError::Invalid { path: path.to_owned(), source })?;
    let mut key = [0; 32];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(|source| PasswordFileError::Unreadable { path: PathBuf::from(RANDOM), source })?;
    Ok(PasswordChecker::new(file, &key, REMEMBERED_MAX))
}

fn allowed(user: &str) -> Answer {
    match UserName::new(user) {
        Ok(user) => super::chain::allowed(&user),
        // No such name is in a file.
        Err(_) => Answer::NotMine,
    }
}

impl Method for Arc<Passwords> {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        let Some(user) = &candidate.login.user_name else { return Some(Answer::NotMine) };
        let password = candidate.login.password.as_deref().unwrap_or_default();
        // What can't be right does not wait, for the queue would have to hold it.
        if user.len() > USER_NAME_LEN_MAX || password.len() > PASSWORD_LEN_MAX {
            return Some(Answer::NotMine);
        }
        self.checker().is_remembered(user, password).then(|| allowed(user))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        let Some(user) = &candidate.login.user_name else { return Answer::NotMine };
        let password = candidate.login.password.as_deref().unwrap_or_default();
        match self.checker().check(user, password) {
            Verdict::Right => allowed(user),
            Verdict::Wrong => {
                Answer::Deny(ReasonCode::BadUserNameOrPassword, "the password is wrong")
            }
            Verdict::UnknownUser => Answer::NotMine,
        }
    }
}
