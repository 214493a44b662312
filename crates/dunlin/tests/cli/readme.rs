//! The README's lines about the broker, TLS, passwords and rights, typed as they stand, in a folder that
//! has nothing but what they make.
//!
//! What is not as typed: every port is one that is free, on 127.0.0.1, and `dunlin sub` has `-d`, which
//! tells when it has subscribed. A broker's line is first checked as typed, by `--check`.

use crate::process::{Process, deadline};
use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use tempfile::TempDir;

const README: &str = include_str!("../../../../README.md");
const PASSWORD: &str = "open sesame";

/// Who follows the README, in one folder with several terminals.
struct Reader {
    folder: TempDir,
    broker: Option<Process>,
    /// The lines of all brokers so far.
    brokers: Vec<String>,
    /// The free ports that stand for those of the broker's line.
    ports: HashMap<String, String>,
    subscriber: Option<Process>,
    /// How many messages have come.
    come: usize,
}

impl Reader {
    /// A shell with this line. The program that was built comes first on its path.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DUNLIN_") {
                command.env_remove(name);
            }
        }
        let built = Path::new(env!("CARGO_BIN_EXE_dunlin")).parent().expect("lies in a folder");
        let path = std::env::var("PATH").expect("there is a path");
        command.env("PATH", format!("{}:{path}", built.display()));
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.args(["-c", line]);
        command
    }

    /// Runs a line to its end, and it succeeds.
    fn run(&self, line: &str) {
        let output =
            self.shell(line).stdin(Stdio::null()).output().expect("a shell can be started");
        assert!(output.status.success(), "{line}: {}: {output:?}", output.status);
    }

    /// Does what a line of the README asks for.
    fn follow(&mut self, line: &str) {
        if line.starts_with("dunlin passwd ") {
            self.type_password(line);
        } else if line.starts_with("dunlin --")
            && !line.contains("--check")
            && !line.contains(" > ")
        {
            self.start_broker(line);
        } else if line.starts_with("dunlin sub ") {
            let mut command = self.shell(&format!("exec {} -d", self.with_ports(line)));
            let mut subscriber = Process::spawn("dunlin sub", &mut command);
            subscriber.wait_for("its SUBACK", |line| line.contains("< SUBACK").then_some(()));
            self.subscriber = Some(subscriber);
        } else if line.contains("pub ") {
            self.run(&self.with_ports(line));
            let subscriber = self.subscriber.as_mut().expect("somebody listens");
            let message = format!("{} {}", word_after(line, " -t "), word_after(line, " -m "));
            subscriber.wait_for(&message, |line| (line == message).then_some(()));
            self.come += 1;
        } else {
            self.run(line);
        }
    }

    fn start_broker(&mut self, line: &str) {
        self.stop();
        self.run(&format!("{line} --check"));
        let mut typed = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            match split_port(word) {
                Some((before, port, after)) => {
                    let before = before.replace("0.0.0.0", "127.0.0.1");
                    words.push(format!("{before}:0{after}"));
                    typed.push(port.to_owned());
                }
                None => words.push(word.to_owned()),
            }
        }
        if !line.contains("--listen") {
            words.push("--listen mqtt://127.0.0.1:0".to_owned());
            typed.push("1883".to_owned());
        }
        let mut broker =
            Process::spawn("dunlin", &mut self.shell(&format!("exec {}", words.join(" "))));
        broker.end_input();
        let mut listening = || {
            broker.wait_for("it listened", |line| {
                Some(line.strip_prefix("listening on ")?.to_owned())
            })
        };
        self.ports.clear();
        for port in typed {
            let url = listening();
            let (_, free, _) = split_port(&url).expect("it says its port");
            self.ports.insert(port, free.to_owned());
        }
        if self.ports.is_empty() {
            listening();
        }
        self.broker = Some(broker);
        self.brokers.push(line.to_owned());
    }

    /// Stops with Ctrl-C what holds a terminal.
    fn stop(&mut self) {
        self.subscriber = None;
        if let Some(mut broker) = self.broker.take() {
            let sent = Command::new("kill").args(["-s", "INT", &broker.id().to_string()]).status();
            assert!(sent.expect("kill can be started").success());
            assert!(broker.wait_success(), "{}", broker.history());
        }
    }

    /// A client's line with the ports of the broker that runs.
    fn with_ports(&self, line: &str) -> String {
        let mut line = line.to_owned();
        if ![" -p ", " -L ", " --unix "].iter().any(|option| line.contains(option)) {
            line.push_str(if line.contains("--cafile") { " -p 8883" } else { " -p 1883" });
        }
        for (typed, free) in &self.ports {
            line = line.replace(&format!("-p {typed}"), &format!("-p {free}"));
            line = line.replace(&format!("localhost:{typed}"), &format!("localhost:{free}"));
        }
        line
    }

    /// Runs a line in a terminal, and types the password as often as it is asked for.
    fn type_password(&self, line: &str) {
        let mut command = self.shell("exec script -qec \"$0\" /dev/null");
        command.arg(line).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = command.spawn().expect("a shell can be started");
        let mut output = terminal.stdout.take().expect("is piped");
        let (sender, bytes) = channel();
        thread::spawn(move || {
            let mut byte = [0];
            while output.read(&mut byte).is_ok_and(|count| count > 0) {
                let _ = sender.send(byte[0]);
            }
        });
        let mut input = terminal.stdin.take().expect("is piped");
        for question in ["Password for gauge: ", "Once more: "] {
            let mut said = Vec::new();
            while !said.ends_with(question.as_bytes()) {
                let byte = bytes.recv_timeout(deadline());
                said.push(byte.unwrap_or_else(|_| {
                    panic!("{line}: {}", String::from_utf8_lossy(&said));
                }));
            }
            writeln!(input, "{PASSWORD}").expect("the terminal reads");
        }
        assert!(terminal.wait().expect("it ends").success(), "{line}");
    }
}

/// What comes before the port of a URL with an address, the port, and what comes after it.
fn split_port(url: &str) -> Option<(&str, &str, &str)> {
    let authority = url.find("://")? + 3;
    let colon = authority + url[authority..].find(':')?;
    let after = &url[colon + 1..];
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    (end > 0).then(|| (&url[..colon], &after[..end], &after[end..]))
}

fn word_after<'a>(line: &'a str, option: &str) -> &'a str {
    let (_, after) = line.split_once(option).unwrap_or_else(|| panic!("{line} has{option}"));
    after.split(' ').next().unwrap_or_default()
}

/// The parts of a section between fences: of which kind, and the lines.
fn blocks(section: &str) -> Vec<(&str, &str)> {
    let parts = section.split("```").skip(1).step_by(2);
    parts.map(|block| block.split_once('\n').expect("a fence ends its line")).collect()
}

#[test]
fn its_lines_work_as_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut reader = Reader {
        folder,
        broker: None,
        brokers: Vec::new(),
        ports: HashMap::new(),
        subscriber: None,
        come: 0,
    };
    for title in ["The broker", "TLS, passwords and rights"] {
        let (_, section) = README.split_once(&format!("\n## {title}\n")).expect(title);
        for (kind, text) in blocks(section.split("\n## ").next().unwrap_or_default()) {
            match kind {
                "sh" => {
                    for line in text.lines() {
                        // A comment explains, and is not typed.
                        let line = line.split("  #").next().unwrap_or_default().trim();
                        eprintln!("$ {line}");
                        reader.follow(line);
                    }
                }
                "toml" => {
                    let rules = reader.folder.path().join("rules.toml");
                    fs::write(rules, text).expect("written");
                }
                _ => panic!("nobody follows {kind}"),
            }
        }
    }
    reader.stop();
    let kinds = [
        "mqtts://",
        "client_ca=",
        "wss://",
        "quic://",
        "unix://",
        "password_file=",
        "rights.file=",
    ];
    for what in kinds {
        let is_there = reader.brokers.iter().any(|line| line.contains(what));
        assert!(is_there, "the README starts a broker with {what}");
    }
    assert_eq!(reader.come, 7, "a message came by each way");
}
