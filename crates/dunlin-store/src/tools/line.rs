//! The lines of an export; the [module above](super) describes the format.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dunlin_broker::core::{GroupName, Identity, Record, Rules, Subject};
use dunlin_protocol::codec::{
    MessageProperties, PacketIdentifier, QoS, SubscriptionIdentifier, Text, TopicFilter, TopicName,
};
use dunlin_protocol::{Instant, Message};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the format, in its first line.
pub(super) const NAME: &str = "dunlin-export";
/// Its version.
pub(super) const VERSION: u32 = 1;
/// Nothing is counted as far as this.
const COUNTED_MAX: u64 = 1 << 62;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Header {
        format: String,
        version: u32,
    },
    Session {
        client_identifier: String,
        session_expiry_interval: u32,
        away_since: Option<u64>,
        /// Absent in what earlier versions have exported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<LineSubject>,
    },
    Subscribed {
        client_identifier: String,
        topic_filter: String,
        maximum_qos: u8,
        no_local: bool,
        retain_as_published: bool,
        subscription_identifier: Option<u32>,
    },
    Received {
        client_identifier: String,
        packet_identifier: u16,
    },
    Owed {
        client_identifier: String,
        number: u64,
        qos: u8,
        retain: bool,
        subscription_identifiers: Vec<u32>,
        group: Option<LineGroup>,
        packet_identifier: Option<u16>,
        message: LineMessage,
    },
    Taken {
        client_identifier: String,
        number: u64,
    },
    Will {
        client_identifier: String,
        message_expiry_interval: Option<u32>,
        delay: u32,
        message: LineMessage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<LineSubject>,
    },
    Underway {
        client_identifier: String,
        number: u64,
        group: Option<LineGroup>,
        message: LineMessage,
    },
    Retained {
        topic_name: String,
        change: u64,
        message: LineMessage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        publisher: Option<LineSubject>,
    },
    End {
        records: u64,
        /// How much was damaged and is not in the export, at least.
        #[serde(default, skip_serializing_if = "is_none_lost")]
        lost: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineGroup {
    share_name: String,
    topic_filter: String,
}

/// Whom rules judge: absent where there were none, and in what earlier versions have exported.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineSubject {
    client_identifier: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener: Option<String>,
    /// The text of the rules that came with its login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineMessage {
    topic_name: String,
    payload: String,
    qos: u8,
    retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<LineProperties>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LineProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(String, String)>,
}

impl Line {
    /// What a store gives back, as a line; `None` for what is no part of an export.
    pub(super) fn new(record: &Record) -> Option<Self> {
        let client_identifier =
            record.client_identifier().map(ToString::to_string).unwrap_or_default();
        Some(match record {
            Record::Session { session_expiry_interval, away_since, owner, subject, .. } => {
                Self::Session {
                    client_identifier,
                    session_expiry_interval: *session_expiry_interval,
                    away_since: away_since.map(Instant::as_micros),
                    owner: owner.as_ref().map(ToString::to_string),
                    subject: subject.as_deref().map(LineSubject::new),
                }
            }
            Record::Subscribed {
                topic_filter,
                maximum_qos,
                no_local,
                retain_as_published,
                subscription_identifier,
                ..
            } => Self::Subscribed {
                client_identifier,
                topic_filter: topic_filter.as_str().to_owned(),
                maximum_qos: maximum_qos.value(),
                no_local: *no_local,
                retain_as_published: *retain_as_published,
                subscription_identifier: subscription_identifier.map(SubscriptionIdentifier::value),
            },
            Record::Received { packet_identifier, .. } => {
                Self::Received { client_identifier, packet_identifier: packet_identifier.value() }
            }
            Record::Owed {
                number,
                message,
                qos,
                retain,
                subscription_identifiers,
                group,
                packet_identifier,
                ..
            } => Self::Owed {
                client_identifier,
                number: *number,
                qos: qos.value(),
                retain: *retain,
                subscription_identifiers: subscription_identifiers
                    .iter()
                    .map(|identifier| identifier.value())
                    .collect(),
                group: group.as_deref().map(LineGroup::new),
                packet_identifier: packet_identifier.map(PacketIdentifier::value),
                message: LineMessage::new(message),
            },
            Record::Taken { number, .. } => Self::Taken { client_identifier, number: *number },
            Record::Will { message, message_expiry_interval, delay_secs, subject, .. } => {
                Self::Will {
                    client_identifier,
                    message_expiry_interval: *message_expiry_interval,
                    delay: *delay_secs,
                    message: LineMessage::new(message),
                    subject: subject.as_deref().map(LineSubject::new),
                }
            }
            Record::Underway { number, message, group, .. } => Self::Underway {
                client_identifier,
                number: *number,
                group: group.as_deref().map(LineGroup::new),
                message: LineMessage::new(message),
            },
            Record::Retained { topic_name, message: Some(message), change, publisher } => {
                Self::Retained {
                    topic_name: topic_name.as_str().to_owned(),
                    change: *change,
                    message: LineMessage::new(message),
                    publisher: publisher.as_deref().map(LineSubject::new),
                }
            }
            _ => return None,
        })
    }

    /// The record that makes what the line says; the error says what is wrong with it.
    pub(super) fn into_record(self) -> Result<Record, String> {
        Ok(match self {
            Self::Header { .. } | Self::End { .. } => {
                return Err("a header or an end between records".to_owned());
            }
            Self::Session {
                client_identifier,
                session_expiry_interval,
                away_since,
                owner,
                subject,
            } => Record::Session {
                client_identifier: text(client_identifier)?,
                session_expiry_interval,
                away_since: away_since.map(Instant::from_micros),
                owner: owner.map(text).transpose()?,
                subject: subject.map(LineSubject::into_subject).transpose()?,
            },
            Self::Subscribed {
                client_identifier,
                topic_filter,
                maximum_qos,
                no_local,
                retain_as_published,
                subscription_identifier,
            } => Record::Subscribed {
                client_identifier: text(client_identifier)?,
                topic_filter: topic_filter
                    .parse::<TopicFilter>()
                    .map_err(|error| format!("topic_filter: {error}"))?,
                maximum_qos: level(maximum_qos)?,
                no_local,
                retain_as_published,
                subscription_identifier: subscription_identifier.map(identifier).transpose()?,
            },
            Self::Received { client_identifier, packet_identifier } => Record::Received {
                client_identifier: text(client_identifier)?,
                packet_identifier: exchange(packet_identifier)?,
            },
            Self::Owed {
                client_identifier,
                number,
                qos,
                retain,
                subscription_identifiers,
                group,
                packet_identifier,
                message,
            } => Record::Owed {
                client_identifier: text(client_identifier)?,
                number: counted("number", number)?,
                message: Arc::new(message.into_message()?),
                qos: level(qos)?,
                retain,
                subscription_identifiers: subscription_identifiers
                    .into_iter()
                    .map(identifier)
                    .collect::<Result<_, _>>()?,
                group: group.map(LineGroup::into_name),
                packet_identifier: packet_identifier.map(exchange).transpose()?,
                tentative: false,
            },
            Self::Taken { client_identifier, number } => {
                Record::Taken { client_identifier: text(client_identifier)?, number }
            }
            Self::Will { client_identifier, message_expiry_interval, delay, message, subject } => {
                Record::Will {
                    client_identifier: text(client_identifier)?,
                    message: Arc::new(message.into_message()?),
                    message_expiry_interval,
                    delay_secs: delay,
                    subject: subject.map(LineSubject::into_subject).transpose()?,
                }
            }
            Self::Underway { client_identifier, number, group, message } => Record::Underway {
                client_identifier: text(client_identifier)?,
                number: counted("number", number)?,
                message: Arc::new(message.into_message()?),
                group: group.map(LineGroup::into_name),
            },
            Self::Retained { topic_name: name, change, message, publisher } => Record::Retained {
                topic_name: topic_name(&name)?,
                message: Some(Arc::new(message.into_message()?)),
                change: counted("change", change)?,
                publisher: publisher.map(LineSubject::into_subject).transpose()?,
            },
        })
    }
}

impl LineSubject {
    fn new(subject: &Subject) -> Self {
        let identity = subject.identity();
        Self {
            client_identifier: subject.client_identifier().to_string(),
            user: identity.user().map(ToString::to_string),
            groups: identity.groups().iter().map(ToString::to_string).collect(),
            address: subject.address(),
            listener: subject.listener().map(ToOwned::to_owned),
            rules: identity.rules().map(|rules| rules.text().to_owned()),
        }
    }

    fn into_subject(self) -> Result<Arc<Subject>, String> {
        let groups = self.groups.iter().map(String::as_str);
        let identity = Identity::new(self.user.as_deref(), groups);
        let mut identity = identity.map_err(|error| format!("subject: {error}"))?;
        if let Some(rules) = &self.rules {
            let rules = Rules::parse(rules).map_err(|error| format!("subject: rules: {error}"))?;
            identity = identity.with_rules(Arc::new(rules));
        }
        let mut subject = Subject::new(Arc::new(identity), text(self.client_identifier)?);
        if let Some(address) = self.address {
            subject = subject.with_address(address);
        }
        if let Some(listener) = self.listener {
            subject = subject.with_listener(listener.into());
        }
        Ok(Arc::new(subject))
    }
}

impl LineGroup {
    fn new(group: &GroupName) -> Self {
        let GroupName { share_name, topic_filter } = group;
        Self { share_name: share_name.to_string(), topic_filter: topic_filter.to_string() }
    }

    fn into_name(self) -> Arc<GroupName> {
        let Self { share_name, topic_filter } = self;
        Arc::new(GroupName { share_name: share_name.into(), topic_filter: topic_filter.into() })
    }
}

impl LineMessage {
    fn new(message: &Message) -> Self {
        Self {
            topic_name: message.topic_name.as_str().to_owned(),
            payload: BASE64_STANDARD.encode(&message.payload),
            qos: message.qos.value(),
            retain: message.retain,
            expires_at: message.expires_at.map(Instant::as_micros),
            properties: message.properties.as_deref().map(LineProperties::new),
        }
    }

    fn into_message(self) -> Result<Message, String> {
        let properties = self.properties.map(LineProperties::into_properties).transpose()?;
        Ok(Message {
            topic_name: topic_name(&self.topic_name)?,
            payload: binary("payload", &self.payload)?.into(),
            qos: level(self.qos)?,
            retain: self.retain,
            expires_at: self.expires_at.map(Instant::from_micros),
            properties: properties.map(Arc::new),
        })
    }
}

impl LineProperties {
    fn new(properties: &MessageProperties) -> Self {
        let string = |text: &Text| text.to_string();
        Self {
            payload_format_indicator: properties.payload_format_indicator,
            content_type: properties.content_type.as_ref().map(string),
            response_topic: properties.response_topic.as_ref().map(|name| string(name.as_text())),
            correlation_data: properties
                .correlation_data
                .as_ref()
                .map(|data| BASE64_STANDARD.encode(data)),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (string(name), string(value)))
                .collect(),
        }
    }

    fn into_properties(self) -> Result<MessageProperties, String> {
        let user_properties = self.user_properties.into_iter();
        let correlation_data =
            self.correlation_data.map(|data| binary("correlation_data", &data)).transpose()?;
        Ok(MessageProperties {
            payload_format_indicator: self.payload_format_indicator,
            content_type: self.content_type.map(text).transpose()?,
            response_topic: self.response_topic.as_deref().map(topic_name).transpose()?,
            correlation_data: correlation_data.map(Into::into),
            user_properties: user_properties
                .map(|(name, value)| Ok((text(name)?, text(value)?)))
                .collect::<Result<_, String>>()?,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none_lost(lost: &u64) -> bool {
    *lost == 0
}

/// A number that things were given in turn: the broker counts on from the highest one.
fn counted(what: &str, number: u64) -> Result<u64, String> {
    match number {
        1..=COUNTED_MAX => Ok(number),
        _ => Err(format!("{what}: {number} is out of range")),
    }
}

fn text(string: String) -> Result<Text, String> {
    Text::try_from(string).map_err(|error| error.to_string())
}

fn topic_name(name: &str) -> Result<TopicName, String> {
    name.parse().map_err(|error| format!("topic_name: {error}"))
}

fn binary(what: &str, base64: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(base64).map_err(|error| format!("{what}: {error}"))
}

fn level(qos: u8) -> Result<QoS, String> {
    QoS::new(qos).ok_or_else(|| format!("qos: there is no QoS {qos}"))
}

fn exchange(packet_identifier: u16) -> Result<PacketIdentifier, String> {
    PacketIdentifier::new(packet_identifier).ok_or_else(|| "packet_identifier: is zero".to_owned())
}

fn identifier(value: u32) -> Result<SubscriptionIdentifier, String> {
    SubscriptionIdentifier::new(value)
        .ok_or_else(|| format!("subscription_identifier: {value} is out of range"))
}
