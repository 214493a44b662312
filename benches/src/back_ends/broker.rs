//! Dunlin with two listeners, one user of a password file, and a back end that knows all others.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::handshake::PATIENCE;

/// The user of the password file, and its password.
pub const USER: (&str, &str) = ("pump", "swordfish");

/// A broker that is running; dropping it ends it.
#[derive(Debug)]
pub struct Asking {
    child: Child,
    addresses: [SocketAddr; 2],
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
        let said = folder.path().join("said");
        let output = File::create(&said)?;
        // If the load is killed, the kernel ends the broker too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(dunlin).arg("broker");
        command.arg("--config").arg(&config).stdin(Stdio::null());
        command.stderr(output.try_clone()?).stdout(output);
        let mut child = command.spawn().context("cannot run setpriv (util-linux)")?;
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&said)?;
            let listening =
                text.lines().filter_map(|line| line.strip_prefix("listening on mqtt://"));
            let addresses: Vec<SocketAddr> = listening.filter_map(|at| at.parse().ok()).collect();
            if let Ok(addresses) = addresses.try_into() {
                return Ok(Self { child, addresses, _folder: folder });
            }
            if child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the broker does not start: {text}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where clients log in by the back end.
    pub fn busy_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the pair is.
    pub fn quiet_address(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
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

impl Drop for Asking {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
