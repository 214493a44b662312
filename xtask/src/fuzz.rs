//! `cargo xtask fuzz`: runs each fuzz target in turn and counts its executions, or shrinks the
//! committed corpora.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, line, run as run_command, succeeds};
use crate::workspace::{Workspace, read_manifest, sorted_entries};

/// What to fuzz and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minutes for each target
    #[arg(long, required_unless_present = "minimize")]
    minutes: Option<f64>,
    /// Only this target; repeat for more
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Instead of fuzzing, keep of each corpus the smallest set of inputs with the same coverage
    #[arg(long)]
    minimize: bool,
}

/// Inputs longer than this teach nothing that two shorter ones do not.
const INPUT_LEN_MAX: &str = "-max_len=4096";

/// Runs or minimizes the chosen targets; every target has its turn even after a crash.
///
/// # Errors
/// When a target crashed, timed out or grew beyond its memory, with the targets' names.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let fuzzer = Fuzzer::prepare(workspace)?;
    let targets = chosen_targets(&fuzzer.folder.join("Cargo.toml"), &arguments.target)?;
    if arguments.minimize {
        return targets.iter().try_for_each(|target| fuzzer.minimize(target));
    }
    let seconds = (arguments.minutes.unwrap_or_default() * 60.0).ceil().max(1.0);
    let mut results = Vec::new();
    for target in &targets {
        println!("==> {target}");
        results.push((target, fuzzer.fuzz(target, seconds)?));
    }
    println!("\n{:<20} {:>14}  result", "target", "executions");
    for (target, run) in &results {
        let executions = run.executions.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let verdict = if run.passed { "ok" } else { "FAILED" };
        println!("{target:<20} {executions:>14}  {verdict}");
    }
    let failed: Vec<_> = results.iter().filter(|(_, run)| !run.passed).collect();
    for (target, _) in &failed {
        for artifact in sorted_entries(&fuzzer.artifacts(target)).unwrap_or_default() {
            println!("artifact: {}", artifact.display());
        }
    }
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|(target, _)| target.as_str()).collect();
        bail!("fuzz targets failed: {}", names.join(", "));
    }
    Ok(())
}

/// What one target's run came to.
struct TargetRun {
    /// From the final statistics, which a run that dies early does not print.
    executions: Option<u64>,
    passed: bool,
}

struct Fuzzer {
    /// The fuzz workspace.
    folder: PathBuf,
    /// Build output and found inputs, apart from the ordinary build: the compiler flags differ.
    target: PathBuf,
    /// Whether a nightly toolchain is there; a stable one is told to accept its flags otherwise.
    nightly: bool,
}

impl Fuzzer {
    fn prepare(workspace: &Workspace) -> Result<Self> {
        if !succeeds(&mut cargo(workspace, &["fuzz", "--version"])) {
            run_command(&mut cargo(workspace, &["install", "cargo-fuzz", "--locked"]))?;
        }
        let nightly = succeeds(Command::new("cargo").args(["+nightly", "--version"]));
        let target = workspace.target.join("fuzz");
        Ok(Self { folder: workspace.root.join("fuzz"), target, nightly })
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.folder.join("corpus").join(target)
    }

    /// Where new inputs go, so that a run leaves the committed corpus as it is.
    fn found(&self, target: &str) -> PathBuf {
        self.target.join("corpus").join(target)
    }

    fn artifacts(&self, target: &str) -> PathBuf {
        self.folder.join("artifacts").join(target)
    }

    /// `cargo fuzz run` on the given corpora; the first receives new inputs.
    fn command(&self, target: &str, corpora: &[&Path]) -> Command {
        let mut command = Command::new("cargo");
        if self.nightly {
            command.arg("+nightly");
        } else {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.current_dir(self.folder.parent().unwrap_or(&self.folder));
        command.args(["fuzz", "run", "--target-dir"]).arg(self.target.join("build"));
        command.arg(target).args(corpora).arg("--");
        command
    }

    fn fuzz(&self, target: &str, seconds: f64) -> Result<TargetRun> {
        let (corpus, found) = (self.corpus(target), self.found(target));
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let mut command = self.command(target, &[&found, &corpus]);
        command.arg(format!("-max_total_time={seconds}"));
        command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", INPUT_LEN_MAX]);
        let line = line(&command);
        println!("    $ {line}");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
        let mut executions = None;
        let errors = child.stderr.take().context("the standard error was asked for")?;
        for line in BufReader::new(errors).split(b'\n') {
            let line = line.context("reading the fuzzer's output")?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            executions = executions_in(&line).or(executions);
        }
        let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
        Ok(TargetRun { executions, passed: status.success() })
    }

    /// Replaces the committed corpus by the smallest set that covers what it and the found inputs
    /// cover.
    fn minimize(&self, target: &str) -> Result<()> {
        println!("==> {target}");
        let (corpus, found) = (self.corpus(target), self.found(target));
        let chosen = self.target.join("minimized").join(target);
        if chosen.exists() {
            fs::remove_dir_all(&chosen)
                .with_context(|| format!("emptying {}", chosen.display()))?;
        }
        for folder in [&corpus, &found, &chosen] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let mut command = self.command(target, &[&chosen, &corpus, &found]);
        run_command(command.args(["-set_cover_merge=1", INPUT_LEN_MAX]))?;
        let before = sorted_entries(&corpus)?;
        let after = sorted_entries(&chosen)?;
        for path in &before {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        for path in &after {
            let kept = corpus.join(path.file_name().unwrap_or_default());
            fs::copy(path, &kept).with_context(|| format!("writing {}", kept.display()))?;
        }
        println!("    {target}: {} inputs, were {}", after.len(), before.len());
        Ok(())
    }
}

/// The targets that the fuzz manifest lists, or those of them that were asked for.
fn chosen_targets(manifest: &Path, asked: &[String]) -> Result<Vec<String>> {
    let manifest = read_manifest(manifest)?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array);
    let names = bins.into_iter().flatten().filter_map(|bin| bin.get("name")?.as_str());
    let all: Vec<String> = names.map(str::to_owned).collect();
    if let Some(unknown) = asked.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are {}", all.join(", "));
    }
    Ok(all.into_iter().filter(|name| asked.is_empty() || asked.contains(name)).collect())
}

fn executions_in(line: &str) -> Option<u64> {
    line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_come_from_the_final_statistics() {
        assert_eq!(executions_in("stat::number_of_executed_units: 1048576"), Some(1_048_576));
        assert_eq!(executions_in("#1048576\tpulse  cov: 99"), None);
    }

    #[test]
    fn targets_are_those_of_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        fs::write(&manifest, "[[bin]]\nname = \"a\"\n[[bin]]\nname = \"b\"\n").unwrap();
        assert_eq!(chosen_targets(&manifest, &[]).unwrap(), ["a", "b"]);
        assert_eq!(chosen_targets(&manifest, &["b".to_owned()]).unwrap(), ["b"]);
        assert!(chosen_targets(&manifest, &["c".to_owned()]).is_err());
    }
}
