//! `cargo xtask release`: the executable that is given to users, optimised by a profile of what a
//! broker does most.
//!
//! The profile is taken from a broker under the loads of `dunlin bench`, which is built the same way,
//! so the client's side is in it, too. Their payloads and numbers of clients are not those that
//! `cargo xtask bench` measures with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, find_program, output, run as run_command};
use crate::peers::Ours;
use crate::workspace::Workspace;

/// What the profile is taken from, as arguments of `dunlin bench`.
const LOADS: [&str; 14] = [
    "fan-in --publishers 30 --payload 40 --messages 600000",
    "fan-in --publishers 20 --payload 700 --messages 300000 --version 5",
    "fan-in --publishers 30 --payload 100 --messages 400000 --qos 1",
    "fan-in --publishers 30 --payload 100 --messages 200000 --qos 2 --version 5",
    "fan-out --subscribers 200 --payload 40 --messages 6000",
    "fan-out --subscribers 300 --payload 1500 --messages 2000",
    "fan-out --subscribers 200 --payload 100 --messages 3000 --qos 1 --version 5",
    "pairs --clients 120 --payload 40 --messages 600000",
    "pairs --clients 120 --payload 200 --messages 400000 --qos 1",
    "shared --publishers 20 --subscribers 6 --payload 100 --messages 300000 --qos 1",
    "offline --messages 40000",
    "retained --messages 20000",
    "wildcards --clients 60 --topics 50 --messages 300000",
    "connect --clients 900 --duration 1",
];

/// Builds it and says where it lies.
///
/// # Errors
/// When the tool that merges profiles is missing, with the command that installs it, or a build or a
/// load fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let program = build(workspace)?;
    println!("built {}", program.display());
    Ok(())
}

/// Builds it.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let compiler = Compiler::ask()?;
    let merger = compiler.merger()?;
    let folder = workspace.target.join("release-by-profile");
    let profiles = folder.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).context("removing old profiles")?;
    }
    let generate = format!("-Cprofile-generate={}", profiles.display());
    let program = compile(workspace, &compiler, &folder, &generate)?;
    train(&program)?;

    let merged = profiles.join("merged.profdata");
    run_command(Command::new(merger).args(["merge", "--output"]).arg(&merged).arg(&profiles))?;
    let used = format!("-Cprofile-use={}", merged.display());
    compile(workspace, &compiler, &folder, &used)
}

/// Builds `dunlin` with a flag more. The target is named so that the flag reaches no build scripts.
fn compile(
    workspace: &Workspace,
    compiler: &Compiler,
    folder: &Path,
    flag: &str,
) -> Result<PathBuf> {
    let mut build = cargo(workspace, &["build", "--release", "-p", "dunlin"]);
    build.args(["--target", &compiler.host, "--target-dir"]).arg(folder);
    run_command(build.env("RUSTFLAGS", flag))?;
    Ok(folder.join(&compiler.host).join("release/dunlin"))
}

/// Puts all loads on a broker of this build, which writes its profile when it stops.
fn train(program: &Path) -> Result<()> {
    let broker = Ours::start_program(program, 1)?;
    for load in LOADS {
        let mut words = load.split(' ');
        let scenario = words.next().unwrap_or_default();
        let mut bench = Command::new(program);
        bench.args(["bench", scenario, &format!("mqtt://{}", broker.address()), "--quiet"]);
        run_command(bench.args(words))?;
    }
    broker.stop()
}

/// What is known of the compiler.
struct Compiler {
    /// The target that it builds for by itself.
    host: String,
    /// The version of its LLVM, without what comes after the first point.
    llvm: String,
}

impl Compiler {
    fn ask() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let text =
            output(Command::new(rustc).arg("-vV")).context("asking rustc for its version")?;
        Self::parse(&text).context("rustc does not tell its host and its LLVM's version")
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let llvm = value("LLVM version: ")?.split('.').next()?;
        Some(Self { host: value("host: ")?.to_owned(), llvm: llvm.to_owned() })
    }

    /// The program that merges profiles, from the same LLVM: another one can't read them.
    fn merger(&self) -> Result<PathBuf> {
        let names = [format!("llvm-profdata-{}", self.llvm), "llvm-profdata".to_owned()];
        let found = names.iter().filter_map(|name| find_program(name)).find(|program| {
            let version = output(Command::new(program).arg("--version")).unwrap_or_default();
            version.contains(&format!("LLVM version {}.", self.llvm))
        });
        match found {
            Some(program) => Ok(program),
            None => bail!(
                "profiles of this compiler are read by llvm-profdata {0} alone; type: sudo apt-get \
                 install llvm-{0}",
                self.llvm
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_answer_is_read() {
        let text = "rustc 1.95.0 (abc 2026-04-14)\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.95.0\nLLVM version: 22.1.2\n";
        let compiler = Compiler::parse(text).unwrap();
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
        assert_eq!(compiler.llvm, "22");
        assert!(Compiler::parse("rustc 1.95.0\n").is_none());
    }
}
