//! Messages of one publisher that a group of subscribers has to see once between them, in any order.

use super::{Missing, Verdict};

/// A window of flags that slides over the sequence numbers.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// All before have come, or are counted as missing.
    base: u64,
    /// Which of those from `base` on have come, by `sequence % len`.
    seen: Box<[bool]>,
    mask: u64,
    /// What has not come of those before need not come.
    forgiven_before: u64,
    /// What has not come of those before `base`.
    missing: Missing,
}

impl Gathered {
    /// Remembers at least `reach` messages behind the newest.
    pub(crate) fn new(reach: usize) -> Self {
        let len = reach.next_power_of_two();
        Self {
            base: 0,
            seen: vec![false; len].into(),
            mask: len as u64 - 1,
            forgiven_before: 0,
            missing: Missing::default(),
        }
    }

    /// Books a delivery.
    #[inline]
    pub(crate) fn book(&mut self, sequence: u64) -> Verdict {
        if sequence < self.base {
            return Verdict::Doubled;
        }
        let lost = self.missing.lost;
        while sequence > self.base + self.mask {
            self.slide();
        }
        let skipped = self.missing.lost - lost;
        let seen = &mut self.seen[(sequence & self.mask) as usize];
        if std::mem::replace(seen, true) {
            return Verdict::Doubled;
        }
        while self.seen[(self.base & self.mask) as usize] {
            self.slide();
        }
        if sequence < self.forgiven_before { Verdict::Forgiven } else { Verdict::Fresh { skipped } }
    }

    /// Moves on by one, and counts it if it had not come.
    fn slide(&mut self) {
        let seen = &mut self.seen[(self.base & self.mask) as usize];
        if !std::mem::replace(seen, false) {
            if self.base < self.forgiven_before {
                self.missing.forgiven += 1;
            } else {
                self.missing.lost += 1;
            }
        }
        self.base += 1;
    }

    /// Forgives what has not come, of so many that were sent; returns how many these are.
    pub(crate) fn forgive(&mut self, sent: u64) -> u64 {
        let from = self.base.max(self.forgiven_before);
        self.forgiven_before = sent;
        let mut forgiven = 0;
        for sequence in from..sent {
            forgiven += u64::from(!self.has(sequence));
        }
        forgiven
    }

    /// Takes note that the broker has refused a message; true if it was due until now.
    pub(crate) fn refuse(&mut self, sequence: u64) -> bool {
        matches!(self.book(sequence), Verdict::Fresh { .. })
    }

    /// What has not come, of so many that were sent.
    pub(crate) fn missing(&self, sent: u64) -> Missing {
        let mut missing = self.missing;
        for sequence in (self.base..sent).filter(|&sequence| !self.has(sequence)) {
            if sequence < self.forgiven_before {
                missing.forgiven += 1;
            } else {
                missing.lost += 1;
            }
        }
        missing
    }

    fn has(&self, sequence: u64) -> bool {
        sequence - self.base <= self.mask && self.seen[(sequence & self.mask) as usize]
    }
}

#[cfg(test)]
mod tests;
