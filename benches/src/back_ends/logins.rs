//! Clients that log in by the back end, so many a second, whatever becomes of them.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::push_login;
use crate::handshake;

/// Threads, each with one login at a time.
const THREADS: u32 = 64;

/// A token by its form, of a key that is in no set: the issuer is to be asked for it.
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6IjIifQ.e30.AAAA";

/// What has become of logins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcomes {
    /// They came in.
    pub allowed: u64,
    /// They were refused.
    pub refused: u64,
    /// They were not answered, or had to wait for those before them.
    pub missed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    allowed: AtomicU64,
    refused: AtomicU64,
    missed: AtomicU64,
}

/// Logins that go on until they are ended.
#[derive(Debug)]
pub struct Logins {
    is_over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Logins {
    /// Begins with so many a second; every other one is by a token.
    pub fn start(address: SocketAddr, per_second: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let period = Duration::from_secs(1) * THREADS / per_second.max(1);
        let began = Instant::now();
        let threads = (0..THREADS).map(|thread| {
            let (is_over, counts) = (is_over.clone(), counts.clone());
            let first = began + period * thread / THREADS;
            thread::spawn(move || run(address, thread, (first, period), &is_over, &counts))
        });
        let threads = threads.collect();
        Self { is_over, counts, threads }
    }

    /// Ends them, once those under way are decided.
    pub fn end(self) -> Outcomes {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread has counted all that it has done.
            let _ = thread.join();
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { allowed, refused, missed } = &*self.counts;
        Outcomes { allowed: count(allowed), refused: count(refused), missed: count(missed) }
    }
}

/// Logs in at its times until all is over; what can't be in time is left out.
fn run(
    address: SocketAddr,
    thread: u32,
    (mut at, period): (Instant, Duration),
    is_over: &AtomicBool,
    counts: &Counts,
) {
    for number in 0_u64.. {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let password = if number % 2 == 0 { "sesame" } else { TOKEN };
        let count = match log_in(address, &format!("login-{thread}-{number}"), password) {
            Ok(true) => &counts.allowed,
            Ok(false) => &counts.refused,
            Err(_) => &counts.missed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        at += period;
        while at + period < Instant::now() {
            at += period;
            counts.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a client is let in.
fn log_in(address: SocketAddr, name: &str, password: &str) -> Result<bool> {
    let mut stream = handshake::open(address, 0)?;
    let mut bytes = Vec::new();
    push_login(&mut bytes, name, name, password);
    stream.write_all(&bytes)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer[3] == 0)
}

impl Outcomes {
    /// Adds others.
    pub const fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.refused += other.refused;
        self.missed += other.missed;
    }
}

/// Waits until a client is let in.
///
/// # Errors
/// When none is within [`handshake::PATIENCE`].
pub fn wait_until_well(address: SocketAddr) -> Result<()> {
    let began = Instant::now();
    for number in 0_u64.. {
        if log_in(address, &format!("well-{number}"), "sesame")? {
            return Ok(());
        }
        ensure!(began.elapsed() < handshake::PATIENCE, "logins stay refused");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
