//! The plan of a run, drawn up front: its options and its actions. A plan can be shortened: what
//! stays in it happens as it would have.

mod action;
mod draw;
mod options;
mod rights;

pub use action::{Action, ConnectPlan, FilterPlan, Planned, PublishPlan, SubscribePlan, WillPlan};
pub use options::{Logins, Micros, Mix, Options};

use crate::chance::{Purpose, random};

/// All that happens to a system, apart from the chance of links, turns and the store.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// The circumstances.
    pub options: Options,
    /// What happens, in its order.
    pub actions: Vec<Planned>,
}

impl Plan {
    /// The plan of a seed, with this many actions.
    pub fn draw(seed: u64, steps: u64) -> Self {
        let mut options = Options::draw(&mut random(seed, Purpose::Options, 0));
        options.draw_queues(&mut random(seed, Purpose::Queues, 0));
        options.draw_rights(&mut random(seed, Purpose::Rights, 0));
        options.draw_logins(&mut random(seed, Purpose::Logins, 0));
        let actions = draw::actions(seed, &options, steps);
        Self { seed, options, actions }
    }
}
