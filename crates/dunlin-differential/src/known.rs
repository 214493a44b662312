//! Differences that somebody has looked up: allowed by the standard, or a fault of the other broker.

use crate::compare::Difference;
use crate::script::Answers;
use crate::seen::{Message, Seen};
use dunlin_codec::{ProtocolVersion, ReasonCode};
use std::collections::BTreeSet;

/// A difference that is no finding any more.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// The statements that leave it open, or that the other broker breaks.
    pub(crate) statements: &'static [&'static str],
    /// Whether the brokers hold different state afterwards, so that the script ends here.
    pub(crate) parts: bool,
    /// Takes away from the difference what this explains; tells whether there was any.
    pub(crate) explains: fn(&Known, &mut Difference<'_>) -> bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The standard allows both.
    Allowed,
    /// The other broker (Mosquitto 2.0.11) does what the standard forbids.
    TheirFault,
}

use Verdict::{Allowed, TheirFault};

pub(crate) static KNOWN: &[Known] = &[
    Known {
        name: "no DISCONNECT for the connection that is taken over",
        verdict: TheirFault,
        statements: &["MQTT-3.1.4-3"],
        parts: false,
        explains: |_, difference| {
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
        explains: |_, difference| {
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
        explains: |_, difference| {
            let is_told = |seen: &Seen| matches!(seen, Seen::ConnAck { reason_code, .. } if reason_code.is_error());
            difference.both_closed()
                && difference.step().fault.is_some()
                && remove(&mut difference.only_ours, is_told)
                    | remove(&mut difference.only_theirs, is_told)
        },
    },
    Known {
        name: "whether anyone has subscribed is told (§3.4.2.1)",
        verdict: Allowed,
        statements: &[],
        parts: false,
        explains: |_, difference| {
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
    Known {
        name: "copies for overlapping subscriptions that stay unanswered",
        verdict: Allowed,
        statements: &["MQTT-3.3.4-2", "MQTT-3.3.4-4", "MQTT-3.3.4-5"],
        parts: true,
        explains: |known, difference| {
            // Of several copies some may wait for the quota; those of QoS 0 never do.
            let passes = |seen: &Seen| matches!(seen, Seen::Publish(message) if message.qos == 0);
            let payloads: Vec<_> =
                messages(&difference.only_ours).map(|ours| ours.payload.clone()).collect();
            let is_copy = |seen: &Seen| matches!(seen, Seen::Publish(copy) if payloads.contains(&copy.payload));
            difference.answers() != Answers::All
                && (explain_copies(known, difference)
                    || remove(&mut difference.only_theirs, is_copy)
                        && remove_with_release(&mut difference.only_ours, is_copy)
                    || difference.only_ours.is_empty()
                        && remove(&mut difference.only_theirs, passes))
        },
    },
    Known {
        name: "copies for overlapping subscriptions",
        verdict: Allowed,
        statements: &["MQTT-3.3.4-2", "MQTT-3.3.4-4", "MQTT-3.3.4-5"],
        parts: false,
        explains: explain_copies,
    },
    Known {
        name: "a QoS 2 message goes on at its PUBLISH or at its PUBREL",
        verdict: Allowed,
        statements: &["MQTT-4.3.3-8", "MQTT-4.3.3-10"],
        parts: true,
        explains: |_, difference| {
            let script = difference.script;
            let is_it = |seen: &Seen| match seen {
                Seen::Publish(message) => script.leaves_unreleased(&message.payload),
                _ => false,
            };
            let explained = remove(&mut difference.only_ours, is_it)
                | remove(&mut difference.only_theirs, is_it);
            if explained {
                let is_release = |seen: &Seen| matches!(seen, Seen::PubRel(_));
                remove(&mut difference.only_ours, is_release);
                remove(&mut difference.only_theirs, is_release);
            }
            explained
        },
    },
    Known {
        name: "an unknown Packet Identifier is told",
        verdict: Allowed,
        statements: &["MQTT-4.3.3-11", "MQTT-4.3.3-4"],
        parts: false,
        explains: |_, difference| {
            let unknown = ReasonCode::PacketIdentifierNotFound;
            let is_it = |seen: &Seen| {
                let code = match seen {
                    Seen::PubComp(_, code) | Seen::PubRel(code) => *code,
                    _ => return false,
                };
                code == unknown || code == ReasonCode::Success
            };
            let is_told = |seen: &Seen| matches!(seen, Seen::PubComp(_, code) | Seen::PubRel(code) if *code == ReasonCode::PacketIdentifierNotFound);
            if !difference.only_ours.iter().any(is_told)
                || !difference.only_theirs.iter().any(is_it)
            {
                return false;
            }
            remove(&mut difference.only_ours, is_it) & remove(&mut difference.only_theirs, is_it)
        },
    },
    Known {
        name: "a refusal of an unknown protocol is told in the way of MQTT 3",
        verdict: Allowed,
        statements: &["MQTT-3.1.2-1", "MQTT-3.1.2-2"],
        parts: false,
        explains: |_, difference| {
            let is_told =
                |seen: &Seen| matches!(seen, Seen::Other(text) if text.starts_with("20 02 00"));
            difference.both_closed()
                && remove(&mut difference.only_ours, is_told)
                    | remove(&mut difference.only_theirs, is_told)
        },
    },
    Known {
        name: "the session ends with a second CONNECT",
        verdict: TheirFault,
        statements: &["MQTT-3.1.2-23", "MQTT-3.1.0-2"],
        parts: true,
        explains: |_, difference| {
            let steps = &difference.script.steps[..difference.at];
            if !steps.iter().any(|step| step.fault == Some("a second CONNECT")) {
                return false;
            }
            let is_acceptance = |seen: &Seen| {
                matches!(seen, Seen::ConnAck { reason_code: ReasonCode::Success, .. })
            };
            let is_message = |seen: &Seen| matches!(seen, Seen::Publish(_));
            let is_told = remove(&mut difference.only_ours, is_acceptance)
                & remove(&mut difference.only_theirs, is_acceptance);
            // In MQTT 3.1 the loss shows only later.
            let may_show = is_told
                || difference.version == ProtocolVersion::V3_1
                    && !difference.only_theirs.iter().any(is_message);
            may_show && remove_with_release(&mut difference.only_ours, is_message) | is_told
        },
    },
    Known {
        name: "a new message under the Packet Identifier of one that is not released",
        verdict: Allowed,
        statements: &["MQTT-2.2.1-3", "MQTT-4.3.3-10"],
        parts: true,
        explains: |_, difference| {
            let is_qos_2 = difference.step().first_byte().is_some_and(|first| first & 0xF6 == 0x34);
            let is_message = |seen: &Seen| matches!(seen, Seen::Publish(_));
            is_qos_2
                && difference.script.reuses_an_identifier(difference.at)
                && remove_with_release(&mut difference.only_theirs, is_message)
        },
    },
    Known {
        name: "a subscription of lower QoS hides one of the highest",
        verdict: TheirFault,
        statements: &["MQTT3-3.3.5-1"],
        parts: true,
        explains: |_, difference| {
            if difference.version == ProtocolVersion::V5 {
                return false;
            }
            let mut explained = false;
            for seen in difference.only_ours.clone() {
                let Seen::Publish(message) = &seen else { continue };
                let is_hidden = |other: &Seen| {
                    matches!(other, Seen::Publish(other) if other.qos < message.qos
                        && (&other.topic_name, &other.payload) == (&message.topic_name, &message.payload))
                };
                if remove(&mut difference.only_theirs, is_hidden) {
                    explained |= remove(&mut difference.only_ours, |ours| *ours == seen);
                }
            }
            explained && {
                remove(&mut difference.only_ours, |seen| matches!(seen, Seen::PubRel(_)));
                true
            }
        },
    },
    Known {
        name: "a Will reaches its own connection while it is taken over",
        verdict: Allowed,
        statements: &["MQTT-3.1.4-3"],
        parts: false,
        explains: |_, difference| {
            !difference.is_actor()
                && difference.both_closed()
                && remove(&mut difference.only_theirs, is_will)
        },
    },
    Known {
        name: "no Will, or a late one, for a connection that is taken over or ends by a second CONNECT",
        verdict: TheirFault,
        statements: &["MQTT-3.1.2-8", "MQTT3-3.1.2-8"],
        parts: true,
        explains: |_, difference| {
            let steps = difference.script.steps[..=difference.at].iter();
            let connects = steps.filter(|step| step.packet_name() == "CONNECT").count();
            let topic_names: BTreeSet<String> =
                messages(&difference.only_ours).map(|will| will.topic_name.clone()).collect();
            connects > 1
                && remove_with_release(&mut difference.only_ours, is_will)
                && {
                    // What the Will would have replaced is still retained.
                    remove_with_release(
                        &mut difference.only_theirs,
                        |seen| matches!(seen, Seen::Publish(old) if old.retain && topic_names.contains(&old.topic_name)),
                    );
                    true
                }
        },
    },
    Known {
        name: "retained messages for a Shared Subscription (§4.8.2)",
        verdict: TheirFault,
        statements: &[],
        parts: false,
        explains: |_, difference| {
            let step = difference.step();
            let is_shared = step.packet_name() == "SUBSCRIBE" && step.contains(b"$share/");
            is_shared
                && remove_with_release(
                    &mut difference.only_theirs,
                    |seen| matches!(seen, Seen::Publish(message) if message.retain),
                )
        },
    },
    Known {
        name: "retained messages for a Topic Filter that stands twice in one SUBSCRIBE",
        verdict: Allowed,
        statements: &["MQTT-3.8.4-3", "MQTT-3.8.4-4"],
        parts: false,
        explains: |_, difference| {
            difference.is_actor()
                && difference.step().repeats_a_filter()
                && remove_with_release(
                    &mut difference.only_theirs,
                    |seen| matches!(seen, Seen::Publish(message) if message.retain),
                )
        },
    },
    Known {
        name: "No Local and Retain As Published stay what they were when a subscription is replaced",
        verdict: TheirFault,
        statements: &["MQTT-3.8.4-3", "MQTT-3.8.3-3", "MQTT-3.3.1-12", "MQTT-3.3.1-13"],
        parts: true,
        explains: |_, difference| {
            if !difference.script.changes_options(difference.at) {
                return false;
            }
            let is_own = difference.is_actor() && difference.step().packet_name() == "PUBLISH";
            let is_message = |seen: &Seen| matches!(seen, Seen::Publish(_));
            if is_own {
                return remove_with_release(&mut difference.only_theirs, is_message)
                    | remove_with_release(&mut difference.only_ours, is_message);
            }
            let mut explained = false;
            for seen in difference.only_ours.clone() {
                let Seen::Publish(message) = &seen else { continue };
                let other = Seen::Publish(Message { retain: !message.retain, ..message.clone() });
                if remove(&mut difference.only_theirs, |theirs| *theirs == other) {
                    explained |= remove(&mut difference.only_ours, |ours| *ours == seen);
                }
            }
            explained
        },
    },
    Known {
        name: "text with a control character or noncharacter (§1.5.4)",
        verdict: Allowed,
        statements: &["MQTT-1.5.4-1", "MQTT-1.5.4-2"],
        parts: true,
        explains: |_, difference| {
            let step = difference.step();
            let odd = |part: &[u8]| step.contains(part);
            let is_odd = odd(&[0xEF, 0xBF, 0xBF]) || step.has_control_character();
            difference.is_actor()
                && is_odd
                && difference.theirs.contains(&Seen::Closed)
                && clear(difference)
        },
    },
    overlooked("the Response Topic is not a legal Topic Name", &["MQTT-3.3.2-14"]),
    overlooked("a Subscription Identifier in a PUBLISH of a client", &["MQTT-3.3.4-6"]),
    overlooked("Subscription Identifier is zero", &["MQTT-3.3.4-6"]),
    overlooked("No Local on a Shared Subscription", &["MQTT-3.8.3-4"]),
    overlooked("DUP is set at QoS 0", &["MQTT-3.3.1-2", "MQTT3-3.3.1-2"]),
    overlooked("a Topic Filter is not legal", &["MQTT-4.8.2-1", "MQTT-4.8.2-2"]),
    overlooked("a variable byte integer is longer than it has to be", &["MQTT-1.5.5-1"]),
    overlooked("a packet that only servers send", &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"]),
    overlooked("after the last field of the packet", &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"]),
    overlooked("in its fixed header", &["MQTT-2.1.3-1", "MQTT3-2.2.2-2"]),
    overlooked("PUBREC with Reason Code", &["MQTT-3.5.2-1"]),
    overlooked("PUBACK with Reason Code", &["MQTT-3.4.2-1"]),
    overlooked("PUBCOMP with Reason Code", &["MQTT-3.7.2-1"]),
    overlooked("PUBREL with Reason Code", &["MQTT-3.6.2-1"]),
    overlooked("Payload Format Indicator is", &["MQTT-4.13.1-1"]),
    // MQTT 3.1 has no rule for these.
    strict_in_v3_1("Will QoS without Will", &["MQTT-3.1.2-11", "MQTT3-3.1.2-13"]),
    strict_in_v3_1("the reserved Connect Flag is set", &["MQTT-3.1.2-3", "MQTT3-3.1.2-3"]),
    strict_in_v3_1("a string is not legal", &["MQTT3-1.5.3-1", "MQTT3-1.5.3-2"]),
    strict_in_v3_1("a field goes on after the end of its packet", &["MQTT3-4.8.0-1"]),
    strict_in_v3_1("SUBSCRIBE without an entry", &["MQTT3-3.8.3-3", "MQTT3-3.10.3-2"]),
];

/// What the other broker takes although the standard forbids it: by what our decoder calls it, or
/// by the name of the fault.
const fn overlooked(name: &'static str, statements: &'static [&'static str]) -> Known {
    Known {
        name,
        verdict: TheirFault,
        statements,
        parts: true,
        explains: |known, difference| {
            let is_it = difference.cause().is_some_and(|cause| cause.contains(known.name));
            let taken = !difference.theirs.contains(&Seen::Closed);
            let refused = difference.ours.contains(&Seen::Closed);
            difference.is_actor() && is_it && taken && refused && clear(difference)
        },
    }
}

/// What MQTT 3.1 leaves open and later versions forbid; our broker refuses it in all of them.
const fn strict_in_v3_1(name: &'static str, statements: &'static [&'static str]) -> Known {
    Known {
        verdict: Allowed,
        explains: |known, difference| {
            difference.version == ProtocolVersion::V3_1
                && (overlooked(known.name, known.statements).explains)(known, difference)
        },
        ..overlooked(name, statements)
    }
}

fn messages(seen: &[Seen]) -> impl Iterator<Item = &Message> {
    seen.iter().filter_map(|seen| match seen {
        Seen::Publish(message) => Some(message),
        _ => None,
    })
}

fn is_will(seen: &Seen) -> bool {
    matches!(seen, Seen::Publish(message) if message.payload == b"will")
}

/// Removes messages, and with them what releases those of QoS 2.
fn remove_with_release(seen: &mut Vec<Seen>, is_it: impl Fn(&Seen) -> bool) -> bool {
    remove(seen, is_it) && {
        remove(seen, |seen| matches!(seen, Seen::PubRel(_)));
        true
    }
}

fn clear(difference: &mut Difference<'_>) -> bool {
    difference.only_ours.clear();
    difference.only_theirs.clear();
    true
}

/// One broker sends a message once, with the highest QoS and all Subscription Identifiers, the
/// other once for each subscription.
fn explain_copies(_: &Known, difference: &mut Difference<'_>) -> bool {
    let copies_of = |seen: &[Seen], like: &Message| -> Vec<Message> {
        let same = |message: &&Message| {
            (&message.topic_name, &message.payload, &message.properties, message.dup)
                == (&like.topic_name, &like.payload, &like.properties, like.dup)
        };
        messages(seen).filter(same).cloned().collect()
    };
    let mut explained = false;
    for seen in difference.only_ours.clone().into_iter().chain(difference.only_theirs.clone()) {
        let Seen::Publish(message) = seen else { continue };
        let ours = copies_of(&difference.ours, &message);
        let theirs = copies_of(&difference.theirs, &message);
        let highest = |messages: &[Message]| messages.iter().map(|message| message.qos).max();
        let identifiers = |messages: &[Message]| -> BTreeSet<u32> {
            messages.iter().flat_map(|message| message.subscription_identifiers.clone()).collect()
        };
        // What was kept for a session is less: copies of QoS 0 need not be.
        let was_kept = difference.is_actor()
            && difference.step().packet_name() == "CONNECT"
            && identifiers(&theirs).is_subset(&identifiers(&ours));
        if !ours.is_empty()
            && highest(&ours) == highest(&theirs)
            && (ours.len() < theirs.len() && identifiers(&ours) == identifiers(&theirs) || was_kept)
        {
            let is_copy = |seen: &Seen| matches!(seen, Seen::Publish(copy) if ours.contains(copy) || theirs.contains(copy));
            explained |= remove(&mut difference.only_ours, is_copy)
                | remove(&mut difference.only_theirs, is_copy);
            let is_release = |seen: &Seen| matches!(seen, Seen::PubRel(_));
            remove(&mut difference.only_theirs, is_release);
        }
    }
    explained
}

/// Removes all of this kind; tells whether there was one.
fn remove(seen: &mut Vec<Seen>, is_it: impl Fn(&Seen) -> bool) -> bool {
    let before = seen.len();
    seen.retain(|seen| !is_it(seen));
    seen.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_exists() {
        let all = [dunlin_conformance::statements::v5(), dunlin_conformance::statements::v311()];
        let ids: BTreeSet<String> = all.concat().into_iter().map(|found| found.id).collect();
        for known in KNOWN {
            for statement in known.statements {
                assert!(ids.contains(*statement), "{}: {statement}", known.name);
            }
        }
    }
}
