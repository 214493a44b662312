//! What the judge has to know of the broker and of the world before anything happens.

use dunlin_broker::Limits;
use dunlin_broker::core::Rules as RightsRules;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::history::DeviceId;

/// What the broker was configured with, as far as promises depend on it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The limits of the broker.
    pub limits: Limits,
    /// Whether what was acknowledged survives the process.
    pub stores: bool,
    /// How much later than due the broker may act on time: the grain of its timers and the longest
    /// time between two of its turns.
    pub lateness: Duration,
    /// The rules that are in force at the start, if there are any.
    pub rights: Option<Arc<RightsRules>>,
    /// How long the broker waits until it knows who a Client is; without it nobody is asked.
    pub login_limit: Option<Duration>,
    /// Devices that don't keep to the protocol, or don't tell what they are given: nothing is owed
    /// to them, and what they send may be anything.
    pub strangers: BTreeSet<DeviceId>,
}

impl Rules {
    /// Rules for a broker with these limits; nothing survives its process.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stores: false,
            lateness: Duration::from_millis(200),
            rights: None,
            login_limit: None,
            strangers: BTreeSet::new(),
        }
    }

    /// The Session Expiry Interval that the broker grants when it is asked for this one.
    pub(super) fn granted_expiry(&self, asked_secs: u32) -> u32 {
        asked_secs.min(self.limits.session_expiry_max_secs)
    }
}
