//! One subscriber: what it has to see, and the Packet Identifiers that it remembers.

use crate::books::Arrivals;
use crate::layout::{Layout, Role};

/// The receiving side of a client.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) arrivals: Arrivals,
    /// In a group: the number that the next message has to have at least, by publisher and lane.
    pub(super) least: Box<[u64]>,
    /// Packet Identifiers of QoS 2 that wait for PUBREL.
    pub(super) received: Identifiers,
    /// Those of them that an earlier connection brought: they may be sent again.
    pub(super) carried: Identifiers,
    /// When it came back to its Session; 0: it has never been away.
    pub(super) resumed_at: u64,
    /// Messages due from here on count for the windows of their publishers; `u64::MAX`: none does.
    pub(super) counts_from: u64,
    pub(super) role: Role,
    /// Its subscription comes and goes, or its Session: what it is owed is known when it is there.
    pub(super) is_loose: bool,
    /// It wants its subscription at present.
    pub(super) is_subscribed: bool,
    /// SUBSCRIBE or UNSUBSCRIBE was sent for that, and has no answer.
    pub(super) is_asking: bool,
}

impl Receiver {
    pub(super) fn new(layout: &Layout, subscriber: u32) -> Self {
        let role = layout.role(subscriber);
        let places = u64::from(layout.publishers) * layout.lanes();
        Self {
            arrivals: Arrivals::new(layout, subscriber),
            least: vec![0; if role == Role::Member { places as usize } else { 0 }].into(),
            received: Identifiers::default(),
            carried: Identifiers::default(),
            resumed_at: 0,
            counts_from: u64::MAX,
            role,
            is_loose: matches!(role, Role::Wanderer | Role::Passing),
            is_subscribed: true,
            is_asking: false,
        }
    }
}

/// A set of Packet Identifiers.
#[derive(Debug, Default, Clone)]
pub(super) struct Identifiers {
    words: Vec<u64>,
}

impl Identifiers {
    /// False if it was there already.
    #[inline]
    pub(super) fn insert(&mut self, packet_identifier: u16) -> bool {
        let (word, bit) = Self::place(packet_identifier);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// True if it was there.
    #[inline]
    pub(super) fn remove(&mut self, packet_identifier: u16) -> bool {
        let (word, bit) = Self::place(packet_identifier);
        let Some(word) = self.words.get_mut(word) else { return false };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    fn place(packet_identifier: u16) -> (usize, u64) {
        (usize::from(packet_identifier / 64), 1 << (packet_identifier % 64))
    }
}
