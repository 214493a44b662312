//! Runs a scenario in a process of its own under valgrind's callgrind, and reads what it counted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A pattern of the one function in which instructions are counted.
pub const COUNTED: &str = "*counted_instructions*";

/// What the process gets as its environment, and nothing else: more of it moves the stack, and with
/// it what is aligned.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    // The allocator gives pages back when some time has passed; under callgrind that is at random.
    ("MIMALLOC_PURGE_DELAY", "-1"),
    // The C library copies and compares with what the processor has; this every x86-64 one has.
    ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-BMI2"),
];

/// What a run under callgrind said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// Instructions that were executed while they counted.
    pub instructions: u64,
    /// What the scenario did in the meantime: messages delivered, packets, look-ups.
    pub operations: u64,
}

impl Count {
    /// Instructions for each operation, in tenths, so that what is written down and read again is
    /// the same.
    pub fn each(self) -> f64 {
        (self.instructions as f64 * 10.0 / self.operations as f64).round() / 10.0
    }
}

/// Runs `program --scenario NAME` under callgrind.
///
/// # Errors
/// When valgrind is missing, or the run fails; the message has what was printed.
pub fn count(program: &Path, scenario: &str, folder: &Path) -> Result<Count> {
    let out = folder.join(file_of(scenario));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--collect-atstart=no"]);
    command.arg(format!("--toggle-collect={COUNTED}"));
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(program).args(["--scenario", scenario]);
    command.env_clear().envs(ENVIRONMENT);
    let output = command.output().context("starting valgrind: is it installed?")?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the scenario {scenario} failed:\n{said}{complained}");
    let operations = parse_operations(&said)
        .with_context(|| format!("the scenario {scenario} did not say what it did: {said}"))?;
    let profile = fs::read_to_string(&out).with_context(|| format!("reading {}", out.display()))?;
    let instructions = parse_instructions(&profile)
        .with_context(|| format!("callgrind counted nothing of {scenario}"))?;
    Ok(Count { instructions, operations })
}

/// The file in which the profile of a scenario is left.
pub fn file_of(scenario: &str) -> String {
    scenario.replace('/', "-")
}

/// What a scenario prints at its end, for [`count`].
pub fn operations_line(operations: u64) -> String {
    format!("operations: {operations}")
}

/// The operations that a scenario has told of.
pub(super) fn parse_operations(said: &str) -> Option<u64> {
    let mut lines = said.lines();
    let number = lines.find_map(|line| line.strip_prefix("operations: "))?.parse().ok()?;
    (number > 0).then_some(number)
}

/// The instructions that a callgrind file sums up to; `None` if it has no sum, or none were
/// counted.
pub(super) fn parse_instructions(profile: &str) -> Option<u64> {
    let sum = profile.lines().find_map(|line| line.strip_prefix("totals: "))?;
    let instructions = sum.split_whitespace().next()?.parse().ok()?;
    (instructions > 0).then_some(instructions)
}
