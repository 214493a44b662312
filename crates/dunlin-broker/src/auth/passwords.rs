//! The password file: read at start, again when that is asked for, and asked for each login.

use super::chain::{Answer, Bulkhead, Candidate, Method};
use crate::trusted_file::{self, Fault};
use dunlin_identity::password_file::{
    FILE_LEN_MAX, InvalidLine, NO_USERS, PASSWORD_LEN_MAX, PasswordChecker, PasswordFile,
    REMEMBERED_MAX, Verdict,
};
use dunlin_identity::scram::{Credentials, Mechanism, ScramServer};
use dunlin_identity::{USER_NAME_LEN_MAX, UserName};
use dunlin_protocol::codec::ReasonCode;
use std::fs::File;
use std::io::{self, Read as _};
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
    /// It was read again, and names no user any more.
    #[error(
        "{}: no user is in it, so that it may be half-written; if nobody is to log in by it any more, \
         write the line `{NO_USERS}` into it", .0.display()
    )]
    Emptied(PathBuf),
    /// It was read again, and ends within a line.
    #[error(
        "{}: its last line has no end, so that it may be half-written; put a line feed behind it",
        .0.display()
    )]
    HalfWritten(PathBuf),
}

/// The users of a file.
#[derive(Debug)]
pub(crate) struct Passwords {
    path: PathBuf,
    /// Whether another method decides about all who are not in the file. Otherwise a refusal takes
    /// as long for them as for those who are.
    leaves_strangers: bool,
    users: RwLock<Arc<Users>>,
}

/// What was read from it, made ready for use.
#[derive(Debug)]
pub(super) struct Users {
    checker: PasswordChecker,
    scram: Vec<ScramServer>,
}

impl Users {
    /// The user's credentials for SCRAM.
    pub(super) fn credentials(&self, user: &str, mechanism: Mechanism) -> Option<&Credentials> {
        self.checker.file().scram(user, mechanism)
    }

    /// The server of a mechanism that some user has credentials for.
    pub(super) fn scram(&self, mechanism: Mechanism) -> Option<&ScramServer> {
        self.scram.iter().find(|server| server.mechanism() == mechanism)
    }
}

impl Passwords {
    /// Reads a file; whether another method decides about all who are not in it.
    pub(crate) fn read(path: &Path, leaves_strangers: bool) -> Result<Self, PasswordFileError> {
        let (users, is_whole) = read_users(path)?;
        if !is_whole {
            tracing::warn!(
                "{}: its last line has no end; put a line feed behind it, else it is taken for \
                 half-written when it is read again",
                path.display()
            );
        }
        let users = RwLock::new(Arc::new(users));
        Ok(Self { path: path.to_owned(), leaves_strangers, users })
    }

    /// Reads the file again; gives how many users there are. What is in force stays so if the file
    /// is of no use, or may be half-written: who writes to it empties it first, and gets to the end of
    /// its last line last. One that says it has no users lets nobody in.
    pub(crate) fn reload(&self) -> Result<usize, PasswordFileError> {
        let (users, is_whole) = read_users(&self.path)?;
        let file = users.checker.file();
        if file.is_empty() && !file.is_meant_empty() && self.len() > 0 {
            return Err(PasswordFileError::Emptied(self.path.clone()));
        }
        if !is_whole {
            return Err(PasswordFileError::HalfWritten(self.path.clone()));
        }
        let len = file.len();
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
        Ok(len)
    }

    /// How many users there are.
    pub(crate) fn len(&self) -> usize {
        self.users().checker.file().len()
    }

    pub(super) fn users(&self) -> Arc<Users> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The users of a file, and whether its last line has an end.
fn read_users(path: &Path) -> Result<(Users, bool), PasswordFileError> {
    let unreadable = |source| PasswordFileError::Unreadable { path: path.to_owned(), source };
    let file = trusted_file::read(path, FILE_LEN_MAX).map_err(|fault| match fault {
        Fault::Unreadable(source) => unreadable(source),
        Fault::WorldWritable => PasswordFileError::WorldWritable(path.to_owned()),
    })?;
    let is_whole = file.bytes.last().is_none_or(|last| *last == b'\n');
    let file = PasswordFile::parse(&file.bytes)
        .map_err(|source| PasswordFileError::Invalid { path: path.to_owned(), source })?;
    let mut key = [0; 32];
    open_random()?
        .read_exact(&mut key)
        .map_err(|source| PasswordFileError::Unreadable { path: PathBuf::from(RANDOM), source })?;
    let scram = Mechanism::ALL.into_iter().filter_map(|mechanism| {
        let unknown_user_key = file.scram_unknown_user_key(mechanism)?;
        let iterations = file.scram_iterations(mechanism);
        let server = ScramServer::new(mechanism, &unknown_user_key);
        Some(server.unknown_user_iterations(iterations))
    });
    let scram: Vec<_> = scram.collect();
    if !scram.is_empty() && !file.has_unknown_user_key() {
        tracing::warn!(
            "{}: unknown users may be told from known ones by SCRAM after a change; \
             `dunlin passwd --scram` puts a key into the file",
            path.display()
        );
    }
    Ok((Users { checker: PasswordChecker::new(file, &key, REMEMBERED_MAX), scram }, is_whole))
}

/// Where random bytes come from.
pub(super) fn open_random() -> Result<File, PasswordFileError> {
    File::open(RANDOM)
        .map_err(|source| PasswordFileError::Unreadable { path: PathBuf::from(RANDOM), source })
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
        let users = self.users();
        if self.leaves_strangers && !users.checker.file().contains(user) {
            return Some(Answer::NotMine);
        }
        users.checker.is_remembered(user, password).then(|| allowed(user))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        let Some(user) = &candidate.login.user_name else { return Answer::NotMine };
        let password = candidate.login.password.as_deref().unwrap_or_default();
        match self.users().checker.check(user, password) {
            Verdict::Right => allowed(user),
            Verdict::Wrong => {
                Answer::deny(ReasonCode::BadUserNameOrPassword, "the password is wrong")
            }
            Verdict::UnknownUser => Answer::NotMine,
        }
    }

    /// Hashing must leave room for the workers.
    fn bulkhead(&self) -> Option<Bulkhead> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Bulkhead { name: "password", threads: (cores / 2).max(1), may_hang: false })
    }
}
