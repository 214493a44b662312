//! The brokers as processes: ours with a listener of each kind, Mosquitto with what it is compared by.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dunlin_bench::frame;
use tempfile::TempDir;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one attempt to connect may take.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(5);

/// How often a starting broker is tried.
const POLL: Duration = Duration::from_millis(5);

/// Lines of the log that an error shows.
const LOG_LINES: usize = 15;

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) mqtt: SocketAddr,
    pub(crate) mqtts: SocketAddr,
    pub(crate) ws: SocketAddr,
    pub(crate) quic: SocketAddr,
}

/// A broker that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    doors: Doors,
    log: PathBuf,
    _folder: TempDir,
}

/// Makes an authority, and a certificate for a server of this machine.
///
/// # Errors
/// When our program can't be run.
pub(crate) fn make_certificates(dunlin: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(dunlin);
    command.args(["cert", "--server", "localhost", "--server", "127.0.0.1", "--out"]).arg(folder);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("running {}", dunlin.display()))?;
    ensure!(status.success(), "making certificates: {status}");
    Ok(())
}

impl Broker {
    /// Starts ours, with these settings besides its defaults, and a data folder if it `stores`.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub(crate) fn dunlin(
        program: &Path,
        certificates: &Path,
        settings: &[&str],
        stores: bool,
    ) -> Result<Self> {
        let (doors, folder) = (Doors::free()?, TempDir::with_prefix("dunlin-siege-")?);
        let mut command = guarded(program);
        let [certificate, key] =
            ["server.pem", "server.key"].map(|file| certificates.join(file).display().to_string());
        command.arg("broker").arg("--listen").arg(format!("mqtt://{}", doors.mqtt));
        command.arg("--listen");
        command.arg(format!("mqtts://{}?certificate={certificate}&key={key}", doors.mqtts));
        command.arg("--listen").arg(format!("ws://{}", doors.ws));
        command.arg("--listen");
        command.arg(format!("quic://{}?certificate={certificate}&key={key}", doors.quic));
        // The counters are read soon after a scene.
        for setting in ["limits.sys_interval_secs=1", "log=warn"].iter().chain(settings) {
            command.arg("--set").arg(setting);
        }
        if stores {
            command.arg("--data").arg(folder.path().join("data"));
        }
        Self::start(command, doors, folder)
    }

    /// Starts Mosquitto, which says no more of limits than it does by default.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub(crate) fn mosquitto(program: &Path, certificates: &Path) -> Result<Self> {
        let (doors, folder) = (Doors::free()?, TempDir::with_prefix("dunlin-siege-")?);
        let file = folder.path().join("mosquitto.conf");
        let folder_of_keys = certificates.display();
        let text = format!(
            "listener {} 127.0.0.1\nlistener {} 127.0.0.1\n\
             certfile {folder_of_keys}/server.pem\nkeyfile {folder_of_keys}/server.key\n\
             allow_anonymous true\npersistence false\nset_tcp_nodelay true\nuser root\n\
             log_type error\n",
            doors.mqtt.port(),
            doors.mqtts.port(),
        );
        fs::write(&file, text).context("writing Mosquitto's configuration")?;
        let mut command = guarded(program);
        command.arg("-c").arg(file);
        Self::start(command, doors, folder)
    }

    fn start(mut command: Command, doors: Doors, folder: TempDir) -> Result<Self> {
        let log = folder.path().join("log");
        let file = File::create(&log).context("making the broker's log")?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().context("starting a broker by setpriv (util-linux)")?;
        let mut broker = Self { child, doors, log, _folder: folder };
        let began = Instant::now();
        while let Err(error) = broker.try_client() {
            if let Some(status) = broker.ended()? {
                bail!("the broker ended with {status}:\n{}", broker.log_tail());
            }
            if began.elapsed() > PATIENCE {
                bail!("the broker takes no client: {error:#}\n{}", broker.log_tail());
            }
            thread::sleep(POLL);
        }
        Ok(broker)
    }

    pub(crate) const fn doors(&self) -> Doors {
        self.doors
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// Those of `waitpid`.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("asking for the state of the broker")
    }

    /// Connects a client, and lets it leave again.
    ///
    /// # Errors
    /// When it is not accepted.
    pub(crate) fn try_client(&self) -> Result<()> {
        let mut stream = connect(self.doors.mqtt, "ready")?;
        Ok(stream.write_all(&[frame::DISCONNECT, 0])?)
    }

    /// The end of what the broker has printed.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Doors {
    /// Addresses that nothing listens at now.
    fn free() -> Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port");
        let sockets = [bind()?, bind()?, bind()?];
        let [mqtt, mqtts, ws] = &sockets;
        let quic = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
        Ok(Self {
            mqtt: mqtt.local_addr()?,
            mqtts: mqtts.local_addr()?,
            ws: ws.local_addr()?,
            quic: quic.local_addr()?,
        })
    }
}

/// A command whose process the system ends with ours.
fn guarded(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Connects a client of MQTT 3.1.1 over a socket that blocks.
///
/// # Errors
/// When it is not accepted in time.
pub(crate) fn connect(address: SocketAddr, client_identifier: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT_PATIENCE)?;
    stream.set_read_timeout(Some(ATTEMPT_PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    frame::push_connect(&mut bytes, client_identifier, true);
    stream.write_all(&bytes)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).context("no CONNACK")?;
    ensure!(answer == [frame::CONNACK, 2, 0, 0], "refused: CONNACK {answer:02x?}");
    Ok(stream)
}
