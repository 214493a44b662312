//! Makes a plan that breaks a promise shorter and plainer, as long as it breaks the same one.

use crate::plan::{Options, Plan};
use crate::run::run;

/// Runs that a plan may cost.
const RUNS_MAX: usize = 3_000;

/// Shortens plans.
struct Minimizer {
    kind: String,
    runs: usize,
}

impl Minimizer {
    /// Whether the plan still breaks the same promise.
    fn fails(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        self.runs <= RUNS_MAX
            && run(plan, false).failure.is_some_and(|failure| failure.kind == self.kind)
    }

    /// Leaves out ever smaller parts of the actions, as long as that leads anywhere.
    fn shorten(&mut self, plan: &mut Plan) {
        let mut len = plan.actions.len().div_ceil(2);
        while len > 0 && !plan.actions.is_empty() {
            let mut from = 0;
            let mut shortened = false;
            while from < plan.actions.len() {
                let to = (from + len).min(plan.actions.len());
                let mut candidate = plan.clone();
                candidate.actions.drain(from..to);
                if self.fails(&candidate) {
                    *plan = candidate;
                    shortened = true;
                } else {
                    from = to;
                }
            }
            if len == 1 && !shortened {
                return;
            }
            len = if len == 1 { 1 } else { len / 2 };
        }
    }

    /// Turns the options plain, one after the other.
    fn simplify(&mut self, plan: &mut Plan) {
        let plain = Options::plain();
        let steps: [fn(&mut Options, &Options); 19] = [
            |options, plain| options.limits = plain.limits.clone(),
            |options, plain| options.partial_turns = plain.partial_turns,
            |options, plain| options.mail_delay = plain.mail_delay,
            |options, plain| options.turn_delay = plain.turn_delay,
            |options, plain| options.latency = plain.latency,
            |options, plain| options.part_len_max = plain.part_len_max,
            |options, plain| options.window = plain.window,
            |options, plain| options.bytes_per_second = plain.bytes_per_second,
            |options, plain| options.ack_delay = plain.ack_delay,
            |options, plain| options.sync = plain.sync,
            |options, plain| options.fetch = plain.fetch,
            |options, plain| options.queue_head = plain.queue_head,
            |options, plain| options.tail_from = plain.tail_from,
            |options, _| options.logins = None,
            |options, plain| {
                options.authenticates = plain.authenticates || options.logins.is_some();
            },
            |options, _| options.rules = None,
            |options, plain| options.stores = plain.stores,
            |options, plain| options.workers = plain.workers,
            |options, _| options.reconnect = None,
        ];
        for step in steps {
            let mut candidate = plan.clone();
            step(&mut candidate.options, &plain);
            if self.fails(&candidate) {
                *plan = candidate;
            }
        }
    }
}

/// The shortest plan found that fails as this one does; `None` when this one doesn't fail.
pub fn minimize(plan: &Plan) -> Option<Plan> {
    let failure = run(plan, false).failure?;
    let mut minimizer = Minimizer { kind: failure.kind, runs: 0 };
    let mut plan = plan.clone();
    plan.actions.retain(|planned| planned.at <= failure.at);
    if !minimizer.fails(&plan) {
        return None;
    }
    minimizer.simplify(&mut plan);
    minimizer.shorten(&mut plan);
    minimizer.simplify(&mut plan);
    Some(plan)
}
