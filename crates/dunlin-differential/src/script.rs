//! What a few clients do, one after the other: the same for both brokers.

use bytes::BytesMut;
use core::fmt;
use dunlin_codec::{Decoder, Packet, ProtocolVersion, Subscription};
use std::collections::{BTreeMap, BTreeSet};

/// How many clients there are.
pub(crate) const CLIENTS: usize = 3;

/// Stands in topics and Client Identifiers for what is different in each run, so that no run meets
/// what an earlier one left behind. A name of a run has this length too.
pub(crate) const MARK: &[u8; 8] = b"~~~run~~";

#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What it was made from.
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which client acts.
    pub(crate) client: usize,
    pub(crate) action: Action,
    /// What is wrong on purpose.
    pub(crate) fault: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Opens a Network Connection, which ends one that is open, and sends its first bytes.
    Connect { version: ProtocolVersion, answers: Answers, bytes: Vec<u8> },
    /// Sends bytes, if there is a connection.
    Send(Vec<u8>),
    /// Cuts the Network Connection, if there is one.
    Cut,
}

/// What a client answers to messages that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// All that is due.
    All,
    /// PUBREC, and neither PUBACK nor PUBCOMP; its own messages it releases.
    PubRecOnly,
    /// Nothing, and its own messages of QoS 2 it does not release by itself.
    None,
}

impl Script {
    /// Whether this is the payload of a QoS 2 message whose sender leaves its release to a later
    /// step, or of one that it repeats.
    pub(crate) fn leaves_unreleased(&self, payload: &[u8]) -> bool {
        let mut answers = [Answers::All; CLIENTS];
        for step in &self.steps {
            match &step.action {
                Action::Connect { answers: new, .. } => answers[step.client] = *new,
                Action::Send(bytes) => {
                    let is_it = bytes[0] & 0xF6 == 0x34 && bytes.ends_with(payload);
                    if is_it && answers[step.client] == Answers::None {
                        return true;
                    }
                }
                Action::Cut => {}
            }
        }
        false
    }
}

impl Script {
    /// Whether a PUBLISH of QoS 2 has the Packet Identifier of one that was sent before on a
    /// connection that leaves messages unreleased.
    pub(crate) fn reuses_an_identifier(&self, at: usize) -> bool {
        let identifier = |bytes: &[u8]| {
            // All packets of scripts that matter here are shorter than 128 bytes.
            let name_len = usize::from(*bytes.get(3)?);
            bytes.get(4 + name_len..6 + name_len).map(<[u8]>::to_vec)
        };
        let this = identifier(self.steps[at].bytes());
        let mut answers = [Answers::All; CLIENTS];
        self.steps[..at].iter().any(|step| {
            if let Action::Connect { answers: new, .. } = step.action {
                answers[step.client] = new;
            }
            let is_qos_2 = step.first_byte().is_some_and(|first| first & 0xF6 == 0x34);
            is_qos_2 && answers[step.client] == Answers::None && identifier(step.bytes()) == this
        })
    }

    /// Whether one Topic Filter was subscribed to with different options, up to a step.
    pub(crate) fn changes_options(&self, up_to: usize) -> bool {
        let mut seen = BTreeMap::new();
        let steps = self.steps[..up_to].iter();
        steps.flat_map(Step::subscriptions).any(|found| {
            let options = (found.options.no_local, found.options.retain_as_published);
            *seen.entry(found.topic_filter.as_str().to_owned()).or_insert(options) != options
        })
    }
}

impl Step {
    /// The first byte that is sent: packet type and flags.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        match &self.action {
            Action::Connect { bytes, .. } | Action::Send(bytes) => bytes.first().copied(),
            Action::Cut => None,
        }
    }

    /// The name of the packet that is sent.
    pub(crate) fn packet_name(&self) -> &'static str {
        const NAMES: [&str; 16] = [
            "type 0",
            "CONNECT",
            "CONNACK",
            "PUBLISH",
            "PUBACK",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "SUBSCRIBE",
            "SUBACK",
            "UNSUBSCRIBE",
            "UNSUBACK",
            "PINGREQ",
            "PINGRESP",
            "DISCONNECT",
            "AUTH",
        ];
        self.first_byte().map_or("cut", |first| NAMES[usize::from(first >> 4)])
    }

    fn bytes(&self) -> &[u8] {
        match &self.action {
            Action::Connect { bytes, .. } | Action::Send(bytes) => bytes,
            Action::Cut => &[],
        }
    }

    /// Whether these bytes stand anywhere in what is sent.
    pub(crate) fn contains(&self, part: &[u8]) -> bool {
        self.bytes().windows(part.len()).any(|window| window == part)
    }

    /// Whether a string that is sent has a character that the standard advises against.
    pub(crate) fn has_control_character(&self) -> bool {
        let bytes = self.bytes();
        (2..bytes.len()).any(|at| {
            let len = usize::from(u16::from_be_bytes([bytes[at - 2], bytes[at - 1]]));
            let text = bytes.get(at..at + len).and_then(|text| std::str::from_utf8(text).ok());
            text.is_some_and(|text| len > 3 && text.chars().any(char::is_control))
        })
    }

    /// The subscriptions that a legal SUBSCRIBE asks for.
    fn subscriptions(&self) -> Vec<Subscription> {
        let input = BytesMut::from(self.bytes());
        let versions = [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];
        let decoded = versions.into_iter().find_map(|version| {
            let decoded = Decoder::new(version, 1 << 20).decode(&mut input.clone());
            match decoded {
                Ok(Some(Packet::Subscribe(subscribe))) => Some(subscribe.subscriptions),
                _ => None,
            }
        });
        decoded.unwrap_or_default()
    }

    /// Whether a SUBSCRIBE names a Topic Filter more than once.
    pub(crate) fn repeats_a_filter(&self) -> bool {
        let subscriptions = self.subscriptions();
        let filters = subscriptions.iter().map(|found| found.topic_filter.as_str());
        filters.collect::<BTreeSet<&str>>().len() < subscriptions.len()
    }

    /// What is wrong: what our own decoder says, or else what was made wrong on purpose.
    pub(crate) fn cause(&self, version: ProtocolVersion) -> Option<String> {
        let (Action::Connect { bytes, .. } | Action::Send(bytes)) = &self.action else {
            return None;
        };
        let mut input = BytesMut::from(&bytes[..]);
        let error = Decoder::new(version, 1 << 20).decode(&mut input).err();
        error.map(|error| error.to_string()).or_else(|| self.fault.map(str::to_owned))
    }

    /// Whether a broker may have done a part of what is wrong here before it ended the connection:
    /// some of several Topic Filters, or what a packet with a strange length says. Nothing tells at
    /// once, so that no later step is worth comparing.
    pub(crate) fn may_be_half_done(&self, version: ProtocolVersion) -> bool {
        let Some(cause) = self.cause(version) else { return false };
        ["SUBSCRIBE", "UNSUBSCRIBE"].contains(&self.packet_name())
            || cause.contains("variable byte integer is longer")
    }

    /// One line, with the packet decoded as far as it can be.
    pub(crate) fn line(&self, version: ProtocolVersion) -> impl fmt::Display {
        let what = match &self.action {
            Action::Connect { answers, bytes, .. } => {
                let answers = match answers {
                    Answers::All => "",
                    Answers::PubRecOnly => " (answers PUBREC only)",
                    Answers::None => " (answers nothing)",
                };
                format!("connects{answers}: {}", decoded(bytes, version))
            }
            Action::Send(bytes) => format!("sends {}", decoded(bytes, version)),
            Action::Cut => "cuts the connection".to_owned(),
        };
        let fault = self.fault.map_or(String::new(), |fault| format!("   <- {fault}"));
        format!("client {} {what}{fault}", self.client)
    }
}

/// The packets in these bytes, and what is left in hexadecimal.
fn decoded(bytes: &[u8], version: ProtocolVersion) -> String {
    let mut input = BytesMut::from(bytes);
    let decoder = Decoder::new(version, 1 << 20);
    let mut parts = Vec::new();
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(packet)) => parts.push(packet.to_string()),
            Ok(None) if input.is_empty() => return parts.join(", "),
            Ok(None) => {
                parts.push(format!("part of a packet {}", hexadecimal(&input)));
                return parts.join(", ");
            }
            Err(error) => {
                parts.push(format!("{} ({error})", hexadecimal(bytes)));
                return parts.join(", ");
            }
        }
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Replaces one name by another of the same length wherever it stands.
pub(crate) fn replace(bytes: &mut [u8], from: &[u8; 8], to: &[u8; 8]) {
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            at += to.len();
        } else {
            at += 1;
        }
    }
}
