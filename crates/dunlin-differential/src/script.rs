//! What a few clients do, one after the other: the same for both brokers.

use bytes::BytesMut;
use core::fmt;
use dunlin_codec::{Decoder, ProtocolVersion};

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
    /// PUBREC, and neither PUBACK nor PUBCOMP.
    PubRecOnly,
    /// Nothing.
    None,
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
