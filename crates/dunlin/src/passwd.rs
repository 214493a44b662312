//! `dunlin passwd`: the users of a password file.

use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use dunlin_identity::password_file::{
    Cost, EditError, PASSWORD_LEN_MAX, PasswordFile, UNKNOWN_USER_KEY_LEN, remove_user,
    set_password, set_scram,
};
use dunlin_identity::scram::{Credentials, ITERATIONS_DEFAULT, Mechanism};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// Where salts come from.
const RANDOM: &str = "/dev/urandom";
const SALT_LEN: usize = 16;

/// Add a user to a password file, or change or remove one.
///
/// The file is written anew and put in the old one's place, with the old one's owner; a new one
/// can be read by its owner alone. A broker that runs reads it again on SIGHUP.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PasswdArgs {
    /// The file; begun if it is not there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Read the password from standard input, as far as its first line goes
    #[arg(long)]
    stdin: bool,
    /// Let the user log in with SCRAM-SHA-256 and SCRAM-SHA-512, too, without sending the password
    #[arg(long)]
    scram: bool,
    /// Remove the user
    #[arg(long, conflicts_with_all = ["stdin", "scram"])]
    delete: bool,
}

const EXAMPLES: &str = "\
Examples:
  dunlin passwd passwords gauge                 asks for the password
  dunlin passwd --stdin passwords gauge < secret
  dunlin passwd --scram passwords gauge         for logins that don't send the password
  dunlin passwd --delete passwords gauge

  dunlin --set auth.password_file=passwords     a broker that knows these users
  dunlin sub -u gauge -P 'open sesame' -t '#'";

impl PasswdArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { file, user, stdin, scram, delete } = self;
        let at_file =
            |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", file.display()));
        let read = || match fs::read_to_string(&file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound && !delete => Ok(String::new()),
            Err(error) => Err(at_file(&error)),
        };
        // A file that can't be changed is told of before anybody types a password.
        PasswordFile::parse(read()?.as_bytes()).map_err(|error| at_file(&error))?;
        let password = match (delete, stdin) {
            (true, _) => Vec::new(),
            (false, true) => first_line()?,
            (false, false) => ask(&user)?,
        };
        // Another one may have changed the file meanwhile, and waits from here on.
        let _lock = lock(&file).map_err(|error| at_file(&error))?;
        let text = read()?;
        let is_known =
            PasswordFile::parse(text.as_bytes()).is_ok_and(|users| users.contains(&user));
        let (changed, done) = if delete {
            (remove_user(&text, &user), "removed from")
        } else {
            let no_random = |error| Failure::new(format!("{RANDOM}: {error}"));
            let salt = random::<SALT_LEN>().map_err(no_random)?;
            let changed = match scram {
                true => {
                    let key = random().map_err(no_random)?;
                    set_scram_password(&text, &user, &password, &salt, &key)
                }
                false => set_password(&text, &user, &password, Cost::DEFAULT, &salt),
            };
            (changed, if is_known { "changed in" } else { "added to" })
        };
        let changed = changed.map_err(|error| at_file(&error))?;
        replace(&file, &changed).map_err(|error| at_file(&error))?;
        print(&format!("{user} {done} {}\n", file.display()))?;
        if PasswordFile::parse(changed.as_bytes()).is_ok_and(|users| users.is_empty()) {
            eprintln!(
                "{}: no user is left; a broker lets nobody in with a password",
                file.display()
            );
        }
        Ok(())
    }
}

/// Makes others who change a password file in the same folder wait until this is dropped. The
/// folder, since the file itself is another one after each change.
fn lock(file: &Path) -> io::Result<File> {
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
    match folder.lock() {
        // Some network file systems lock no folders: the renaming still leaves no half of a file.
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
        _ => Ok(folder),
    }
}

/// Sets credentials for both mechanisms of SCRAM.
fn set_scram_password(
    text: &str,
    user: &str,
    password: &[u8],
    salt: &[u8],
    unknown_user_key: &[u8; UNKNOWN_USER_KEY_LEN],
) -> Result<String, EditError> {
    match password.len() {
        0 => return Err(EditError::NoPassword),
        1..=PASSWORD_LEN_MAX => {}
        _ => return Err(EditError::PasswordTooLong),
    }
    // The keys of two mechanisms have nothing in common, though they are made with the same salt.
    let derive = |mechanism| Credentials::derive(mechanism, password, salt, ITERATIONS_DEFAULT);
    let credentials: Vec<_> = Mechanism::ALL.into_iter().map(derive).collect::<Result<_, _>>()?;
    set_scram(text, user, &credentials, unknown_user_key)
}

fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Puts a new file in the place of one: nobody sees half of it, whatever happens.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // What a link names is replaced, not the link.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    let mut options = OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(&new).and_then(|mut to| {
        to.write_all(text.as_bytes())?;
        if let Ok(before) = fs::metadata(&file) {
            // The broker's user, who is seldom the one that types this, still has to read it.
            fchown(&to, Some(before.uid()), Some(before.gid()))?;
            to.set_permissions(Permissions::from_mode(before.mode() & 0o640))?;
        }
        to.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, &file));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// The first line of standard input, without its end.
fn first_line() -> Result<Vec<u8>, Failure> {
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::new(format!("standard input: {error}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).into())
}

/// Asks for a password on the terminal, twice.
fn ask(user: &str) -> Result<Vec<u8>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for the password; use --stdin"));
    }
    let password = prompt(&format!("Password for {user}: "))?;
    if prompt("Once more: ")? == password {
        Ok(password)
    } else {
        Err(Failure::new("these are two different passwords; nothing was changed"))
    }
}

fn prompt(question: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the terminal: {error}"));
    let _silent = Silent::new().map_err(failed)?;
    eprint!("{question}");
    let answer = type_in();
    eprintln!();
    answer.map_err(failed)?.ok_or_else(|| Failure::interrupted("stopped; nothing was changed"))
}

/// What is typed up to Enter; nothing if that is Ctrl-C.
fn type_in() -> io::Result<Option<Vec<u8>>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const DELETE: u8 = 127;
    let mut typed = Vec::new();
    let mut byte = [0];
    loop {
        let count = io::stdin().read(&mut byte)?;
        match byte[0] {
            INTERRUPT => return Ok(None),
            b'\n' | b'\r' | END => return Ok(Some(typed)),
            _ if count == 0 => return Ok(Some(typed)),
            // A character of several bytes goes as a whole.
            BACKSPACE | DELETE => while typed.pop().is_some_and(|last| last & 0xC0 == 0x80) {},
            byte => typed.push(byte),
        }
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        // With Ctrl-C taken as a byte the terminal is never left silent.
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
