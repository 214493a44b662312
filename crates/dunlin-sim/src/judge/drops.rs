//! What was dropped, and whether the broker says so.

use super::Judge;
use super::messages::Receipt;
use super::promise::Promise;

impl Judge {
    /// At the end: of what was routed to a Client, all that was never sent to it is counted.
    pub(super) fn judge_drops(&mut self) {
        for (client, count) in std::mem::take(&mut self.drops) {
            let Some(life) = self.sessions.of(client).life else { continue };
            let life = self.sessions.life(life);
            let [connection] = life.attached[..] else { continue };
            if life.is_merged || life.is_mixed || life.in_doubt {
                // It may be another session than that of which the broker speaks.
                continue;
            }
            let is_missing = |number: &&u64| {
                let is_known = self.messages.get(*number).is_some_and(|known| !known.is_ambiguous);
                is_known && life.receipts.get(*number).is_none_or(Receipt::is_of_nothing)
            };
            let mut missing = life.routed.iter().filter(is_missing);
            let Some(first) = missing.next() else { continue };
            let len = 1 + missing.count() as u64;
            if len > count {
                let text = format!(
                    "{len} messages were never sent to it, the first of them {first}, and {count} \
                     are counted"
                );
                self.breach(Promise::DropsAreCounted, &[connection], text);
            }
        }
    }
}
