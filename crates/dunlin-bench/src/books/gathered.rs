//! Messages of one publisher that a group of subscribers has to see once between them, in any order.

use super::{Missing, Verdict};

/// What is known of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due,
    Forgiven,
    Seen,
}

/// A window that slides over the sequence numbers.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// All before have come, or are counted as missing.
    base: u64,
    /// The messages from `base` on, by `sequence % len`.
    states: Box<[State]>,
    mask: u64,
    /// The QoS of each lane.
    qos: Box<[u8]>,
    /// What has not come of those before `base`, by QoS.
    missing: [Missing; 3],
}

impl Gathered {
    /// Remembers at least `reach` messages behind the newest; their lanes have these QoS.
    pub(crate) fn new(reach: usize, qos: Box<[u8]>) -> Self {
        let len = reach.next_power_of_two();
        Self {
            base: 0,
            states: vec![State::Due; len].into(),
            mask: len as u64 - 1,
            qos,
            missing: [Missing::default(); 3],
        }
    }

    /// Books a delivery.
    #[inline]
    pub(crate) fn book(&mut self, sequence: u64) -> Verdict {
        if sequence < self.base {
            return Verdict::Doubled;
        }
        let mut skipped = 0;
        while sequence > self.base + self.mask {
            skipped += u64::from(self.slide() == State::Due);
        }
        let state = &mut self.states[(sequence & self.mask) as usize];
        let before = std::mem::replace(state, State::Seen);
        while self.states[(self.base & self.mask) as usize] == State::Seen {
            self.slide();
        }
        match before {
            State::Due => Verdict::Fresh { skipped },
            State::Forgiven => Verdict::Forgiven,
            State::Seen => Verdict::Doubled,
        }
    }

    /// Moves on by one, and counts it if it had not come.
    fn slide(&mut self) -> State {
        let state = &mut self.states[(self.base & self.mask) as usize];
        let before = std::mem::replace(state, State::Due);
        let missing = &mut self.missing[qos_of(&self.qos, self.base)];
        match before {
            State::Due => missing.lost += 1,
            State::Forgiven => missing.forgiven += 1,
            State::Seen => {}
        }
        self.base += 1;
        before
    }

    /// Forgives what has not come at QoS 0, of so many that were sent; returns how many these are.
    pub(crate) fn forgive(&mut self, sent: u64) -> u64 {
        let mut forgiven = 0;
        if !self.qos.contains(&0) {
            return forgiven;
        }
        for sequence in self.base..sent.min(self.base + self.states.len() as u64) {
            let state = &mut self.states[(sequence & self.mask) as usize];
            if *state == State::Due && qos_of(&self.qos, sequence) == 0 {
                *state = State::Forgiven;
                forgiven += 1;
            }
        }
        forgiven
    }

    /// Takes note that the broker has refused a message; true if it was due until now.
    pub(crate) fn refuse(&mut self, sequence: u64) -> bool {
        matches!(self.book(sequence), Verdict::Fresh { .. })
    }

    /// What has not come, of so many that were sent, by QoS.
    pub(crate) fn missing(&self, sent: u64) -> [Missing; 3] {
        let mut missing = self.missing;
        for sequence in self.base..sent {
            let missing = &mut missing[qos_of(&self.qos, sequence)];
            match self.state(sequence) {
                State::Due => missing.lost += 1,
                State::Forgiven => missing.forgiven += 1,
                State::Seen => {}
            }
        }
        missing
    }

    fn state(&self, sequence: u64) -> State {
        match sequence - self.base <= self.mask {
            true => self.states[(sequence & self.mask) as usize],
            false => State::Due,
        }
    }
}

fn qos_of(lanes: &[u8], sequence: u64) -> usize {
    usize::from(lanes[(sequence % lanes.len() as u64) as usize])
}

#[cfg(test)]
mod tests;
