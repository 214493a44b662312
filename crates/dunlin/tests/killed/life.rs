//! The lives of a process that is killed and started again until its work is done, the log in
//! which it says how far it came, and the broker.

use dunlin_broker::Broker;
use dunlin_broker::config::{Config, Listener};
use dunlin_client::{Client, ClientBuilder, Reconnect};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the child is told, in its environment.
pub(crate) const PART: &str = "DUNLIN_KILLED_PART";
pub(crate) const URL: &str = "DUNLIN_KILLED_URL";
pub(crate) const FOLDER: &str = "DUNLIN_KILLED_FOLDER";

/// How long a whole test may take. Only one that hangs takes so long.
const DEADLINE: Duration = Duration::from_secs(120);

/// Lines that the child writes in one life at most.
const LINES_MAX: u64 = 60;

/// A few of SplitMix64's numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a child has done, a line for each step. The system keeps what a killed process wrote; the
/// same on its standard output tells its parent when to kill it.
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join("log");
        Self(OpenOptions::new().create(true).append(true).open(path).expect("a log"))
    }

    pub(crate) fn write(&mut self, step: &str, number: usize) {
        let line = format!("{step} {number}\n");
        self.0.write_all(line.as_bytes()).expect("the log is written");
        print!("{line}");
    }

    /// All steps so far.
    pub(crate) fn read(folder: &Path) -> Vec<(String, usize)> {
        let text = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let step = |line: &str| {
            let (step, number) = line.split_once(' ').expect("a step and a number");
            (step.to_owned(), number.parse().expect("a number"))
        };
        // Of a line that is being written a part may be there.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(step).collect()
    }
}

pub(crate) fn start_broker() -> (Broker, String) {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config =
        Config { listeners: vec![Listener::tcp(any_port)], workers: 2, ..Config::default() };
    let broker = Broker::builder().config(config).start().expect("the broker starts");
    let url = format!("mqtt://{}", broker.addresses()[0]);
    (broker, url)
}

pub(crate) fn builder(url: &str, client_identifier: &str) -> ClientBuilder {
    let soon = Reconnect {
        initial_delay: Duration::from_millis(5),
        maximum_delay: Duration::from_millis(40),
        ..Reconnect::default()
    };
    let builder = Client::builder(url).expect("a legal URL").client_identifier(client_identifier);
    builder.reconnect(soon)
}

/// Plays a test on a runtime of one thread.
///
/// # Panics
/// At the deadline.
pub(crate) fn play<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(DEADLINE, test).await.is_ok() });
    assert!(done, "not done after {DEADLINE:?}: something hangs");
}

/// Starts the child again and again, and kills it at a random moment of its work, until it has
/// ended by itself; gives how often it was killed. `see` is given what it says.
pub(crate) async fn live_and_die(
    part: &str,
    url: &str,
    folder: &Path,
    random: &mut Random,
    mut see: impl FnMut(&str),
) -> u32 {
    let mut kills = 0;
    loop {
        let mut child = spawn(part, url, folder);
        let mut lines = lines(child.0.stdout.take().expect("a pipe"));
        let mut left = random.below(LINES_MAX);
        while left > 0 {
            let Some(line) = lines.recv().await else {
                let status = child.0.wait().expect("a child");
                assert!(status.success(), "the child failed: {status}");
                return kills;
            };
            see(&line);
            left -= 1;
        }
        linger(random).await;
        kills += 1;
    }
}

/// Passes a moment of random length.
pub(crate) async fn linger(random: &mut Random) {
    for _ in 0..random.below(10_000) {
        tokio::task::yield_now().await;
    }
}

fn lines(output: ChildStdout) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The child goes on when nobody listens any more, until it is killed.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn spawn(part: &str, url: &str, folder: &Path) -> Reaped {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(URL, url).env(FOLDER, folder).stdout(Stdio::piped());
    Reaped(command.spawn().expect("this program once more"))
}

/// A child that does not outlive its test: SIGKILL, whatever it does.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It fails when the child has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
