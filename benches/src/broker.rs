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

use crate::traffic::Shape;

/// A broker that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Mosquitto: `mosquitto -c FILE`.
    Mosquitto(PathBuf),
    /// Dunlin: `dunlin --listen mqtt://ADDR --workers 1`.
    Dunlin {
        /// How tables call this build.
        name: String,
        /// The executable.
        path: PathBuf,
    },
    /// The relay of this package.
    Relay(PathBuf),
}

/// How long a broker may take until it accepts connections.
const START_PATIENCE: Duration = Duration::from_secs(60);

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
            Self::Relay(_) => "relay",
        }
    }

    /// Starts it on `core`, or wherever the system likes, with its state in a folder that outlives it, and waits until it accepts
    /// connections. `durability` is what Dunlin's acknowledgements mean; Mosquitto saves its state
    /// after every change that it counts, or not at all without one.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub fn start_with_data(
        &self,
        core: Option<usize>,
        data: &Path,
        durability: Option<&str>,
    ) -> Result<Broker> {
        self.start_as(core, |command, address, directory| {
            match self {
                Self::Mosquitto(path) => {
                    let config = directory.join("mosquitto.conf");
                    let mut text = mosquitto_config(address);
                    if durability.is_some() {
                        text = text.replace("persistence false", "persistence true");
                        text.push_str(&format!(
                            "persistence_location {}/\nautosave_interval 1\nautosave_on_changes false\n",
                            data.display()
                        ));
                    }
                    fs::write(&config, text)?;
                    command.arg(path).arg("-c").arg(&config);
                }
                Self::Dunlin { path, .. } => {
                    let listen = format!("mqtt://{address}");
                    command.arg(path).args(["broker", "--listen", &listen, "--workers", "1"]);
                    command.args(["--set", "limits.queue_len_max=10000000"]);
                    command.args(["--set", "limits.queue_bytes_max=100GB"]);
                    if let Some(durability) = durability {
                        command.arg("--data").arg(data);
                        command.args(["--set", &format!("durability={durability}")]);
                    }
                }
                Self::Relay(_) => bail!("a relay keeps nothing"),
            }
            Ok(())
        })
    }

    /// Starts it on `core` and waits until it accepts connections. `shape` matters to the relay only.
    ///
    /// # Errors
    /// When the executable is missing, ends, or does not listen in time; with the end of its log.
    pub fn start(&self, core: usize, shape: Shape) -> Result<Broker> {
        self.start_as(Some(core), |command, address, directory| {
            match self {
                Self::Mosquitto(path) => {
                    let config = directory.join("mosquitto.conf");
                    fs::write(&config, mosquitto_config(address))?;
                    command.arg(path).arg("-c").arg(&config);
                }
                Self::Dunlin { path, .. } => {
                    let listen = format!("mqtt://{address}");
                    command.arg(path).args(["--listen", &listen, "--workers", "1"]);
                }
                Self::Relay(path) => {
                    let (listen, shape) = (address.to_string(), shape.to_string());
                    command.arg(path).args(["--listen", &listen, "--shape", &shape]);
                }
            }
            Ok(())
        })
    }

    fn start_as(
        &self,
        core: Option<usize>,
        arguments: impl FnOnce(&mut Command, SocketAddr, &Path) -> Result<()>,
    ) -> Result<Broker> {
        let directory = TempDir::with_prefix("dunlin-bench-")?;
        let address = free_address()?;
        let log_path = directory.path().join("log");
        let log = File::create(&log_path)?;
        // If the load is killed, the kernel ends the broker too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(core) = core {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        arguments(&mut command, address, directory.path())?;
        command.current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run setpriv and taskset (util-linux)")?;
        let mut broker = Broker { child, address, log_path, _directory: directory };
        broker.wait_until_listening().with_context(|| format!("cannot start {}", self.name()))?;
        Ok(broker)
    }
}

impl FromStr for Program {
    type Err = anyhow::Error;

    /// Reads `mosquitto`, `relay`, `mosquitto=PATH`, or `NAME=PATH` of a Dunlin build.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            None if text == "mosquitto" => Ok(Self::Mosquitto(text.into())),
            None if text == "relay" => Self::relay(),
            None => bail!("neither `mosquitto`, `relay` nor NAME=PATH"),
            Some(("mosquitto", path)) => Ok(Self::Mosquitto(absolute(path)?)),
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
    _directory: TempDir,
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

    fn wait_until_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}; its log ends:\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("not listening after {START_PATIENCE:?}; its log ends:\n{}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As fast as it goes with the queues that the load needs: no log, no limit that drops messages.
fn mosquitto_config(address: SocketAddr) -> String {
    format!(
        "listener {} {}\nallow_anonymous true\nmax_inflight_messages 100\n\
         max_queued_messages 0\npersistence false\nlog_type error\nlog_type warning\nuser root\n",
        address.port(),
        address.ip()
    )
}

/// A loopback address whose port is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
