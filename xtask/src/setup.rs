//! The set-up step: the foreign programs that the interoperability tests talk to, installed where
//! that is allowed, and otherwise named in the one command to type.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{
    cargo, find_program, first_line, output, run as run_command, succeeds, usable_python,
};
use crate::peers::install::MQTT_JS;
use crate::workspace::Workspace;

/// Where the pinned Python packages are listed.
const REQUIREMENTS: &str = "crates/dunlin/tests/interop/requirements.txt";

/// The Python environment's folder under the build directory; the interoperability tests look
/// there.
const ENVIRONMENT: &str = "peers-venv";

/// Makes sure that every peer is there, then prints who takes part.
///
/// # Errors
/// When something is missing that this user may not install; the message is the command to type.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    install_missing_packages()?;
    let python = prepare_environment(workspace)?;
    MQTT_JS.install(workspace)?;
    print_versions(workspace, &python);
    Ok(())
}

/// The Debian packages of which a part is missing.
fn missing_packages() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if find_program("mosquitto").is_none() {
        packages.push("mosquitto");
    }
    if find_program("mosquitto_pub").is_none() || find_program("mosquitto_sub").is_none() {
        packages.push("mosquitto-clients");
    }
    if find_program("openssl").is_none() {
        packages.push("openssl");
    }
    if usable_python().is_none() {
        packages.push("python3-venv");
    }
    let programs = [
        ("haproxy", "haproxy"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("chromium", "chromium"),
        ("valgrind", "valgrind"),
    ];
    for (program, package) in programs {
        if find_program(program).is_none() {
            packages.push(package);
        }
    }
    packages
}

fn install_missing_packages() -> Result<()> {
    let packages = missing_packages();
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("the tests need what Debian calls {names}: install it with your package manager");
    }
    let root = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if !root {
        bail!(
            "the tests need programs that are not installed; type: sudo sh -c 'apt-get update && \
             apt-get install -y --no-install-recommends {names}'"
        );
    }
    run_command(&mut apt_get(&["update"]))?;
    run_command(apt_get(&["install", "-y", "--no-install-recommends"]).args(&packages))?;
    if packages.contains(&"mosquitto") {
        // The tests start brokers of their own; the package's would hold the standard port, where
        // a user next starts Dunlin.
        succeeds(Command::new("service").args(["mosquitto", "stop"]));
    }
    match missing_packages().as_slice() {
        [] => Ok(()),
        still => bail!("installed, and yet not found: {}", still.join(", ")),
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    command
}

/// Builds the virtual environment unless it already holds what the requirements pin.
fn prepare_environment(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join(ENVIRONMENT);
    let python = folder.join("bin/python");
    let requirements = workspace.root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("reading {}", requirements.display()))?;
    if pinned(&wanted).iter().all(|(name, version)| has(&python, name, version)) {
        return Ok(python);
    }
    let base = usable_python().context("no Python with the modules venv and ensurepip")?;
    run_command(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run_command(Command::new(&python).args(pip).arg(&requirements))?;
    Ok(python)
}

/// The `name==version` lines of a requirements file.
fn pinned(requirements: &str) -> Vec<(&str, &str)> {
    let lines = requirements.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    lines.filter_map(|line| line.split_once("==")).collect()
}

fn has(python: &Path, name: &str, version: &str) -> bool {
    python.is_file() && installed_version(python, name).as_deref() == Some(version)
}

fn installed_version(python: &Path, name: &str) -> Option<String> {
    let ask = format!("from importlib.metadata import version; print(version('{name}'))");
    output(Command::new(python).args(["-c", &ask])).map(|text| text.trim().to_owned())
}

fn print_versions(workspace: &Workspace, python: &Path) {
    let rustc = output(Command::new("rustc").arg("--version"));
    let cargo = output(&mut cargo(workspace, &["--version"]));
    let ask = |name: &str, flag: &str| {
        find_program(name).and_then(|program| output(Command::new(program).arg(flag)))
    };
    let versions = [
        ("rustc", rustc),
        ("cargo", cargo),
        ("broker", ask("mosquitto", "-h")),
        ("mosquitto_pub", ask("mosquitto_pub", "--version")),
        ("haproxy", ask("haproxy", "-v")),
        ("python", output(Command::new(python).arg("--version"))),
        ("paho-mqtt", installed_version(python, "paho-mqtt")),
        ("aioquic", installed_version(python, "aioquic")),
        ("node", ask("node", "--version")),
        ("chromium", ask("chromium", "--product-version")),
        ("valgrind", ask("valgrind", "--version")),
        ("MQTT.js", Some(MQTT_JS.version.to_owned())),
    ];
    for (name, version) in versions {
        println!("    {name:<14} {}", first_line(&version.unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_exact_versions_and_remarks() {
        let text = "# peers\npaho-mqtt==2.1.0\n\nother==1.0 # why\nloose>=3\n";
        assert_eq!(pinned(text), [("paho-mqtt", "2.1.0"), ("other", "1.0")]);
    }

    #[test]
    fn a_python_that_is_not_there_has_nothing() {
        assert!(!has(Path::new("/nonexistent/python"), "paho-mqtt", "2.1.0"));
    }
}
