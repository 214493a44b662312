//! Counts the instructions of each scenario under callgrind, and compares with the committed counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use dunlin_benches::instructions::baseline::{Baseline, Counts, target};
use dunlin_benches::instructions::callgrind::{count, operations_line};
use dunlin_benches::instructions::scenarios::{self, Scenario};

/// The allocator of the broker, since what it executes counts as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Count instructions of the hot paths, and compare them with what is committed.
#[derive(Debug, Parser)]
struct Options {
    /// The committed counts.
    #[arg(long, default_value = "benches/instructions.toml")]
    baseline: PathBuf,
    /// Write the counts there instead of comparing with them.
    #[arg(long)]
    update: bool,
    /// Only scenarios whose names begin so; they are compared with each of theirs.
    #[arg(long, conflicts_with = "update")]
    only: Option<String>,
    /// Show where one scenario spends its instructions, by function.
    #[arg(long, value_name = "SCENARIO", conflicts_with_all = ["update", "only"])]
    profile: Option<String>,
    /// Do what this scenario counts; for callgrind.
    #[arg(long, hide = true)]
    scenario: Option<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(name) = &options.scenario {
        println!("{}", operations_line(find(name)?.run()));
        return Ok(());
    }
    if let Some(name) = &options.profile {
        return profile(find(name)?.name);
    }
    let only = options.only.as_deref().unwrap_or_default();
    let names: Vec<_> = scenarios::all().iter().map(|scenario| scenario.name).collect();
    let counted = Counts {
        rustc: rustc()?,
        instructions: count_all(names.into_iter().filter(|name| name.starts_with(only)).collect())?,
    };
    let mut baseline = match fs::read_to_string(&options.baseline) {
        Ok(text) => Baseline::parse(&text)?,
        Err(error) if options.update && error.kind() == std::io::ErrorKind::NotFound => {
            Baseline::default()
        }
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", options.baseline.display()));
        }
    };
    if let Some(known) = baseline.targets.get_mut(&target()) {
        known.instructions.retain(|name, _| name.starts_with(only));
    }
    let comparison = baseline.compare(&target(), &counted);
    print!("{comparison}");
    if options.update {
        baseline.targets.insert(target(), counted);
        return fs::write(&options.baseline, baseline.to_text()?)
            .with_context(|| format!("writing {}", options.baseline.display()));
    }
    if let Some(praise) = comparison.praise() {
        println!("{praise}");
    }
    match comparison.fault() {
        Some(fault) => bail!("{fault}"),
        None => Ok(()),
    }
}

fn find(name: &str) -> Result<Scenario> {
    let mut all = scenarios::all().into_iter();
    all.find(|scenario| scenario.name == name).with_context(|| format!("no scenario `{name}`"))
}

/// The version of the compiler that Cargo uses here.
fn rustc() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().nth(1).map(str::to_owned).context("rustc tells no version")
}

/// Counts all of them, on all cores: a count does not mind who else is there.
fn count_all(mut names: Vec<&'static str>) -> Result<BTreeMap<String, f64>> {
    ensure!(!names.is_empty(), "no scenario has such a name");
    let program = std::env::current_exe().context("finding this program")?;
    let folder = tempfile::tempdir().context("making a folder for callgrind")?;
    names.reverse();
    let left = Mutex::new(names);
    let counted = Mutex::new(BTreeMap::new());
    let work = || -> Result<()> {
        loop {
            let Some(name) = left.lock().map_err(|_| anyhow!("another count failed"))?.pop() else {
                return Ok(());
            };
            let each = count(&program, name, folder.path())?.each();
            let mut counted = counted.lock().map_err(|_| anyhow!("another count failed"))?;
            counted.insert(name.to_owned(), each);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        joined.collect::<Result<Vec<()>>>()
    })?;
    counted.into_inner().map_err(|_| anyhow!("a count failed"))
}

/// Prints what `callgrind_annotate` says of a scenario.
fn profile(name: &'static str) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let folder = tempfile::tempdir().context("making a folder for callgrind")?;
    let counted = count(&program, name, folder.path())?;
    println!("{} operations, {} instructions each\n", counted.operations, counted.each());
    let file: &Path = &folder.path().join(dunlin_benches::instructions::callgrind::file_of(name));
    let status = Command::new("callgrind_annotate").arg("--auto=no").arg(file).status();
    ensure!(status.context("starting callgrind_annotate")?.success(), "callgrind_annotate failed");
    Ok(())
}
