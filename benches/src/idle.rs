//! What a connection costs that does nothing, and what it costs to become one.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::handshake;
use crate::process::{self, Memory};
use crate::traffic::subscriber_identifier;

/// Resident bytes that each connection adds, by the kernel's three counts.
#[derive(Debug, Clone, Copy)]
pub struct IdleCost {
    /// From `VmRSS` of `/proc/PID/status`.
    pub status_rss: f64,
    /// From `Rss` of `/proc/PID/smaps_rollup`.
    pub rollup_rss: f64,
    /// From `Anonymous` of `/proc/PID/smaps_rollup`.
    pub rollup_anonymous: f64,
    /// CPU time of the broker in each second while all are idle.
    pub cpu_per_second: Duration,
}

const SETTLE_STEP: Duration = Duration::from_millis(500);
const SETTLE_STEPS_MAX: u32 = 60;
/// Readings in a row, each like the one before, after which the memory counts as settled.
const SETTLED_AFTER: u32 = 4;
/// Readings this close are alike: a collector of garbage is never quite at rest.
const ALIKE_BYTES: u64 = 256 * 1024;

/// Holds `count` connections with one subscription each and returns what each adds to the broker.
///
/// A first connection comes and stays before the count begins, so that what the broker sets up once
/// is not charged to the others.
///
/// # Errors
/// When the broker refuses a connection or its memory never settles.
pub fn measure_idle(address: SocketAddr, pid: u32, count: u32) -> Result<IdleCost> {
    let open = |nth: u32| {
        let mut stream = handshake::connect(address, nth, &subscriber_identifier(nth))?;
        handshake::subscribe(&mut stream, &format!("bench/{nth}"), 0)?;
        anyhow::Ok(stream)
    };
    let first = open(0)?;
    let before = settled_memory(pid)?;
    let held = (1..=count).map(open).collect::<Result<Vec<_>>>()?;
    let after = settled_memory(pid)?;
    let (cpu, clock) = (process::cpu_time(pid)?, Instant::now());
    thread::sleep(SETTLE_STEP * 2);
    let cpu_idle = process::cpu_time(pid)?.saturating_sub(cpu);
    let each =
        |get: fn(&Memory) -> u64| (get(&after) as f64 - get(&before) as f64) / f64::from(count);
    drop((first, held));
    Ok(IdleCost {
        status_rss: each(|memory| memory.status_rss),
        rollup_rss: each(|memory| memory.rollup_rss),
        rollup_anonymous: each(|memory| memory.rollup_anonymous),
        cpu_per_second: cpu_idle.div_f64(clock.elapsed().as_secs_f64()),
    })
}

/// Reads the memory until it stays as it is for a while.
fn settled_memory(pid: u32) -> Result<Memory> {
    let mut last = Memory::of(pid)?;
    let mut alike = 0;
    for _ in 0..SETTLE_STEPS_MAX {
        thread::sleep(SETTLE_STEP);
        let now = Memory::of(pid)?;
        let is_alike = now.rollup_rss.abs_diff(last.rollup_rss) <= ALIKE_BYTES;
        alike = if is_alike { alike + 1 } else { 0 };
        if alike == SETTLED_AFTER {
            return Ok(now);
        }
        last = now;
    }
    bail!("the broker's memory has not settled in {:?}", SETTLE_STEP * SETTLE_STEPS_MAX)
}

/// What a series of connects cost.
#[derive(Debug, Clone, Copy)]
pub struct ConnectCost {
    /// CPU time of the broker for each, from the TCP handshake to CONNACK.
    pub broker_cpu: Duration,
    /// Wall time from the first to the last.
    pub elapsed: Duration,
}

/// Opens `count` connections, `parallel` at a time, and holds them until the last is accepted.
///
/// # Errors
/// When the broker refuses one.
pub fn measure_connect(
    address: SocketAddr,
    pid: u32,
    count: u32,
    parallel: u32,
) -> Result<ConnectCost> {
    let mut streams = Vec::with_capacity(count as usize);
    let (cpu, clock) = (process::cpu_time(pid)?, Instant::now());
    for batch in (0..count).step_by(parallel.max(1) as usize) {
        let start = streams.len();
        for nth in batch..count.min(batch.saturating_add(parallel.max(1))) {
            let mut stream = handshake::open(address, nth)?;
            handshake::send_connect(&mut stream, &subscriber_identifier(nth))?;
            streams.push(stream);
        }
        for stream in &mut streams[start..] {
            handshake::expect_connack(stream)?;
        }
    }
    let elapsed = clock.elapsed();
    let broker_cpu = process::cpu_time(pid)?.saturating_sub(cpu) / count.max(1);
    Ok(ConnectCost { broker_cpu, elapsed })
}
