//! What a server says that it can.

use super::{Bench, Target};
use crate::{Stop, skipped};
use dunlin_codec::{ConnAck, Disconnect, ProtocolVersion, QoS, ReasonCode};

/// What a server says that it can; MQTT 3.1.1 has no words for it, so the CONNACK of 5.0 counts
/// for both. The default is a server that can all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The versions that it speaks.
    pub versions: Vec<ProtocolVersion>,
    /// The highest QoS.
    pub maximum_qos: QoS,
    /// Whether it keeps retained messages.
    pub retain: bool,
    /// Whether a Topic Filter may hold wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether it takes Subscription Identifiers.
    pub subscription_identifiers: bool,
    /// Whether it takes Shared Subscriptions.
    pub shared_subscriptions: bool,
    /// The highest Topic Alias; 0 is none.
    pub topic_alias_maximum: u16,
    /// How many messages of QoS 1 and 2 it takes at once.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that it takes.
    pub maximum_packet_size: Option<u32>,
    /// Seconds of Keep Alive that it imposes.
    pub server_keep_alive: Option<u16>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            versions: crate::BOTH.to_vec(),
            maximum_qos: QoS::ExactlyOnce,
            retain: true,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: true,
            topic_alias_maximum: u16::MAX,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            server_keep_alive: None,
        }
    }
}

impl Capabilities {
    fn learn(&mut self, connack: &ConnAck) {
        let said = &connack.properties;
        self.maximum_qos = said.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        self.retain = said.retain_available.unwrap_or(true);
        self.wildcard_subscriptions = said.wildcard_subscription_available.unwrap_or(true);
        self.subscription_identifiers = said.subscription_identifiers_available.unwrap_or(true);
        self.shared_subscriptions = said.shared_subscription_available.unwrap_or(true);
        self.topic_alias_maximum = said.topic_alias_maximum.unwrap_or(0);
        self.receive_maximum = said.receive_maximum.unwrap_or(u16::MAX);
        self.maximum_packet_size = said.maximum_packet_size;
        self.server_keep_alive = said.server_keep_alive;
    }

    /// Goes on if the server takes this QoS.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_qos(&self, qos: QoS) -> Result<(), Stop> {
        match self.maximum_qos {
            maximum if maximum >= qos => Ok(()),
            maximum => skipped(format!("the server's Maximum QoS is {}", maximum.value())),
        }
    }

    /// Goes on if the server keeps retained messages.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_retain(&self) -> Result<(), Stop> {
        need(self.retain, "the server has no retained messages")
    }

    /// Goes on if the server takes wildcards.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_wildcards(&self) -> Result<(), Stop> {
        need(self.wildcard_subscriptions, "the server has no wildcard subscriptions")
    }

    /// Goes on if the server takes Subscription Identifiers.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_subscription_identifiers(&self) -> Result<(), Stop> {
        need(self.subscription_identifiers, "the server has no Subscription Identifiers")
    }

    /// Goes on if the server takes Shared Subscriptions.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_shared_subscriptions(&self) -> Result<(), Stop> {
        need(self.shared_subscriptions, "the server has no Shared Subscriptions")
    }

    /// Goes on if the server takes Topic Aliases up to this one.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if not.
    pub fn need_topic_alias(&self, alias: u16) -> Result<(), Stop> {
        match self.topic_alias_maximum {
            maximum if maximum >= alias => Ok(()),
            maximum => skipped(format!("the server's Topic Alias Maximum is {maximum}")),
        }
    }

    /// In one line each, for the report.
    pub fn notes(&self) -> Vec<String> {
        let versions: Vec<String> = self.versions.iter().map(ToString::to_string).collect();
        let mut notes = vec![format!("speaks MQTT {}", versions.join(" and "))];
        let lacks = [
            (self.retain, "retained messages"),
            (self.wildcard_subscriptions, "wildcard subscriptions"),
            (self.subscription_identifiers, "Subscription Identifiers"),
            (self.shared_subscriptions, "Shared Subscriptions"),
        ];
        notes.extend(lacks.iter().filter(|(has, _)| !has).map(|(_, name)| format!("no {name}")));
        notes.push(format!(
            "Maximum QoS {}, Receive Maximum {}, Topic Alias Maximum {}",
            self.maximum_qos.value(),
            self.receive_maximum,
            self.topic_alias_maximum
        ));
        notes.extend(self.maximum_packet_size.map(|max| format!("Maximum Packet Size {max}")));
        notes.extend(self.server_keep_alive.map(|secs| format!("Server Keep Alive {secs}")));
        notes
    }
}

fn need(has: bool, lack: &str) -> Result<(), Stop> {
    if has { Ok(()) } else { skipped(lack) }
}

/// Why nothing can be said about a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// It does not let us in.
    #[error("the server refuses the connection: {0}")]
    Refused(ReasonCode),
    /// It does not behave like a server of MQTT.
    #[error("{0}")]
    NoServer(String),
}

/// Connects once in each version to learn what the server can.
///
/// # Errors
/// [`ProbeError`] when it lets us in with none.
pub fn probe(target: &Target) -> Result<Capabilities, ProbeError> {
    let mut capabilities = Capabilities { versions: Vec::new(), ..Capabilities::default() };
    let mut error = None;
    for version in crate::BOTH {
        match first_connack(target, *version) {
            Ok(connack) if connack.reason_code == ReasonCode::Success => {
                capabilities.versions.push(*version);
                if version.is_v5() {
                    capabilities.learn(&connack);
                }
            }
            Ok(connack) => error = Some(ProbeError::Refused(connack.reason_code)),
            Err(Stop::Failed(reason) | Stop::Skipped(reason)) => {
                error.get_or_insert(ProbeError::NoServer(reason));
            }
        }
    }
    match error {
        Some(error) if capabilities.versions.is_empty() => Err(error),
        _ => Ok(capabilities),
    }
}

fn first_connack(target: &Target, version: ProtocolVersion) -> Result<ConnAck, Stop> {
    // Higher than the number of any case.
    let bench = Bench::new(target, version, 99_999);
    let mut peer = bench.open("probe")?;
    let connect = bench.connect_packet("probe");
    peer.send(connect);
    let connack = peer.expect_connack()?;
    // Whether it closes then is for the checks to say.
    peer.send(Disconnect::new(ReasonCode::Success));
    Ok(*connack)
}
