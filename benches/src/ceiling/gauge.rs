//! Resident memory of the broker, sampled while it is under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Samples {
    /// Times that it was looked at.
    pub count: u64,
    /// Times that there was more than allowed.
    pub above: u64,
}

/// Looks until it is told to end.
///
/// # Errors
/// When the process is gone.
pub(super) fn watch(pid: u32, ceiling: u64, is_over: &AtomicBool) -> Result<Samples> {
    let mut samples = Samples::default();
    while !is_over.load(Ordering::Relaxed) {
        let resident = process::resident(pid).context("the broker is gone")?;
        samples.count += 1;
        samples.above += u64::from(resident > ceiling);
        thread::sleep(INTERVAL);
    }
    Ok(samples)
}
