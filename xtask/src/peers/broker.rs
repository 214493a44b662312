//! How each of the other brokers is configured and started, and how one sees that it is ready.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Name;
use super::install::{AEDES, AMQTT, NATS_SERVER, RUMQTTD};
use crate::command::{find_program, first_line, output};
use crate::workspace::Workspace;

/// How often one looks whether something has happened.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// How long a broker may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often another program may take a port that was found free.
const ATTEMPTS: usize = 5;

/// A broker's program, ready to be started.
pub(crate) struct Installed {
    /// The executable, or what Node.js runs.
    pub(crate) program: PathBuf,
    /// What it calls its version, for reports.
    pub(crate) version: String,
}

/// A running broker, ended when this value is dropped.
pub(crate) struct Peer {
    process: Child,
    version: String,
    ports: [u16; 2],
    name: Name,
    folder: PathBuf,
}

/// Makes sure that the broker is there.
///
/// # Errors
/// When it can't be installed.
pub(crate) fn install(workspace: &Workspace, name: Name) -> Result<Installed> {
    let pinned = |pin: super::install::Pin, program: &str| {
        let program = pin.install(workspace)?.join(program);
        let version = format!("{} {}", pin.package, pin.version);
        Ok(Installed { program, version })
    };
    match name {
        Name::Mosquitto => {
            let program = find_program("mosquitto")
                .context("no mosquitto; type: apt-get install -y mosquitto")?;
            let version = output(Command::new(&program).arg("-h")).unwrap_or_default();
            Ok(Installed { version: first_line(&version).to_owned(), program })
        }
        Name::Rumqttd => pinned(RUMQTTD, "bin/rumqttd"),
        Name::Nats => pinned(NATS_SERVER, "bin/nats-server"),
        Name::Aedes => {
            let installed = pinned(AEDES, "aedes.mjs")?;
            fs::write(&installed.program, include_str!("aedes.mjs"))
                .with_context(|| format!("writing {}", installed.program.display()))?;
            Ok(installed)
        }
        Name::Amqtt => pinned(AMQTT, "bin/amqtt"),
    }
}

impl Peer {
    /// Installs the broker if need be, starts it, and waits until it accepts a client.
    ///
    /// # Errors
    /// When it can't be installed, or ends or stays silent instead of accepting a client.
    pub(crate) fn start(workspace: &Workspace, name: Name) -> Result<Self> {
        let installed = install(workspace, name)?;
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let mut peer = Self::spawn(workspace, name, &installed)?;
            match peer.wait_until_ready() {
                Ok(()) => return Ok(peer),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.context("no attempt was made")?)
    }

    /// What the broker calls its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Where it listens, and what it speaks there.
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, &'static str)> {
        let [first, second] = self.ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        match self.name {
            Name::Mosquitto => vec![(first, "MQTT 3.1, 3.1.1, 5.0")],
            Name::Rumqttd => vec![(first, "MQTT 3.1.1"), (second, "MQTT 5.0")],
            Name::Nats | Name::Amqtt => vec![(first, "MQTT 3.1.1")],
            Name::Aedes => vec![(first, "MQTT 3.1, 3.1.1")],
        }
    }

    /// How the process ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait().context("asking for the state of a broker")
    }

    fn spawn(workspace: &Workspace, name: Name, installed: &Installed) -> Result<Self> {
        let ports = free_ports()?;
        let folder =
            workspace.target.join("peers/run").join(format!("{}-{}", name.word(), ports[0]));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut command = command(name, installed, ports, &folder)?;
        let log = fs::File::create(folder.join("log")).context("making the broker's log")?;
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log).current_dir(&folder);
        let process = command.spawn().with_context(|| format!("starting {}", name.word()))?;
        Ok(Self { process, version: installed.version.clone(), ports, name, folder })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        for (address, _) in self.addresses() {
            while !accepts(address, self.name == Name::Rumqttd && address.port() == self.ports[1]) {
                if let Some(status) = self.ended()? {
                    bail!("{} ended with {status}: {}", self.name.word(), self.log());
                }
                if began.elapsed() > PATIENCE {
                    bail!("{} accepts no client: {}", self.name.word(), self.log());
                }
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone or a folder that stays.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The command that runs the broker, with its configuration written.
fn command(name: Name, installed: &Installed, ports: [u16; 2], folder: &Path) -> Result<Command> {
    let [port, second] = ports;
    let (file, configuration) = match name {
        Name::Mosquitto => (
            "mosquitto.conf",
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
                 set_tcp_nodelay true\n"
            ),
        ),
        Name::Rumqttd => {
            let listener = |version: &str, port: u16| {
                format!(
                    "[{version}.1]\nname = \"{version}\"\nlisten = \"127.0.0.1:{port}\"\n\
                     next_connection_delay_ms = 1\n[{version}.1.connections]\n\
                     connection_timeout_ms = 60000\nmax_payload_size = 1048576\n\
                     max_inflight_count = 100\ndynamic_filters = true\n"
                )
            };
            let router = "id = 0\n[router]\nid = 0\nmax_connections = 10010\n\
                          max_outgoing_packet_count = 200\nmax_segment_size = 104857600\n\
                          max_segment_count = 10\n";
            ("rumqttd.toml", router.to_owned() + &listener("v4", port) + &listener("v5", second))
        }
        Name::Nats => (
            "nats.conf",
            format!(
                "server_name: peer\nlisten: \"127.0.0.1:{second}\"\n\
                 jetstream {{ store_dir: \"{}\" }}\nmqtt {{ listen: \"127.0.0.1:{port}\" }}\n",
                folder.display()
            ),
        ),
        Name::Aedes => ("unused", String::new()),
        Name::Amqtt => (
            "amqtt.yaml",
            format!(
                "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n\
                 plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    \
                 allow_anonymous: true\n"
            ),
        ),
    };
    let file = folder.join(file);
    fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
    let mut command = Command::new(&installed.program);
    match name {
        Name::Mosquitto | Name::Nats | Name::Amqtt => command.arg("-c").arg(&file),
        Name::Rumqttd => command.arg("--config").arg(&file),
        Name::Aedes => {
            let node = find_program("node").context("no Node.js; type: apt-get install nodejs")?;
            command = Command::new(node);
            command.arg(&installed.program).arg(port.to_string())
        }
    };
    Ok(command)
}

/// Two ports that nothing holds at this moment.
fn free_ports() -> Result<[u16; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port");
    let sockets = [bind()?, bind()?];
    Ok([sockets[0].local_addr()?.port(), sockets[1].local_addr()?.port()])
}

/// Whether a broker accepts a client here.
fn accepts(address: SocketAddr, is_v5: bool) -> bool {
    let connect: &[u8] = if is_v5 {
        b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x05ready"
    } else {
        b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3C\x00\x05ready"
    };
    let try_once = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(connect)?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack)?;
        stream.write_all(if is_v5 { b"\xE0\x02\x00\x00" } else { b"\xE0\x00" })?;
        std::io::Result::Ok(connack[0] == 0x20 && connack[3] == 0)
    };
    try_once().unwrap_or(false)
}
