//! Looks for one fault after the other, several at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Fault, VARIABLE};

/// A seed at which a run broke a promise, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seed: u64,
    pub(super) promise: String,
}

/// Looks for these faults with the seeds below `seeds`, prints a line for each, and gives the names
/// of those that were not found.
///
/// # Errors
/// When the simulator can't be run.
pub(super) fn search(
    program: &Path,
    faults: &[&Fault],
    seeds: u64,
    jobs: usize,
) -> Result<Vec<String>> {
    println!("{:<36} {:>7} {:>8}  found by", "fault", "seeds", "seconds");
    let sound = Mutex::new(BTreeMap::new());
    let missed = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let found = look_for(
                seeds,
                |from| simulate(program, Some(&fault.name), from, seeds),
                |seed| is_sound(program, seed, &sound),
            )?;
            let seconds = started.elapsed().as_secs_f64();
            let (count, promise) = match &found {
                Some(found) => ((found.seed + 1).to_string(), found.promise.as_str()),
                None => ("-".to_owned(), "NOT FOUND"),
            };
            println!("{:<36} {count:>7} {seconds:>8.1}  {promise}", fault.name);
            if found.is_none() {
                missed.lock().unwrap_or_else(PoisonError::into_inner).push(fault.name.clone());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let unsound = sound.into_inner().unwrap_or_else(PoisonError::into_inner);
    let unsound: Vec<u64> =
        unsound.into_iter().filter(|(_, is_sound)| !is_sound).map(|(seed, _)| seed).collect();
    if !unsound.is_empty() {
        println!("passed over, as they fail without a fault too: seeds {unsound:?}");
    }
    let mut missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
    missed.sort();
    Ok(missed)
}

/// The first seed below `seeds` that fails with the fault, and goes well without it.
pub(super) fn look_for(
    seeds: u64,
    simulate: impl Fn(u64) -> Result<Option<Found>>,
    is_sound: impl Fn(u64) -> Result<bool>,
) -> Result<Option<Found>> {
    let mut from = 0;
    while from < seeds {
        let Some(found) = simulate(from)? else { break };
        if is_sound(found.seed)? {
            return Ok(Some(found));
        }
        from = found.seed + 1;
    }
    Ok(None)
}

/// Whether a seed goes well without a fault; what is known is not asked again.
fn is_sound(program: &Path, seed: u64, known: &Mutex<BTreeMap<u64, bool>>) -> Result<bool> {
    let told = known.lock().unwrap_or_else(PoisonError::into_inner).get(&seed).copied();
    if let Some(told) = told {
        return Ok(told);
    }
    let is_sound = simulate(program, None, seed, seed + 1)?.is_none();
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, is_sound);
    Ok(is_sound)
}

/// The first of these seeds that breaks a promise.
fn simulate(program: &Path, fault: Option<&str>, from: u64, to: u64) -> Result<Option<Found>> {
    let mut command = Command::new(program);
    command.env_remove(VARIABLE);
    command.args(["--until-breach", "--seeds", &format!("{from}..{to}")]);
    if let Some(fault) = fault {
        command.env(VARIABLE, fault);
    }
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(parse(&text).with_context(|| format!("no seed is named:\n{text}"))?)),
        _ => bail!("{}: {}\n{text}", fault.unwrap_or("no fault"), output.status),
    }
}

/// Reads what the simulator says of the breach that it found.
pub(super) fn parse(text: &str) -> Option<Found> {
    let found = text.lines().find_map(|line| line.strip_prefix("found: seed "))?;
    let (seed, promise) = found.split_once(' ')?;
    Some(Found { seed: seed.parse().ok()?, promise: promise.to_owned() })
}
