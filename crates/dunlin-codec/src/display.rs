//! One line for a packet, as logs and the command line show it. Never a password, never
//! Authentication Data.
//!
//! ```text
//! CONNECT v5.0 "lamp-7" clean keep_alive=60 will="a/b" q1 2 bytes
//! PUBLISH q1 id=7 "a/b" 12 bytes
//! SUBSCRIBE id=1 "a/#" q2 "b" q0 no_local
//! ```

use crate::packet::{
    Ack, AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect,
    ConnectProperties, Disconnect, DisconnectProperties, MessageProperties, Publish, SubAck,
    SubAckProperties, Subscribe, SubscribeProperties, SubscriptionOptions, UnsubAck, Unsubscribe,
    UserProperties, Will, WillProperties,
};
use crate::{Delivery, Packet, PublishTopic, QoS, ReasonCode, RetainHandling, Text};
use bytes::Bytes;
use core::fmt::{Display, Formatter, Result};

impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.packet_type().name())?;
        match self {
            Self::Connect(connect) => connect.line(f),
            Self::ConnAck(connack) => connack.line(f),
            Self::Publish(publish) => publish.line(f),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.line(f)
            }
            Self::Subscribe(subscribe) => subscribe.line(f),
            Self::SubAck(suback) => suback.line(f),
            Self::Unsubscribe(unsubscribe) => unsubscribe.line(f),
            Self::UnsubAck(unsuback) => unsuback.line(f),
            Self::PingReq | Self::PingResp => Ok(()),
            Self::Disconnect(disconnect) => disconnect.line(f),
            Self::Auth(auth) => auth.line(f),
        }
    }
}

/// What follows the name of the packet, each part with a space before it.
trait Line {
    fn line(&self, f: &mut Formatter<'_>) -> Result;
}

/// ` name=value`, if there is a value.
fn pair(f: &mut Formatter<'_>, name: &str, value: Option<impl Display>) -> Result {
    value.map_or(Ok(()), |value| write!(f, " {name}={value}"))
}

/// ` name="text"`, if there is a text.
fn quoted(f: &mut Formatter<'_>, name: &str, text: Option<&str>) -> Result {
    text.map_or(Ok(()), |text| write!(f, " {name}={text:?}"))
}

/// ` name`, if it holds.
fn flag(f: &mut Formatter<'_>, name: &str, holds: bool) -> Result {
    if holds { write!(f, " {name}") } else { Ok(()) }
}

fn text(f: &mut Formatter<'_>, name: &str, text: Option<&Text>) -> Result {
    quoted(f, name, text.map(Text::as_str))
}

fn qos(f: &mut Formatter<'_>, qos: QoS) -> Result {
    write!(f, " q{}", qos.value())
}

fn bytes(f: &mut Formatter<'_>, payload: &Bytes) -> Result {
    write!(f, " {} byte{}", payload.len(), if payload.len() == 1 { "" } else { "s" })
}

/// That there is something which is not shown.
fn hidden(f: &mut Formatter<'_>, name: &str, secret: Option<&Bytes>) -> Result {
    pair(f, name, secret.map(|_| "***"))
}

fn user_properties(f: &mut Formatter<'_>, properties: &UserProperties) -> Result {
    for (name, value) in properties {
        write!(f, " {:?}={:?}", name.as_str(), value.as_str())?;
    }
    Ok(())
}

/// The Reason Code, left out while all is well.
fn reason(f: &mut Formatter<'_>, reason_code: ReasonCode) -> Result {
    match reason_code {
        ReasonCode::Success => Ok(()),
        other => write!(f, " {other}"),
    }
}

impl Line for Connect {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, " v{} {:?}", self.protocol_version, self.client_identifier.as_str())?;
        flag(f, "bridge", self.bridge)?;
        flag(f, "clean", self.clean_start)?;
        pair(f, "keep_alive", Some(self.keep_alive))?;
        self.will.as_ref().map_or(Ok(()), |will| will.line(f))?;
        text(f, "user_name", self.user_name.as_ref())?;
        hidden(f, "password", self.password.as_ref())?;
        self.properties.line(f)
    }
}

impl Line for Will {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        quoted(f, "will", Some(self.topic_name.as_str()))?;
        qos(f, self.qos)?;
        flag(f, "retain", self.retain)?;
        bytes(f, &self.payload)?;
        self.properties.line(f)
    }
}

impl Line for WillProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "will_delay_interval", self.will_delay_interval)?;
        pair(f, "message_expiry_interval", self.message_expiry_interval)?;
        self.message.line(f)
    }
}

impl Line for ConnectProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "session_expiry_interval", self.session_expiry_interval)?;
        pair(f, "receive_maximum", self.receive_maximum)?;
        pair(f, "maximum_packet_size", self.maximum_packet_size)?;
        pair(f, "topic_alias_maximum", self.topic_alias_maximum)?;
        pair(f, "request_response_information", self.request_response_information)?;
        pair(f, "request_problem_information", self.request_problem_information)?;
        text(f, "authentication_method", self.authentication_method.as_ref())?;
        hidden(f, "authentication_data", self.authentication_data.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for ConnAck {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        flag(f, "session_present", self.session_present)?;
        reason(f, self.reason_code)?;
        self.properties.line(f)
    }
}

impl Line for ConnAckProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "session_expiry_interval", self.session_expiry_interval)?;
        pair(f, "receive_maximum", self.receive_maximum)?;
        pair(f, "maximum_qos", self.maximum_qos.map(QoS::value))?;
        pair(f, "retain_available", self.retain_available)?;
        pair(f, "maximum_packet_size", self.maximum_packet_size)?;
        text(f, "assigned_client_identifier", self.assigned_client_identifier.as_ref())?;
        pair(f, "topic_alias_maximum", self.topic_alias_maximum)?;
        text(f, "reason_string", self.reason_string.as_ref())?;
        pair(f, "wildcard_subscription_available", self.wildcard_subscription_available)?;
        pair(f, "subscription_identifiers_available", self.subscription_identifiers_available)?;
        pair(f, "shared_subscription_available", self.shared_subscription_available)?;
        pair(f, "server_keep_alive", self.server_keep_alive)?;
        text(f, "response_information", self.response_information.as_ref())?;
        text(f, "server_reference", self.server_reference.as_ref())?;
        text(f, "authentication_method", self.authentication_method.as_ref())?;
        hidden(f, "authentication_data", self.authentication_data.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for Publish {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        qos(f, self.delivery.qos())?;
        if let Delivery::AtLeastOnce { packet_identifier, dup }
        | Delivery::ExactlyOnce { packet_identifier, dup } = self.delivery
        {
            pair(f, "id", Some(packet_identifier))?;
            flag(f, "dup", dup)?;
        }
        flag(f, "retain", self.retain)?;
        match &self.topic {
            PublishTopic::Name(name) => write!(f, " {:?}", name.as_str())?,
            PublishTopic::NameAndAlias(name, alias) => {
                write!(f, " {:?} alias={alias}", name.as_str())?;
            }
            PublishTopic::Alias(alias) => write!(f, " alias={alias}")?,
        }
        bytes(f, &self.payload)?;
        pair(f, "message_expiry_interval", self.message_expiry_interval)?;
        for identifier in &self.subscription_identifiers {
            pair(f, "subscription_identifier", Some(identifier))?;
        }
        self.properties.as_ref().map_or(Ok(()), |properties| properties.line(f))
    }
}

impl Line for MessageProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "payload_format_indicator", self.payload_format_indicator.map(u8::from))?;
        text(f, "content_type", self.content_type.as_ref())?;
        quoted(f, "response_topic", self.response_topic.as_deref())?;
        if let Some(correlation_data) = &self.correlation_data {
            f.write_str(" correlation_data=")?;
            correlation_data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        user_properties(f, &self.user_properties)
    }
}

impl Line for Ack {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "id", Some(self.packet_identifier))?;
        reason(f, self.reason_code)?;
        self.properties.as_ref().map_or(Ok(()), |properties| properties.line(f))
    }
}

impl Line for AckProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        text(f, "reason_string", self.reason_string.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for Subscribe {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "id", Some(self.packet_identifier))?;
        for subscription in &self.subscriptions {
            write!(f, " {:?}", subscription.topic_filter.as_str())?;
            subscription.options.line(f)?;
        }
        self.properties.line(f)
    }
}

impl Line for SubscriptionOptions {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        qos(f, self.maximum_qos)?;
        flag(f, "no_local", self.no_local)?;
        flag(f, "retain_as_published", self.retain_as_published)?;
        match self.retain_handling {
            RetainHandling::Send => Ok(()),
            RetainHandling::SendIfNew => pair(f, "retain_handling", Some(1)),
            RetainHandling::DoNotSend => pair(f, "retain_handling", Some(2)),
        }
    }
}

impl Line for SubscribeProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "subscription_identifier", self.subscription_identifier)?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for SubAck {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "id", Some(self.packet_identifier))?;
        for reason_code in &self.reason_codes {
            match reason_code.value() {
                granted @ 0..=2 => write!(f, " q{granted}")?,
                _ => write!(f, " {reason_code}")?,
            }
        }
        self.properties.line(f)
    }
}

impl Line for SubAckProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        text(f, "reason_string", self.reason_string.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for Unsubscribe {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "id", Some(self.packet_identifier))?;
        self.topic_filters.iter().try_for_each(|filter| write!(f, " {:?}", filter.as_str()))?;
        user_properties(f, &self.properties.user_properties)
    }
}

impl Line for UnsubAck {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "id", Some(self.packet_identifier))?;
        self.reason_codes.iter().try_for_each(|reason_code| write!(f, " {reason_code}"))?;
        self.properties.line(f)
    }
}

impl Line for Disconnect {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        reason(f, self.reason_code)?;
        self.properties.line(f)
    }
}

impl Line for DisconnectProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        pair(f, "session_expiry_interval", self.session_expiry_interval)?;
        text(f, "reason_string", self.reason_string.as_ref())?;
        text(f, "server_reference", self.server_reference.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}

impl Line for Auth {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        reason(f, self.reason_code)?;
        self.properties.line(f)
    }
}

impl Line for AuthProperties {
    fn line(&self, f: &mut Formatter<'_>) -> Result {
        text(f, "authentication_method", self.authentication_method.as_ref())?;
        hidden(f, "authentication_data", self.authentication_data.as_ref())?;
        text(f, "reason_string", self.reason_string.as_ref())?;
        user_properties(f, &self.user_properties)
    }
}
