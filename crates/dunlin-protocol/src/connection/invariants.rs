//! What must hold between any two calls; fuzzing asks.

use super::Engine;
use crate::event::AckKind;
use crate::session::InFlightState;

impl Engine {
    /// # Panics
    /// When something doesn't hold.
    pub(crate) fn check_invariants(&self) {
        self.session.outbound.check_invariants();
        let entries = &self.session.outbound.entries;
        if self.established {
            let live = entries.iter().filter(|entry| entry.state != InFlightState::Done);
            let counted = live.clone().filter(|entry| entry.counted).count();
            assert_eq!(usize::from(self.sending), counted, "messages that count");
            assert!(self.sending <= self.peer_receive_maximum, "more than the peer takes");
            let to_resend = live.filter(|entry| !entry.counted && entry.awaits_receipt()).count();
            assert_eq!(usize::from(self.resend_left), to_resend, "messages to send again");
        }
        let inbound = &self.session.inbound;
        let pending = self.pending_acks.len();
        let receive_maximum = usize::from(self.receive_maximum);
        if self.version().is_v5() {
            let receipts = self.pending_acks.iter().filter(|ack| ack.kind == AckKind::Receipt);
            let receiving =
                receipts.count() + inbound.values().filter(|received| received.counted).count();
            assert_eq!(usize::from(self.receiving), receiving, "messages that the peer has begun");
            assert!(receiving <= receive_maximum, "more than Receive Maximum");
            assert!(pending <= receive_maximum + 2 * inbound.len(), "{pending} acks are owed");
        } else if self.forgoes {
            // PUBREC packets that are due again, PUBCOMP packets, and what is to be given up next.
            let owed_max = receive_maximum + 2 * inbound.len() + 1;
            assert!(pending <= owed_max, "{pending} acks are owed");
        } else {
            assert!(pending <= receive_maximum, "{pending} acks are owed");
        }
        if let Some(aliases) = &self.aliases {
            aliases.check_invariants();
        }
    }
}
