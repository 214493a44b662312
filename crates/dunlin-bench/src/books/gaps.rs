//! Runs of messages that have not come: skipped, forgiven, or refused.

use super::Missing;

/// Runs that are remembered of one lane. Of the oldest beyond, only the number is kept; if one of
/// them still comes, it is taken for a doubled one.
const RUNS_MAX: usize = 64;

/// The gaps of one lane, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    runs: Vec<Run>,
    /// What the forgotten runs held.
    forgotten: Missing,
}

/// Why messages have been passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A later one came first.
    Skipped,
    /// A connection was cut.
    Forgiven,
    /// The broker has refused them.
    Refused,
}

/// Messages `from`, `from + step`, ... before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    from: u64,
    to: u64,
    kind: Kind,
}

impl Gaps {
    /// Remembers messages that have been passed over. They follow all that were added before.
    pub(crate) fn add(&mut self, from: u64, to: u64, kind: Kind, step: u64) {
        if let Some(last) = self.runs.last_mut()
            && last.to == from
            && last.kind == kind
        {
            last.to = to;
            return;
        }
        if self.runs.len() == RUNS_MAX {
            let oldest = self.runs.remove(0);
            oldest.count(&mut self.forgotten, step);
        }
        self.runs.push(Run { from, to, kind });
    }

    /// Takes a message out, if it is in a gap.
    pub(crate) fn fill(&mut self, sequence: u64, step: u64) -> Option<Kind> {
        let holds = |run: &Run| run.from <= sequence && sequence < run.to;
        let at = self.runs.iter().rposition(holds)?;
        let run = self.runs[at];
        let before = Run { to: sequence, ..run };
        let behind = Run { from: sequence + step, ..run };
        let rest = [before, behind].into_iter().filter(|run| run.from < run.to);
        self.runs.splice(at..=at, rest);
        Some(run.kind)
    }

    /// What has not come.
    pub(crate) fn missing(&self, step: u64) -> Missing {
        let mut missing = self.forgotten;
        for run in &self.runs {
            run.count(&mut missing, step);
        }
        missing
    }
}

impl Run {
    fn count(&self, missing: &mut Missing, step: u64) {
        let messages = (self.to - self.from).div_ceil(step);
        match self.kind {
            Kind::Skipped => missing.lost += messages,
            Kind::Forgiven => missing.forgiven += messages,
            Kind::Refused => {}
        }
    }
}
