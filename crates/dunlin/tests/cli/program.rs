//! Runs the built program, to its end or beside the test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Only a test that fails waits this long.
const DEADLINE: Duration = Duration::from_secs(60);
/// And so long until a program has done all that it was told, on a busy machine.
const END: Duration = Duration::from_secs(300);

/// The program with these arguments, without settings from the environment of the tests.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs the program to its end; one that doesn't end is killed, and the test fails.
#[track_caller]
pub(crate) fn run(args: &[&str]) -> Ended {
    let mut command = command(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program can be started");
    let process = child.id().to_string();
    let (ended, end) = channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(END) {
        Ok(output) => Ended::of(output.expect("its output can be read")),
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &process]).status();
            panic!("dunlin {args:?} runs and runs");
        }
    }
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("prints UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The program ended with this code and these outputs.
    #[track_caller]
    pub(crate) fn check(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, stdout);
        assert_eq!(self.stderr, stderr);
    }
}

/// A program that runs beside the test; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let stdout = lines(child.stdout.take().expect("is piped"));
        let stderr = lines(child.stderr.take().expect("is piped"));
        Self { child, stdout, stderr }
    }

    /// The next line of standard output; `None` at its end.
    #[track_caller]
    pub(crate) fn line(&self) -> Option<String> {
        next(&self.stdout)
    }

    /// Reads standard error up to a line that begins like this, and gives the line.
    #[track_caller]
    pub(crate) fn wait_for(&self, start: &str) -> String {
        while let Some(line) = next(&self.stderr) {
            if line.starts_with(start) {
                return line;
            }
        }
        panic!("ended before it said {start:?}")
    }

    /// Reads standard error up to a line with this in it, and gives the line.
    #[track_caller]
    pub(crate) fn wait_for_within(&self, words: &str) -> String {
        while let Some(line) = next(&self.stderr) {
            if line.contains(words) {
                return line;
            }
        }
        panic!("ended before it said {words:?}")
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill can be started").success());
    }

    /// Waits for its end, and gives its exit code with what it printed since.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let rest = |lines: &Receiver<String>| {
            let rest: Vec<String> = std::iter::from_fn(|| next(lines)).collect();
            rest.join("\n")
        };
        let (stdout, stderr) = (rest(&self.stdout), rest(&self.stderr));
        let status = self.child.wait().expect("its end can be waited for");
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn next(lines: &Receiver<String>) -> Option<String> {
    use std::sync::mpsc::RecvTimeoutError;
    match lines.recv_timeout(DEADLINE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("silent for {DEADLINE:?}"),
    }
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver): (Sender<String>, _) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
