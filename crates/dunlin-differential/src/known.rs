//! Differences that somebody has looked up: allowed by the standard, or a fault of the other broker.

use crate::compare::Difference;
use crate::seen::Seen;
use dunlin_codec::ReasonCode;

/// A difference that is no finding any more.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// The statements that leave it open, or that the other broker breaks.
    pub(crate) statements: &'static [&'static str],
    /// Whether the brokers hold different state afterwards, so that the script ends here.
    pub(crate) parts: bool,
    /// Takes away from the difference what this explains; tells whether there was any.
    pub(crate) explains: fn(&mut Difference<'_>) -> bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The standard allows both.
    Allowed,
    /// The other broker (Mosquitto 2.0.11) does what the standard forbids.
    TheirFault,
}

use Verdict::{Allowed, TheirFault};

pub(crate) static KNOWN: [Known; 4] = [
    Known {
        name: "no DISCONNECT for the connection that is taken over",
        verdict: TheirFault,
        statements: &["MQTT-3.1.4-3"],
        parts: false,
        explains: |difference| {
            let is_due = Seen::Disconnect(ReasonCode::SessionTakenOver);
            difference.step().packet_name() == "CONNECT"
                && difference.both_closed()
                && remove(&mut difference.only_ours, |seen| *seen == is_due)
        },
    },
    Known {
        name: "the end is told with another Reason Code, or not at all",
        verdict: Allowed,
        statements: &["MQTT-4.13.1-1"],
        parts: false,
        explains: |difference| {
            let is_told = |seen: &Seen| matches!(seen, Seen::Disconnect(code) if code.is_error());
            difference.both_closed()
                && remove(&mut difference.only_ours, is_told)
                    | remove(&mut difference.only_theirs, is_told)
        },
    },
    Known {
        name: "a refusal is told with another Reason Code, or not at all",
        verdict: Allowed,
        statements: &["MQTT-3.1.4-1", "MQTT-3.1.4-2", "MQTT-4.13.1-1"],
        parts: false,
        explains: |difference| {
            let is_told = |seen: &Seen| matches!(seen, Seen::ConnAck { reason_code, .. } if reason_code.is_error());
            difference.both_closed()
                && difference.step().fault.is_some()
                && remove(&mut difference.only_ours, is_told)
                    | remove(&mut difference.only_theirs, is_told)
        },
    },
    Known {
        name: "whether anyone has subscribed is told",
        verdict: Allowed,
        statements: &[],
        parts: false,
        explains: |difference| {
            let mut explained = false;
            let ours = difference.only_ours.clone();
            for seen in ours {
                let same = |code| match seen {
                    Seen::PubAck(id, _) => Some(Seen::PubAck(id, code)),
                    Seen::PubRec(id, _) => Some(Seen::PubRec(id, code)),
                    _ => None,
                };
                let (success, nobody) = (ReasonCode::Success, ReasonCode::NoMatchingSubscribers);
                let (Some(success), Some(nobody)) = (same(success), same(nobody)) else { continue };
                let is_either = |seen: &Seen| *seen == success || *seen == nobody;
                if is_either(&seen) && remove(&mut difference.only_theirs, is_either) {
                    explained |= remove(&mut difference.only_ours, |other| *other == seen);
                }
            }
            explained
        },
    },
];

/// Removes all of this kind; tells whether there was one.
fn remove(seen: &mut Vec<Seen>, is_it: impl Fn(&Seen) -> bool) -> bool {
    let before = seen.len();
    seen.retain(|seen| !is_it(seen));
    seen.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_statement_exists() {
        let all = [dunlin_conformance::statements::v5(), dunlin_conformance::statements::v311()];
        let ids: BTreeSet<String> = all.concat().into_iter().map(|found| found.id).collect();
        for known in &KNOWN {
            for statement in known.statements {
                assert!(ids.contains(*statement), "{}: {statement}", known.name);
            }
        }
    }
}
