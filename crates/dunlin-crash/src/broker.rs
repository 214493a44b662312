//! The broker as a process: started, killed, started again in the same folder at the same port.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a starting broker is tried.
const POLL: Duration = Duration::from_millis(2);

/// Whose broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Ours
    Dunlin,
    /// With persistence, saved after every change
    Mosquitto,
}

/// What its acknowledgements are to mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// On the disk
    Fsync,
    /// With the operating system
    Written,
    /// In memory
    Memory,
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) workers: usize,
    /// The library that knows what a power cut leaves; without it the folder is the disk's own.
    pub(crate) bad_disk: Option<PathBuf>,
    /// Where the data lies instead, on a file system of its own.
    pub(crate) on: Option<PathBuf>,
    /// Where data, shadow, control file, configuration and log lie.
    pub(crate) folder: PathBuf,
}

/// A broker that runs, or was killed.
#[derive(Debug)]
pub(crate) struct Broker {
    launch: Launch,
    address: SocketAddr,
    process: Option<Child>,
}

impl Launch {
    /// The folder with the broker's state.
    pub(crate) fn data(&self) -> PathBuf {
        let name = self.folder.file_name().unwrap_or_default();
        match &self.on {
            Some(on) => on.join(name).join("data"),
            None => self.folder.join("data"),
        }
    }

    /// What of it a power cut leaves.
    pub(crate) fn shadow(&self) -> PathBuf {
        self.folder.join("shadow")
    }

    /// Where the faults of the disk are named.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    fn command(&self, address: SocketAddr) -> Result<Command> {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Dunlin => {
                command.arg("broker").arg("--listen").arg(format!("mqtt://{address}"));
                command.arg("--data").arg(self.data());
                command.args(["--workers", &self.workers.to_string(), "--log", "info"]);
                let level = self.durability.to_possible_value().context("a level has a name")?;
                command.args(["--set", &format!("durability={}", level.get_name())]);
            }
            Kind::Mosquitto => {
                let file = self.folder.join("mosquitto.conf");
                fs::write(&file, self.mosquitto_configuration(address))?;
                command.arg("-c").arg(file);
            }
        }
        if let Some(library) = &self.bad_disk {
            command.env("LD_PRELOAD", library);
            command.env("DUNLIN_BAD_DISK_DATA", self.data());
            command.env("DUNLIN_BAD_DISK_SHADOW", self.shadow());
            command.env("DUNLIN_BAD_DISK_CONTROL", self.control());
        }
        Ok(command)
    }

    /// Everything is kept and nothing dropped for its number, so that it is the saving that is
    /// compared.
    fn mosquitto_configuration(&self, address: SocketAddr) -> String {
        let persistence = self.durability != Durability::Memory;
        format!(
            "listener {} {}\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n\
             persistence {persistence}\npersistence_location {}/\n\
             autosave_interval 1\nautosave_on_changes true\n\
             max_queued_messages 0\nmax_queued_bytes 0\n",
            address.port(),
            address.ip(),
            self.data().display(),
        )
    }
}

impl Broker {
    /// A broker at a port that nothing holds, not yet started. Its folders are made.
    pub(crate) fn new(launch: Launch) -> Result<Self> {
        for folder in [launch.data(), launch.shadow()] {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
        Ok(Self { launch, address: socket.local_addr()?, process: None })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The file with all that the broker says.
    pub(crate) fn log(&self) -> PathBuf {
        self.launch.folder.join("log")
    }

    /// Begins to start the process.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let open = OpenOptions::new().create(true).append(true).open(self.log());
        let log = open.context("opening the broker's log")?;
        let mut command = self.launch.command(self.address)?;
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let program = self.launch.program.display().to_string();
        let process = command.spawn().with_context(|| format!("starting {program}"))?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it accepts a client; gives how long that took.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<Duration> {
        let began = Instant::now();
        while !accepts(self.address).await {
            if let Some(status) = self.ended()? {
                bail!("the broker ended with {status}:\n{}", tail(&self.log()));
            }
            if began.elapsed() > PATIENCE {
                bail!("the broker accepts no client:\n{}", tail(&self.log()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(began.elapsed())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            if let Some(status) = process.try_wait()? {
                bail!("the broker had ended by itself with {status}:\n{}", tail(&self.log()));
            }
            process.kill().context("killing the broker")?;
            process.wait().context("waiting for the broker's end")?;
        }
        Ok(())
    }

    /// How the process ended, if it has by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.process {
            Some(process) => process.try_wait().context("asking for the state of the broker"),
            None => Ok(None),
        }
    }

    /// Processor time and memory of the process, as far as the system tells: resident bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        let id = self.process.as_ref()?.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Nothing can be done about a process that is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Whether a client is accepted here.
async fn accepts(address: SocketAddr) -> bool {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3C\x00\x05ready").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer == [0x20, 2, 0, 0])
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), attempt).await;
    matches!(answer, Ok(Ok(true)))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
