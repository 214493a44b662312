//! One line on the terminal that tells how far the checks are.

use dunlin_conformance::Finding;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

/// Counts what is done; shows it on standard error if that is a terminal.
pub(super) struct Progress {
    total: usize,
    is_shown: bool,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    count: usize,
    failed: usize,
}

impl Progress {
    pub(super) fn new(total: usize) -> Self {
        Self { total, is_shown: io::stderr().is_terminal(), done: Mutex::default() }
    }

    pub(super) fn show(&self, finding: &Finding) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.count += 1;
        done.failed += usize::from(finding.is_failed());
        if self.is_shown {
            let Done { count, failed } = *done;
            let (total, name) = (self.total, &finding.name);
            // The line is written over the one before. That nobody reads it is no failure.
            let _ = write!(io::stderr(), "\r\x1b[2K{count}/{total}, {failed} failed: {name}");
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
