//! Dunlin with two listeners, one user of a password file, and a back end that knows all others.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::dunlin::Running;

/// The user of the password file, and its password.
pub const USER: (&str, &str) = ("pump", "swordfish");

/// A broker that is running; dropping it ends it.
#[derive(Debug)]
pub struct Asking {
    running: Running,
    _folder: TempDir,
}

impl Asking {
    /// Starts it; logins and the keys of tokens are asked for at this address.
    ///
    /// # Errors
    /// When the executable is missing, or does not start, with its log.
    pub fn start(dunlin: &Path, back_end: SocketAddr) -> Result<Self> {
        let folder = TempDir::with_prefix("dunlin-back-ends-")?;
        let passwords = folder.path().join("passwords");
        add_user(dunlin, &passwords)?;
        let config = folder.path().join("dunlin.toml");
        let text = format!(
            "listeners = [\"mqtt://127.0.0.1:0\", \"mqtt://127.0.0.1:0\"]\n\
             log = \"off\"\n\
             [auth]\npassword_file = {passwords:?}\n\
             [auth.http]\nurl = \"http://{back_end}/login\"\n\
             [auth.jwt]\njwks_url = \"http://{back_end}/keys\"\nalgorithms = [\"EdDSA\"]\n"
        );
        fs::write(&config, text)?;
        let arguments = ["--config".to_owned(), config.display().to_string()];
        let running = Running::start(dunlin, &arguments, 2, folder.path())?;
        Ok(Self { running, _folder: folder })
    }

    /// Where clients log in by the back end.
    pub fn busy_address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    /// Where the pair is.
    pub fn quiet_address(&self) -> SocketAddr {
        self.running.addresses()[1]
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

fn add_user(dunlin: &Path, passwords: &Path) -> Result<()> {
    let mut command = Command::new(dunlin);
    command.args(["passwd", "--stdin"]).arg(passwords).arg(USER.0);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", dunlin.display()))?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{}", USER.1)?;
    }
    ensure!(child.wait()?.success(), "dunlin passwd fails");
    Ok(())
}
