//! A child process whose output is read line by line with a deadline, and which never outlives its
//! test.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

thread_local! {
    static DEADLINE: Cell<Duration> = const { Cell::new(Duration::from_secs(60)) };
}

/// How long a program may stay silent while something is expected of it. Long enough for a busy
/// machine: only a test that fails ever waits for it.
pub(crate) fn deadline() -> Duration {
    DEADLINE.get()
}

/// Shortens the wait for the rest of this test, which is known to fail.
pub(crate) fn shorten_deadline() {
    DEADLINE.set(Duration::from_secs(5));
}

/// How many lines are kept to be shown when a test fails.
const HISTORY_LEN: usize = 30;

/// The Python of the environment that the set-up step makes.
pub(crate) fn environment_python() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("lies in target");
    let python = built.join("peers-venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing; type: cargo xtask test --only set-up",
        python.display()
    );
    python
}

/// A running program; dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    history: VecDeque<String>,
}

impl Process {
    /// Starts a program and begins to read what it prints on both its outputs.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name}: {error}; `cargo xtask test --only set-up` installs the peers")
        });
        let (sender, lines) = mpsc::channel();
        forward_lines(child.stdout.take().expect("is piped"), sender.clone());
        forward_lines(child.stderr.take().expect("is piped"), sender);
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, lines, history: VecDeque::new() }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to the program's standard input.
    pub(crate) fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("is open until the input is ended");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).unwrap_or_else(|error| {
            panic!("{}: writing its input: {error}", self.name);
        });
    }

    /// Closes the program's standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The next line, or `None` once the program has closed its outputs.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(deadline()) {
            Ok(line) => {
                if self.history.len() == HISTORY_LEN {
                    self.history.pop_front();
                }
                // Payloads of a mebibyte would drown the rest.
                self.history.push_back(line.chars().take(240).collect());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{}: silent for {:?}\n{}", self.name, deadline(), self.history())
            }
        }
    }

    /// Reads up to the first line for which `wanted` finds something.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        while let Some(line) = self.next_line() {
            if let Some(found) = wanted(&line) {
                return found;
            }
        }
        panic!("{}: ended before {what}\n{}", self.name, self.history())
    }

    /// Waits until the program ends by itself, and tells whether it succeeded.
    #[track_caller]
    pub(crate) fn wait_success(&mut self) -> bool {
        let started = Instant::now();
        while self.next_line().is_some() {
            assert!(started.elapsed() < deadline(), "{}: does not end", self.name);
        }
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Kills the program and waits until it is gone: its sockets are closed without a farewell.
    pub(crate) fn kill(&mut self) {
        // Fails when the program has already ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last lines that were read, for the message of a failed test.
    pub(crate) fn history(&self) -> String {
        let lines: Vec<_> = self.history.iter().map(|line| format!("  {line}")).collect();
        format!("last lines of {}:\n{}", self.name, lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn forward_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}
