//! What was acknowledged against what has arrived.

use std::fmt;

use super::wire::Answer;

/// How the arrivals of one producer's messages at one consumer differ from what was acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged, and has not come.
    pub missing: u64,
    /// Has come again.
    pub doubled: u64,
    /// Has come although it was refused, or never sent.
    pub unasked: u64,
    /// Has come after a later one.
    pub misplaced: u64,
}

impl Faults {
    /// Compares: the answer to each message by its place in the sequence, with the places of those that
    /// have arrived, in that order.
    pub fn find(answers: &[Answer], arrived: &[u32]) -> Self {
        let mut faults = Self::default();
        let mut seen = vec![false; answers.len()];
        let mut latest = 0;
        for &sequence in arrived {
            let at = sequence as usize;
            match answers.get(at) {
                Some(Answer::Acknowledged) if !seen[at] => {
                    seen[at] = true;
                    faults.misplaced += u64::from(sequence < latest);
                    latest = latest.max(sequence);
                }
                Some(Answer::Acknowledged) => faults.doubled += 1,
                Some(Answer::Refused) | None => faults.unasked += 1,
            }
        }
        let owed = answers.iter().filter(|answer| **answer == Answer::Acknowledged).count();
        let came = seen.iter().filter(|seen| **seen).count();
        faults.missing = (owed - came) as u64;
        faults
    }

    /// Adds those of another pair.
    pub fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.unasked += other.unasked;
        self.misplaced += other.misplaced;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, doubled, unasked, misplaced } = self;
        write!(f, "{missing} missing, {doubled} doubled, {unasked} refused but delivered, ")?;
        write!(f, "{misplaced} out of order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::{Acknowledged, Refused};

    fn check(arrived: &[u32], missing: u64, doubled: u64, unasked: u64, misplaced: u64) {
        let answers = [Acknowledged, Refused, Acknowledged, Acknowledged];
        let expected = Faults { missing, doubled, unasked, misplaced };
        assert_eq!(Faults::find(&answers, arrived), expected, "{arrived:?}");
    }

    #[test]
    fn each_fault_is_found() {
        check(&[0, 2, 3], 0, 0, 0, 0);
        check(&[0, 3], 1, 0, 0, 0);
        check(&[], 3, 0, 0, 0);
        check(&[0, 2, 2, 3], 0, 1, 0, 0);
        check(&[0, 1, 2, 3], 0, 0, 1, 0);
        check(&[0, 2, 3, 4], 0, 0, 1, 0);
        check(&[0, 3, 2], 0, 0, 0, 1);
        check(&[3, 3, 1], 2, 1, 1, 0);
    }
}
