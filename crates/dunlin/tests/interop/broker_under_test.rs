//! The broker that a test talks to: the built `dunlin`, or Mosquitto when the tests themselves are
//! to be checked.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

use crate::process::Process;

/// Set to `mosquitto`, this variable runs all tests against Mosquitto's broker.
const CHOICE: &str = "DUNLIN_INTEROP_BROKER";

/// How often another program may take the port that was found free for Mosquitto.
const ATTEMPTS: usize = 20;

/// A broker of its own for each test, on loopback, gone with the test.
pub(crate) struct BrokerUnderTest {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    _process: Process,
    _folder: TempDir,
}

/// Whether the tests run against Mosquitto's broker.
pub(crate) fn is_mosquitto() -> bool {
    match env::var(CHOICE).as_deref() {
        Ok("mosquitto") => true,
        Ok("dunlin" | "") | Err(_) => false,
        Ok(other) => panic!("{CHOICE} is `{other}`, and can be `dunlin` or `mosquitto`"),
    }
}

impl BrokerUnderTest {
    /// Starts the broker and waits until it says that it listens.
    pub(crate) fn start() -> Self {
        if is_mosquitto() { Self::start_mosquitto() } else { Self::start_dunlin() }
    }

    fn start_dunlin() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["--listen", "mqtt://127.0.0.1:0"]).current_dir(folder.path());
        let mut process = Process::spawn("dunlin", &mut command);
        process.end_input();
        let port = process.wait_for("it listened", |line| {
            line.trim().rsplit_once("listening on mqtt://127.0.0.1:")?.1.parse().ok()
        });
        Self { port, _process: process, _folder: folder }
    }

    /// Starts Mosquitto and waits until it says that it runs.
    pub(crate) fn start_mosquitto() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("mosquitto.conf");
        for _ in 0..ATTEMPTS {
            // Mosquitto cannot choose a port, so one that was free a moment ago has to do.
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            let port = free.expect("loopback has free ports").port();
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
                 sys_interval 1\nlog_dest stderr\nlog_type all\n"
            );
            fs::write(&file, text).expect("the temporary folder can be written");
            let mut command = Command::new(find_mosquitto());
            let mut process = Process::spawn("mosquitto", command.arg("-c").arg(&file));
            let running = process.wait_for("it listened", |line| {
                if line.contains("Address already in use") {
                    return Some(false);
                }
                (line.contains("mosquitto version") && line.ends_with("running")).then_some(true)
            });
            if running {
                return Self { port, _process: process, _folder: folder };
            }
        }
        panic!("no port stayed free for Mosquitto in {ATTEMPTS} attempts")
    }
}

/// Debian puts the broker where a user's `PATH` often does not lead.
fn find_mosquitto() -> &'static str {
    let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
    places.into_iter().find(|place| fs::exists(place).unwrap_or(false)).unwrap_or("mosquitto")
}
