//! Dunlin as a process that says where it listens, for loads that configure it themselves.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::handshake::PATIENCE;

/// A broker that is running; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    addresses: Vec<SocketAddr>,
    said: PathBuf,
}

impl Running {
    /// Starts the executable with these arguments, and waits until it listens for MQTT at so many
    /// addresses. What it prints goes to a file of the folder.
    ///
    /// # Errors
    /// When the executable is missing, or does not start, with what it has printed.
    pub fn start(
        dunlin: &Path,
        arguments: &[String],
        listeners: usize,
        folder: &Path,
    ) -> Result<Self> {
        let said = folder.join("said");
        let output = File::create(&said)?;
        // If the load is killed, the kernel ends the broker too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(dunlin).arg("broker").args(arguments);
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let child = command.spawn().context("cannot run setpriv (util-linux)")?;
        let mut running = Self { child, addresses: Vec::new(), said };
        let began = Instant::now();
        loop {
            let text = running.said();
            let listening =
                text.lines().filter_map(|line| line.strip_prefix("listening on mqtt://"));
            running.addresses = listening.filter_map(|at| at.parse().ok()).collect();
            if running.addresses.len() == listeners {
                return Ok(running);
            }
            if running.has_ended()? || began.elapsed() > PATIENCE {
                bail!("the broker does not start: {text}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens, in the order of its configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Whether it is gone.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
