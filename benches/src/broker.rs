//! Starts each broker fresh, pinned to a core, on a port of its own, and ends it again.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::handshake;
use crate::traffic::Shape;

mod configuration;

/// A broker that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Mosquitto.
    Mosquitto(PathBuf),
    /// Dunlin.
    Dunlin {
        /// How tables call this build.
        name: String,
        /// The executable.
        path: PathBuf,
    },
    /// rumqttd, a broker in Rust.
    Rumqttd(PathBuf),
    /// A NATS server, which speaks MQTT beside its own protocol.
    Nats(PathBuf),
    /// The relay of this package.
    Relay(PathBuf),
}

/// How a broker is started.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The core that it may use; without one, the system decides.
    pub core: Option<usize>,
    /// Who will receive what; matters to the relay only.
    pub shape: Shape,
    /// A folder that outlives the broker, and what Dunlin's acknowledgements mean for it. Mosquitto
    /// saves there every second. Without one nothing is kept on the disk, except by NATS, which can't
    /// do without.
    pub data: Option<(&'a Path, &'a str)>,
    /// Whether a message is to go out at once, rather than cheaply with others.
    pub at_once: bool,
}

/// How long a broker may take until it accepts a client.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to answer one attempt.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(5);

/// Lines of a broker's log that an error shows.
const LOG_LINES: usize = 15;

impl Program {
    /// The relay, which Cargo has put beside the running executable.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn relay() -> Result<Self> {
        let path = env::current_exe()?.with_file_name("relay");
        if !path.is_file() {
            bail!("no relay: run `cargo build --release -p dunlin-benches` first");
        }
        Ok(Self::Relay(path))
    }

    /// How tables call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Mosquitto(_) => "Mosquitto",
            Self::Dunlin { name, .. } => name,
            Self::Rumqttd(_) => "rumqttd",
            Self::Nats(_) => "NATS",
            Self::Relay(_) => "relay",
        }
    }

    /// What it says its version is.
    ///
    /// # Errors
    /// When it can't be run.
    pub fn version(&self) -> Result<String> {
        let (path, flag) = match self {
            Self::Mosquitto(path) => (path, "-h"),
            Self::Dunlin { path, .. } | Self::Rumqttd(path) | Self::Nats(path) => {
                (path, "--version")
            }
            Self::Relay(_) => return Ok("of this repository".to_owned()),
        };
        let output = Command::new(path).arg(flag).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        Ok(line.context("it does not say its version")?.to_owned())
    }

    /// Starts it and waits until it accepts a client.
    ///
    /// # Errors
    /// When the executable is missing, ends, or accepts no client in time, with the end of its log;
    /// or when a relay is asked to keep something.
    pub fn start(&self, setup: Setup<'_>) -> Result<Broker> {
        // Where nothing is to be kept, a disk shall not slow down a broker that writes all the same.
        let memory_disk = Path::new("/dev/shm");
        let folder = match memory_disk.is_dir() {
            true => TempDir::with_prefix_in("dunlin-bench-", memory_disk)?,
            false => TempDir::with_prefix("dunlin-bench-")?,
        };
        let address = free_address()?;
        let log_path = folder.path().join("log");
        let log = File::create(&log_path)?;
        // If the load is killed, the kernel ends the broker too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(core) = setup.core {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        configuration::append(self, &mut command, address, folder.path(), setup)?;
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run setpriv and taskset (util-linux)")?;
        let mut broker = Broker { child, address, log_path, _folder: folder };
        broker.wait_until_ready().with_context(|| format!("cannot start {}", self.name()))?;
        Ok(broker)
    }
}

impl FromStr for Program {
    type Err = anyhow::Error;

    /// Reads `mosquitto`, `relay`, `mosquitto=PATH`, `rumqttd=PATH`, `nats=PATH`, or `NAME=PATH` of a
    /// Dunlin build.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            None if text == "mosquitto" => Ok(Self::Mosquitto(text.into())),
            None if text == "relay" => Self::relay(),
            None => bail!("neither `mosquitto`, `relay` nor NAME=PATH"),
            Some(("mosquitto", path)) => Ok(Self::Mosquitto(absolute(path)?)),
            Some(("rumqttd", path)) => Ok(Self::Rumqttd(absolute(path)?)),
            Some(("nats", path)) => Ok(Self::Nats(absolute(path)?)),
            Some((name, path)) => Ok(Self::Dunlin { name: name.to_owned(), path: absolute(path)? }),
        }
    }
}

fn absolute(path: &str) -> Result<PathBuf> {
    Path::new(path).canonicalize().with_context(|| format!("no executable {path}"))
}

/// A broker that is running; dropping it ends it.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    log_path: PathBuf,
    _folder: TempDir,
}

impl Broker {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it has printed, to explain a failure.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log_path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        if tail.is_empty() { "the broker printed nothing".to_owned() } else { tail }
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !self.accepts_client() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}; its log ends:\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("no CONNACK after {START_PATIENCE:?}; its log ends:\n{}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether a client can connect; some listen before they can serve.
    fn accepts_client(&self) -> bool {
        let attempt = || {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(ATTEMPT_PATIENCE))?;
            handshake::send_connect(&mut stream, "ready")?;
            handshake::expect_connack(&mut stream)?;
            handshake::leave(&mut stream)
        };
        attempt().is_ok()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address whose port is free now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
