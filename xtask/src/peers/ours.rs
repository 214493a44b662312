//! Our own broker, as a process beside the others.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::run as run_command;
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
        Self::start_program(&workspace.target.join("release/dunlin"), workers)
    }

    /// Starts this build with so many workers.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start_program(program: &Path, workers: usize) -> Result<Self> {
        let mut command = Command::new(program);
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
        bail!("our broker ended before it listened")
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets it stop by itself, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop well.
    pub(crate) fn stop(mut self) -> Result<()> {
        let number = self.process.id().to_string();
        run_command(Command::new("kill").args(["-TERM", &number]))?;
        let status = self.process.wait().context("waiting for our broker")?;
        if !status.success() {
            bail!("our broker stopped with {status}");
        }
        Ok(())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // A process that is gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
