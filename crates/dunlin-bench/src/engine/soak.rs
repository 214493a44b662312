//! What a soak has beside its messages: Wills, retained messages, and counts of what was done.

use crate::books::{Retained, Wills};
use crate::layout::{Layout, RETAINED};
use crate::payload::{PAYLOAD_MIN, Payloads, Stamp};

use super::receiver::Identifiers;

/// What the guests of a soak know.
#[derive(Debug)]
pub(super) struct Soak {
    pub(super) wills: Wills,
    pub(super) retained: Retained,
    /// Wills and retained messages are small.
    pub(super) payloads: Payloads,
    pub(super) watcher: Watcher,
    pub(super) keeper: Keeper,
    pub(super) visit: Visit,
    pub(super) counts: Counts,
}

/// Who gets the Wills.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// Packet Identifiers of QoS 2 that wait for PUBREL.
    pub(super) received: Identifiers,
    /// Those of them that an earlier connection brought.
    pub(super) carried: Identifiers,
    /// It has lost a connection: what it has got at QoS 1 may come again.
    pub(super) was_away: bool,
}

/// Who sets retained messages, one after the other.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// How many more are to be set.
    pub(super) wanted: u32,
    /// Which Topic Name is next.
    pub(super) next: u32,
    /// Topic Name and version that have no PUBACK.
    pub(super) under_way: Option<(u32, u64)>,
}

/// How far a subscription to the retained messages has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// There is none.
    #[default]
    None,
    /// SUBSCRIBE was sent.
    Asked,
    /// SUBACK has come.
    Open,
    /// All has come that was owed, and UNSUBSCRIBE was sent.
    Ending,
}

/// What was done, in times.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) cuts: u64,
    pub(super) takeovers: u64,
    pub(super) goodbyes: u64,
    pub(super) subscriptions: u64,
    pub(super) visits: u64,
    pub(super) retained_set: u64,
    pub(super) retained_delivered: u64,
}

/// The Will of a connection.
#[derive(Debug)]
pub(super) struct OwnedWill {
    pub(super) topic_name: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
}

impl Soak {
    pub(super) fn new(run: u32, clients: usize) -> Self {
        Self {
            wills: Wills::new(clients),
            retained: Retained::new(RETAINED),
            payloads: Payloads::new(run, PAYLOAD_MIN),
            watcher: Watcher::default(),
            keeper: Keeper::default(),
            visit: Visit::None,
            counts: Counts::default(),
        }
    }

    /// The Will of the next connection of a client.
    pub(super) fn will(&mut self, client: usize, layout: &Layout) -> OwnedWill {
        let connection = self.wills.connect(client);
        let stamp = Stamp { publisher: client as u32, sequence: connection.into(), due: 0 };
        let mut payload = Vec::new();
        self.payloads.push(&mut payload, stamp);
        let topic_name = layout.will_topic_name(client as u32);
        OwnedWill { topic_name, payload, qos: will_qos(client, layout) }
    }
}

/// The QoS of a client's Wills.
pub(super) fn will_qos(client: usize, layout: &Layout) -> u8 {
    ((client % 3) as u8).min(layout.qos_max())
}
