//! `cargo xtask conformance`: the gaps between the standard and our tests; with `--peers`, our
//! broker and others judged by `dunlin conformance`, as tables for docs/conformance.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum as _;
use serde_json::Value;

use crate::command::{cargo, line, run as run_command};
use crate::peers::{Name, Ours, Peer};
use crate::statements;
use crate::workspace::Workspace;

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Judge our broker and these, or all that are known
    #[arg(long, num_args = 0.., value_name = "NAME")]
    peers: Option<Vec<Name>>,
}

/// One broker's results in one version.
struct Column {
    /// `mosquitto`, with the version of MQTT behind it where a broker speaks several.
    name: String,
    /// The names of the cases, each with what came of it and why.
    cases: BTreeMap<String, (String, String)>,
}

/// Prints the gaps, or the tables.
///
/// # Errors
/// When there are gaps, or a broker can't be judged. A broker's failures are no error.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    match &arguments.peers {
        None => statements::run(workspace),
        Some(names) if names.is_empty() => judge(workspace, Name::value_variants()),
        Some(names) => judge(workspace, names),
    }
}

fn judge(workspace: &Workspace, names: &[Name]) -> Result<()> {
    run_command(&mut cargo(workspace, &["build", "--release", "-p", "dunlin"]))?;
    fs::create_dir_all(workspace.target.join("conformance"))?;
    let mut columns = Vec::new();
    let mut versions = Vec::new();
    let ours = Ours::start(workspace, 2)?;
    columns.extend(judge_one(workspace, "dunlin", ours.address(), &["3.1.1", "5"])?);
    for name in names {
        for (written, version) in [("3.1.1", "3.1.1"), ("5.0", "5")] {
            // Each version gets a new process: some don't outlive the checks of the first.
            let peer = Peer::start(workspace, *name)?;
            let addresses = peer.addresses();
            let speaks = addresses.iter().find(|(_, speaks)| speaks.contains(written));
            let Some((address, _)) = speaks else { continue };
            columns.extend(judge_one(workspace, &name.word(), *address, &[version])?);
            if version == "3.1.1" {
                versions.push(format!("{}: {}", name.word(), peer.version()));
            }
        }
    }
    println!("\n{}\n", versions.join("\n"));
    print!("{}", summary(&columns));
    println!();
    print!("{}", differences(&columns));
    Ok(())
}

/// Judges one broker in the versions that it speaks at this address; a column for each.
fn judge_one(
    workspace: &Workspace,
    name: &str,
    address: SocketAddr,
    versions: &[&str],
) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for version in versions {
        let report = workspace.target.join(format!("conformance/{name}-{version}.json"));
        let mut command = Command::new(workspace.target.join("release/dunlin"));
        command.args(["conformance", &format!("mqtt://{address}"), "--version", version]);
        command.args(["--report", "json", "--output"]).arg(&report);
        println!("    $ {}", line(&command));
        let status = command.status().context("starting `dunlin conformance`")?;
        // 1 means that checks failed: that is what is asked here.
        if !matches!(status.code(), Some(0 | 1)) {
            anyhow::bail!("`{}` ended with {status}", line(&command));
        }
        let text = fs::read_to_string(&report)?;
        let report: Value = serde_json::from_str(&text).context("the report")?;
        let findings = report["findings"].as_array().context("a report has findings")?;
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("").to_owned();
        let cases = findings.iter().map(|finding| {
            let outcome = (word(finding, "outcome"), word(finding, "reason"));
            (word(finding, "name"), outcome)
        });
        let name = format!("{name} {version}");
        columns.push(Column { name, cases: cases.collect() });
    }
    Ok(columns)
}

/// How many checks came to what, a line for each broker and version.
fn summary(columns: &[Column]) -> String {
    let mut text = String::from("| broker, MQTT | checks | passed | failed | skipped |\n");
    text.push_str("|---|--:|--:|--:|--:|\n");
    for column in columns {
        let count = |wanted: &str| column.cases.values().filter(|(it, _)| it == wanted).count();
        let (passed, failed, skipped) = (count("passed"), count("failed"), count("skipped"));
        let total = column.cases.len();
        let name = &column.name;
        let _ = writeln!(text, "| {name} | {total} | {passed} | {failed} | {skipped} |");
    }
    text
}

/// The checks that somebody fails, each with who does, and what was seen of the first of them.
fn differences(columns: &[Column]) -> String {
    let mut failures: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for column in columns {
        let (broker, _) = column.name.split_once(' ').unwrap_or((&column.name, ""));
        for (name, (outcome, reason)) in &column.cases {
            if outcome == "failed" {
                failures.entry(name).or_default().push((broker, reason));
            }
        }
    }
    let mut text = String::from("| check | failed by | what was seen |\n|---|---|---|\n");
    for (name, by) in failures {
        let brokers: Vec<&str> = by.iter().map(|(broker, _)| *broker).collect();
        let reason = by.first().map_or("", |(_, reason)| reason).replace('|', "\\|");
        let _ = writeln!(text, "| {name} | {} | {reason} |", brokers.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, cases: &[(&str, &str)]) -> Column {
        let cases = cases.iter().map(|(case, outcome)| {
            ((*case).to_owned(), ((*outcome).to_owned(), format!("{name} is {outcome}")))
        });
        Column { name: name.to_owned(), cases: cases.collect() }
    }

    #[test]
    fn tables_count_and_compare() {
        let columns = [
            column("one 5", &[("v5/a", "passed"), ("v5/b", "failed")]),
            column("two 5", &[("v5/a", "skipped"), ("v5/b", "failed")]),
        ];
        let summary = summary(&columns);
        assert!(summary.ends_with("| one 5 | 2 | 1 | 1 | 0 |\n| two 5 | 2 | 0 | 1 | 1 |\n"));
        let differences = differences(&columns);
        assert!(differences.ends_with("| v5/b | one, two | one 5 is failed |\n"), "{differences}");
    }
}
