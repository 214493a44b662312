//! Our own broker, as a process beside the others.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Our broker, ended when this value is dropped.
pub(crate) struct Ours {
    process: Child,
    address: SocketAddr,
}

impl Ours {
    /// Starts the release build with so many workers.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start(workspace: &Workspace, workers: usize) -> Result<Self> {
        let mut command = Command::new(workspace.target.join("release/dunlin"));
        command.args(["broker", "--listen", "mqtt://127.0.0.1:0", "--log", "error"]);
        command.args(["--workers", &workers.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().context("starting our broker")?;
        let output = process.stdout.take().context("the standard output was asked for")?;
        let mut ours = Self { process, address: ([127, 0, 0, 1], 0).into() };
        for line in BufReader::new(output).lines() {
            let line = line.context("reading what our broker says")?;
            if let Some(address) = line.trim().strip_prefix("listening on mqtt://") {
                ours.address = address.parse().context("our broker's address")?;
                return Ok(ours);
            }
        }
        anyhow::bail!("our broker ended before it listened")
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // A process that is gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
