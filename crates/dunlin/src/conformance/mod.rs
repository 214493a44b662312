//! `dunlin conformance`: checks a broker, this one or any other, against the standard.

mod client;
mod progress;

use crate::arguments::positive;
use crate::client::url::Url;
use crate::client::{block_on, stop_signal};
use crate::decode::parse_version;
use crate::failure::Failure;
use crate::output::print;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use dunlin_codec::{ProtocolVersion, Text};
use dunlin_conformance::server::{self, Case, Target};
use dunlin_conformance::{BOTH, Check, Report, cases, run};
use progress::Progress;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const HELP: &str = "\
Each check is a question about the statements of the standard, asked over a
connection of its own, in both versions. Where the standard allows several
behaviours, all pass and the report says which was seen. A check that the
broker's own CONNACK rules out (no retained messages, ...) is skipped. What
the checks leave on the broker they take away; all their names begin with
dunlin-conformance/.

Examples:
  dunlin conformance mqtt://localhost:1883
  dunlin conformance mqtt://localhost --only v5/connect --only MQTT-3.3.1-5
  dunlin conformance mqtt://localhost --report junit --output conformance.xml
  dunlin conformance --list

With --client it is the other way round: a scripted server listens, and judges
the client that the command behind -- starts, once for each check. {host},
{port}, {url}, {client_id}, {topic} and {version} (5 or 311) are filled in.
Without a command it waits for clients that somebody else connects. What a
client never comes to do (subscribe, publish with QoS 2, connect again, ...) is
reported as not seen; a short keep alive lets more be seen.

  dunlin conformance --client -- mosquitto_sub -V {version} -h {host} -p {port} \\
      -i {client_id} -c -q 2 -k 5 -t {topic}

No check takes longer than 30 seconds and six times the patience, whatever the
other end does; --patience 1 is enough for a broker on the same machine, while
a client that connects again later than that is not seen to. After Ctrl-C the
checks under way are finished, and the report is of those.

Exit codes:
  0    no check failed
  1    a check failed
  2    wrong arguments, or no broker or client there
  130  interrupted";

/// Check a broker, or a client, against the statements of the standard.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ConformanceArgs {
    /// The broker, as a URL with the user and the port where they are needed.
    #[arg(
        value_name = "URL",
        help = "The broker: mqtt://[USER[:PASSWORD]@]HOST[:PORT]",
        required_unless_present_any = ["list", "client"]
    )]
    url: Option<String>,
    /// Check a client instead: listen, and judge who connects
    #[arg(long, conflicts_with_all = ["url", "username", "password"])]
    client: bool,
    /// Where to listen [default: 127.0.0.1, a free port for each check; 1883 without COMMAND]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "url")]
    listen: Option<SocketAddr>,
    /// The program that plays the client, and its arguments
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "url")]
    command: Vec<String>,
    /// Only the checks whose name, or a statement of them, begins like this; * stands for anything.
    /// May be repeated
    #[arg(long, value_name = "NAME-OR-STATEMENT")]
    only: Vec<String>,
    /// Print the checks and their statements, and run none
    #[arg(long)]
    list: bool,
    /// Only this version: 3.1.1 or 5 [default: both]. May be repeated
    #[arg(long, value_name = "VERSION", value_parser = parse_known_version)]
    version: Vec<ProtocolVersion>,
    /// The user's name
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,
    /// The password; others on this machine may see it in the list of processes
    #[arg(short = 'P', long, alias = "pw", value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// How many checks run at once
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = positive)]
    jobs: u64,
    /// Seconds to wait for what has to come
    #[arg(long, value_name = "SECS", default_value_t = 5.0, value_parser = parse_patience)]
    patience: f64,
    /// The form of the report
    #[arg(long, value_enum, default_value_t = Form::Text)]
    report: Form,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
    /// For CI
    Junit,
}

fn parse_known_version(text: &str) -> Result<ProtocolVersion, String> {
    match parse_version(text) {
        Ok(version) if BOTH.contains(&version) => Ok(version),
        _ => Err("the versions are 3.1.1 and 5".to_owned()),
    }
}

fn parse_patience(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(secs) if (0.01..=3600.0).contains(&secs) => Ok(secs),
        _ => Err("seconds are expected, 0.01 to 3600".to_owned()),
    }
}

impl ConformanceArgs {
    /// Runs the checks and writes the report.
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.client {
            return self.run_client();
        }
        let chosen = self.chosen(server::TABLES)?;
        if self.list {
            return self.write(&list(&chosen));
        }
        let url = self.url.as_deref().expect("needed without --list");
        let mut target = self.target(url)?;
        target.is_interrupted = interruption();
        let probed = server::probe(&target);
        target.capabilities =
            probed.map_err(|error| Failure::usage(format!("{}: {error}", target.address)))?;
        self.try_output()?;
        let speaks = |case: &Case| target.capabilities.versions.contains(&case.version);
        let (asked, silent): (Vec<Case>, Vec<Case>) = chosen.into_iter().partition(speaks);
        let progress = Progress::new(asked.len());
        let findings = run(
            &asked,
            usize::try_from(self.jobs).unwrap_or(usize::MAX),
            |case, number| server::judge(&target, case, number),
            |finding| progress.show(finding),
        );
        progress.end();
        let mut notes = target.capabilities.notes();
        if let Some(case) = silent.first() {
            let (count, version) = (silent.len(), case.version);
            let checks = if count == 1 { "check" } else { "checks" };
            notes.push(format!("{count} {checks} left out: it does not speak MQTT {version}"));
        }
        let report = Report::new(format!("mqtt://{}", target.address), notes, findings);
        self.finish(&report, &target.is_interrupted)
    }

    /// Writes the report; a failed check is a failure.
    fn finish(&self, report: &Report, is_interrupted: &AtomicBool) -> Result<(), Failure> {
        self.write(&match self.report {
            Form::Text => report.to_text(),
            Form::Json => report.to_json(),
            Form::Junit => report.to_junit(),
        })?;
        if is_interrupted.load(Ordering::Relaxed) {
            return Err(Failure::interrupted("interrupted; the report is of a part of the checks"));
        }
        if report.is_passed() { Ok(()) } else { Err(Failure::silent(1)) }
    }

    /// The cases that the flags ask for.
    fn chosen<B>(
        &self,
        tables: &[&'static [Check<B>]],
    ) -> Result<Vec<dunlin_conformance::Case<B>>, Failure> {
        let versions = if self.version.is_empty() { BOTH } else { &self.version };
        let all = cases(tables, versions);
        for pattern in &self.only {
            if !all.iter().any(|case| case.matches(pattern)) {
                return Err(Failure::usage(format!(
                    "no check is meant by {pattern:?}; see --list"
                )));
            }
        }
        let is_chosen = |case: &dunlin_conformance::Case<B>| {
            self.only.is_empty() || self.only.iter().any(|pattern| case.matches(pattern))
        };
        Ok(all.into_iter().filter(is_chosen).collect())
    }

    fn target(&self, url: &str) -> Result<Target, Failure> {
        let url = Url::parse(url).map_err(Failure::usage)?;
        url.check_plain("conformance").map_err(Failure::usage)?;
        if let Some(topic) = url.topic {
            return Err(Failure::usage(format!(
                "the URL goes on with {topic:?} behind the broker"
            )));
        }
        let address = reachable(&url.host, url.port.unwrap_or(1883), self.patience())?;
        let mut target = Target::new(address);
        let user_name = self.username.clone().or(url.user_name);
        let user_name = user_name.map(|name| name.parse::<Text>()).transpose();
        target.user_name =
            user_name.map_err(|error| Failure::usage(format!("the user's name: {error}")))?;
        let password = self.password.clone().map(String::into_bytes).or(url.password);
        target.password = password.map(Bytes::from);
        target.patience = self.patience();
        Ok(target)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience)
    }

    /// Finds out before the checks whether their report can be written.
    fn try_output(&self) -> Result<(), Failure> {
        let Some(file) = &self.output else { return Ok(()) };
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        opened.map(drop).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        match &self.output {
            Some(file) => std::fs::write(file, text)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display()))),
            None => print(text),
        }
    }
}

/// Becomes true when the user or the system asks the program to stop; when asked again, it does so
/// at once.
fn interruption() -> Arc<AtomicBool> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_interrupted);
    thread::spawn(move || {
        block_on(async {
            stop_signal().await;
            told.store(true, Ordering::Relaxed);
            stop_signal().await;
            std::process::exit(130)
        })
    });
    is_interrupted
}

/// The first address of the host that takes a connection.
fn reachable(host: &str, port: u16, patience: Duration) -> Result<SocketAddr, Failure> {
    let unreachable =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{host}:{port}: {error}"));
    let addresses = (host, port).to_socket_addrs().map_err(|error| unreachable(&error))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| unreachable(&"no such host"), |error| unreachable(&error)))
}

/// The checks with what they look for and their statements.
fn list<B>(cases: &[dunlin_conformance::Case<B>]) -> String {
    let mut text = String::new();
    for case in cases {
        let statements: Vec<&str> = case.statements().collect();
        let _ = writeln!(text, "{}: {}", case.name(), case.check.looks_for);
        let _ = writeln!(text, "    {}", statements.join(" "));
    }
    let checks = if cases.len() == 1 { "check" } else { "checks" };
    let _ = writeln!(text, "{} {checks}", cases.len());
    text
}
