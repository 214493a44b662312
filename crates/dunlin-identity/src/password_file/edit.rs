//! Changes to a file's text, one user at a time: all other lines stay as they are, in their order.

use super::secret::Secret;
use super::{
    Cost, InvalidLine, Line, LineFault, NO_USERS, PASSWORD_LEN_MAX, PasswordFile, UNKNOWN_USER_KEY,
    UNKNOWN_USER_KEY_LEN, check_prepared, checked_name,
};
use crate::hash::to_base64;
use crate::scram::{Credentials, InvalidCredentials};
use crate::user_name::UserName;

/// Why a file was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A line of the file is wrong: it is mended first, or a new file is begun.
    #[error(transparent)]
    Line(#[from] InvalidLine),
    /// The name can't stand in a password file: it begins with `#` or holds a colon.
    #[error("a user in a password file can't have `:` in its name, nor `#` at its beginning")]
    Separator,
    /// The name is none that a user may have.
    #[error(transparent)]
    UserName(LineFault),
    /// The password is empty.
    #[error("the password is empty")]
    NoPassword,
    /// The password is longer than [`PASSWORD_LEN_MAX`].
    #[error("the password is longer than {PASSWORD_LEN_MAX} bytes")]
    PasswordTooLong,
    /// The password can't be used with SCRAM.
    #[error(transparent)]
    Scram(#[from] InvalidCredentials),
    /// The salt is shorter than 8 or longer than 64 bytes, or there is no memory for hashing.
    #[error("the password could not be hashed")]
    Hashing,
    /// There is no such user in the file.
    #[error("there is no user `{0}` in the file")]
    UnknownUser(UserName),
}

/// Adds a user or changes its password; gives the new text of the file. Other credentials of the
/// user go, for they are of the old password. An empty text begins a new file.
///
/// The salt is random, 16 bytes long or at least 8, and never used twice.
///
/// # Errors
/// [`EditError`]; the file is to stay as it is then.
pub fn set_password(
    file: &str,
    user: &str,
    password: &[u8],
    cost: Cost,
    salt: &[u8],
) -> Result<String, EditError> {
    let user = name(user)?;
    check_password(password)?;
    let secret = Secret::derive(password, cost, salt).ok_or(EditError::Hashing)?;
    replace(file, &user, &[secret])
}

/// Adds a user or changes its password, to be checked with SCRAM: a line for each mechanism of the
/// credentials, in place of all lines that the user had. A file without a key for unknown users gets
/// this one, which is random: see [`PasswordFile::scram_unknown_user_key`].
///
/// # Errors
/// [`EditError`]; the file is to stay as it is then.
pub fn set_scram(
    file: &str,
    user: &str,
    credentials: &[Credentials],
    unknown_user_key: &[u8; UNKNOWN_USER_KEY_LEN],
) -> Result<String, EditError> {
    let user = name(user)?;
    check_prepared(&user).map_err(EditError::UserName)?;
    let secrets: Vec<_> = credentials.iter().cloned().map(Secret::Scram).collect();
    if secrets.is_empty() {
        return Err(EditError::NoPassword);
    }
    let mut changed = replace(file, &user, &secrets)?;
    if !PasswordFile::parse(changed.as_bytes())?.has_unknown_user_key() {
        changed.push_str(&format!(":{UNKNOWN_USER_KEY}{}\n", to_base64(unknown_user_key)));
    }
    Ok(changed)
}

/// Removes all lines of a user; gives the new text of the file. Without its last user the file is
/// one that lets nobody in, and says so by [`NO_USERS`].
///
/// # Errors
/// [`EditError::UnknownUser`] when there is none, [`EditError::Line`].
pub fn remove_user(file: &str, user: &str) -> Result<String, EditError> {
    let user = name(user)?;
    let mut changed = replace(file, &user, &[])?;
    if changed == file {
        return Err(EditError::UnknownUser(user));
    }
    let left = PasswordFile::parse(changed.as_bytes())?;
    if left.is_empty() && !left.is_meant_empty() {
        end_line(&mut changed);
        changed.push_str(&format!("{NO_USERS}\n"));
    }
    Ok(changed)
}

fn check_password(password: &[u8]) -> Result<(), EditError> {
    match password.len() {
        0 => Err(EditError::NoPassword),
        1..=PASSWORD_LEN_MAX => Ok(()),
        _ => Err(EditError::PasswordTooLong),
    }
}

fn name(user: &str) -> Result<UserName, EditError> {
    if user.starts_with('#') || user.contains(':') {
        return Err(EditError::Separator);
    }
    checked_name(user).map_err(EditError::UserName)
}

/// Ends the last line, if there is one that is not.
fn end_line(file: &mut String) {
    if !file.is_empty() && !file.ends_with('\n') {
        file.push('\n');
    }
}

/// The file with these lines where the user's first one was, or else at its end.
fn replace(file: &str, user: &UserName, secrets: &[Secret]) -> Result<String, EditError> {
    PasswordFile::parse(file.as_bytes())?;
    let mut changed = String::with_capacity(file.len() + 256);
    let mut pending = Some(secrets);
    let mut put = |changed: &mut String| {
        for secret in pending.take().unwrap_or_default() {
            changed.push_str(&format!("{user}:{secret}\n"));
        }
    };
    let mark = '\u{feff}';
    for (number, line) in file.split_inclusive('\n').enumerate() {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = text.strip_prefix(mark).filter(|_| number == 0).unwrap_or(text);
        match Line::split(text) {
            Ok(Line::User(name, _)) if name == user.as_str() => put(&mut changed),
            // There is one from now on.
            Ok(Line::NoUsers) if !secrets.is_empty() => {}
            _ => changed.push_str(line),
        }
    }
    if !secrets.is_empty() {
        end_line(&mut changed);
    }
    put(&mut changed);
    // Two credentials of one mechanism would be a file that can't be read.
    PasswordFile::parse(changed.as_bytes())?;
    Ok(changed)
}
