//! The file of rules and its way to the workers, as the broker's shell has it.

use super::station::Mail;
use super::{About, Event, World, note};
use dunlin_broker::core::Rules;
use std::sync::Arc;

/// The rules that are in the file.
#[derive(Debug)]
pub(super) struct RulesFile {
    pub(super) rules: Arc<Rules>,
    /// How many were there before.
    pub(super) number: u64,
    /// The last of which the judge knows that every worker goes by them.
    in_force: u64,
}

impl RulesFile {
    pub(super) fn new(text: &str) -> Self {
        Self { rules: Arc::new(parse(text, 0)), number: 0, in_force: 0 }
    }
}

/// What the plan has drawn is legal.
fn parse(text: &str, number: u64) -> Rules {
    match Rules::parse(text) {
        Ok(rules) => rules.with_generation(number),
        Err(error) => panic!("the plan drew rules that are none: {error}\n{text}"),
    }
}

impl World {
    /// The file has another text, and the broker is told to read it.
    pub(super) fn change_rules(&mut self, text: &str) {
        let Some(file) = &mut self.rules else { return };
        file.number += 1;
        file.rules = Arc::new(parse(text, file.number));
        let (rules, number) = (file.rules.clone(), file.number);
        self.tell(Event::RulesChanged { number, rules: &rules });
        if self.is_up {
            for worker in 0..self.stations.len() {
                self.post(worker, Mail::Rules(number, rules.clone()));
            }
        }
    }

    /// A worker goes by these rules from now on.
    pub(super) fn take_rules(&mut self, worker: usize, number: u64, rules: Arc<Rules>) {
        self.stations[worker].core.handle_rules(self.now, rules);
        self.stations[worker].rules = number;
        self.note_rules_in_force();
    }

    /// Tells the judge by which rules every worker goes.
    pub(super) fn note_rules_in_force(&mut self) {
        let oldest = self.stations.iter().map(|station| station.rules).min();
        let (Some(file), Some(oldest)) = (&mut self.rules, oldest) else { return };
        if oldest > file.in_force {
            file.in_force = oldest;
            note!(self, About::All, "every worker goes by the rules {oldest}");
            self.tell(Event::RulesInForce { number: oldest });
        }
    }
}
