//! What the kernel knows of a process: CPU time and resident memory, read from `/proc`; and the core
//! that it may run on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Length of one tick of `/proc/PID/stat`; Linux fixes it at a hundredth of a second for user space.
const TICK: Duration = Duration::from_millis(10);

/// User and system CPU time of all threads that the process has.
///
/// From `schedstat`, in nanoseconds; where the kernel keeps none, from `stat`, in ticks of 10 ms.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let times: Duration = thread_times(pid)?.values().sum();
    if !times.is_zero() {
        return Ok(times);
    }
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_stat(&text).ok_or(io::ErrorKind::InvalidData)?;
    Ok(TICK * ticks)
}

/// The same for each thread, by its name in `/proc/PID/task`; zero where the kernel keeps no scheduler
/// statistics.
///
/// # Errors
/// When the process is gone.
pub fn thread_times(pid: u32) -> io::Result<BTreeMap<OsString, Duration>> {
    let mut times = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // A thread may end between the two calls.
        if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
            let nanos = parse_schedstat(&text).unwrap_or(0);
            times.insert(task.file_name(), Duration::from_nanos(nanos));
        }
    }
    Ok(times)
}

/// The first field: nanoseconds spent on a core.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, `utime` and `stime`. The name in field 2 may itself hold blanks and brackets.
fn parse_stat(text: &str) -> Option<u32> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// `VmRSS` of `/proc/PID/status`: fast, but the kernel's counters may lag by some pages a thread.
    pub status_rss: u64,
    /// `Rss` of `/proc/PID/smaps_rollup`: walked page by page, exact.
    pub rollup_rss: u64,
    /// `Anonymous` of `/proc/PID/smaps_rollup`: heap and stacks without mapped files.
    pub rollup_anonymous: u64,
}

impl Memory {
    /// Reads the memory of a process.
    ///
    /// # Errors
    /// When the process is gone, or belongs to another user.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (status, rollup) = (read("status")?, read("smaps_rollup")?);
        let field = |text, name| parse_field(text, name).with_context(|| format!("no {name}"));
        Ok(Self {
            status_rss: field(&status, "VmRSS")?,
            rollup_rss: field(&rollup, "Rss")?,
            rollup_anonymous: field(&rollup, "Anonymous")?,
        })
    }
}

/// Resident bytes of a process, by the kernel's quick count.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_field(&text, "VmRSS").ok_or(io::ErrorKind::InvalidData.into())
}

/// The most resident bytes that a process has ever had.
///
/// # Errors
/// When the process is gone.
pub fn resident_peak(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_field(&text, "VmHWM").ok_or(io::ErrorKind::InvalidData.into())
}

/// Lets this process open as many files as the hard limit allows, and returns how many these are.
pub fn file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where it can't be raised, what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Bytes of the line `name:  N kB`.
fn parse_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes that a process has caused to be written to storage since it began.
///
/// # Errors
/// When the process is gone, or belongs to another user.
pub fn written_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    value.and_then(|value| value.trim().parse().ok()).context("no write_bytes")
}

/// Bytes that the files of a folder take on the disk.
///
/// # Errors
/// When it can't be read.
pub fn disk_bytes(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Files come and go while they are counted.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += match metadata.is_dir() {
            true => disk_bytes(&entry.path()).unwrap_or(0),
            false => metadata.blocks() * 512,
        };
    }
    Ok(bytes)
}

/// Restricts this process to one core.
///
/// # Errors
/// When `taskset` is missing or there is no such core.
pub fn pin_self(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    run_quietly(Command::new("taskset").args(["-c", "-p", &core.to_string(), &pid]))
}

/// Lets this process, and those that it starts, open so many files.
///
/// # Errors
/// When `prlimit` is missing or the hard limit is lower.
pub fn raise_file_limit(files: usize) -> Result<()> {
    let (pid, limit) = (std::process::id().to_string(), format!("--nofile={files}:"));
    run_quietly(Command::new("prlimit").args(["--pid", &pid, &limit]))
        .with_context(|| format!("{files} open files are more than `ulimit -Hn` allows"))
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status();
    let status =
        status.with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} failed: {status}", command.get_program().display());
    Ok(())
}

#[cfg(test)]
mod tests;
