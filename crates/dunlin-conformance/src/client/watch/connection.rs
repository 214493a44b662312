//! What holds on one connection, without memory of others: order, limits, time.

use super::Sight;
use super::session::Session;
use crate::{Direction, Line, encoded};
use dunlin_codec::{
    Auth, ConnAckProperties, Connect, Packet, PacketType, ProtocolVersion, Publish, PublishTopic,
    ReasonCode, Text, TopicAlias,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The codes that only a Server may send in DISCONNECT. Spec: §3.14.2.1.
const SERVER_CODES: &[ReasonCode] = &[
    ReasonCode::NotAuthorized,
    ReasonCode::ServerBusy,
    ReasonCode::ServerShuttingDown,
    ReasonCode::KeepAliveTimeout,
    ReasonCode::SessionTakenOver,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QoSNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::ConnectionRateExceeded,
    ReasonCode::MaximumConnectTime,
    ReasonCode::SubscriptionIdentifiersNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) name: String,
    version: ProtocolVersion,
    connect: Option<Connect>,
    limits: Option<ConnAckProperties>,
    aliases: BTreeSet<TopicAlias>,
    has_disconnected: bool,
    /// From here on anything may follow: the check has sent what no Server may.
    is_spoilt: bool,
    last_received: Duration,
}

impl Connection {
    pub(super) fn new(version: ProtocolVersion, name: &str, now: Duration) -> Self {
        Self {
            name: name.to_owned(),
            version,
            connect: None,
            limits: None,
            aliases: BTreeSet::new(),
            has_disconnected: false,
            is_spoilt: false,
            last_received: now,
        }
    }

    pub(super) fn see(&mut self, line: &Line, session: &mut Session, sight: &mut Sight) {
        if line.direction != Direction::Sent {
            self.watch_keep_alive(line, sight);
        }
        match (line.direction, &line.packet) {
            (Direction::Sent, Some(packet)) => {
                if let Packet::ConnAck(connack) = packet {
                    let accepts = connack.reason_code == ReasonCode::Success;
                    self.limits = accepts.then(|| connack.properties.clone());
                    session.begin(connack.session_present);
                }
                if !self.is_spoilt {
                    session.sent(packet);
                }
            }
            (Direction::Sent, None) => self.is_spoilt = true,
            (Direction::Received, Some(packet)) => {
                self.received(packet, sight);
                if !self.is_spoilt {
                    self.keeps_limits(packet, sight);
                    let receive_maximum = self
                        .limits
                        .as_ref()
                        .map(|limits| usize::from(limits.receive_maximum.unwrap_or(u16::MAX)));
                    session.received(packet, receive_maximum, sight);
                }
            }
            (Direction::Received, None) => self.malformed(line, sight),
            (Direction::Event, _) => {}
        }
    }

    /// Nothing may be missing for longer than the Keep Alive; half of it is given on top, as a
    /// Server has to.
    fn watch_keep_alive(&mut self, line: &Line, sight: &mut Sight) {
        let silence = line.at.saturating_sub(self.last_received);
        self.last_received = line.at;
        let Some((connect, limits)) = self.connect.as_ref().zip(self.limits.as_ref()) else {
            return;
        };
        let keep_alive = limits.server_keep_alive.unwrap_or(connect.keep_alive);
        let keep_alive = Duration::from_secs(keep_alive.into());
        if keep_alive.is_zero() || self.has_disconnected || silence < keep_alive / 2 {
            return;
        }
        sight.check("watched/keep-alive", silence <= keep_alive * 3 / 2, || {
            format!("nothing for {silence:?} with a Keep Alive of {keep_alive:?}")
        });
    }

    fn malformed(&self, line: &Line, sight: &mut Sight) {
        if let Some(malformed) = line.malformed {
            let rule = form_rule(malformed.packet_type);
            let error = malformed.error;
            sight.check(rule, false, || format!("{error} [{}]", error.statement()));
            if self.connect.is_none() {
                sight.check(
                    "watched/connect-first",
                    malformed.packet_type == Some(PacketType::Connect),
                    || format!("the first bytes are no packet: {error}"),
                );
            }
        }
    }

    fn received(&mut self, packet: &Packet, sight: &mut Sight) {
        let packet_type = packet.packet_type();
        sight.saw(form_rule(Some(packet_type)));
        sight.check("watched/nothing-after-disconnect", !self.has_disconnected, || {
            format!("{packet} after DISCONNECT")
        });
        let is_connect = packet_type == PacketType::Connect;
        let is_first = self.connect.is_none();
        sight.check("watched/connect-first", is_connect == is_first, || {
            let place = if is_first { "first" } else { "later" };
            format!("{packet} is the {place} packet")
        });
        let of_servers = matches!(
            packet_type,
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp
        );
        sight.check("watched/packets-of-clients", !of_servers, || {
            format!("{packet}, which only Servers send")
        });
        match packet {
            Packet::Connect(connect) => {
                if !self.version.is_v5() && connect.client_identifier.is_empty() {
                    sight.check("watched/empty-identifier", connect.clean_start, || {
                        "an empty Client Identifier with Clean Session 0".to_owned()
                    });
                }
                self.connect = Some((**connect).clone());
            }
            Packet::Disconnect(disconnect) => {
                self.has_disconnected = true;
                let code = disconnect.reason_code;
                sight.check("watched/disconnect-code", !SERVER_CODES.contains(&code), || {
                    format!("DISCONNECT with {code}, which only Servers send")
                });
            }
            Packet::Auth(auth) => self.auth(auth, sight),
            _ => {}
        }
        self.before_connack(packet, sight);
    }

    fn method(&self) -> Option<&str> {
        let properties = &self.connect.as_ref()?.properties;
        properties.authentication_method.as_ref().map(Text::as_str)
    }

    fn auth(&self, auth: &Auth, sight: &mut Sight) {
        let method = self.method();
        sight.check("watched/auth-with-method", method.is_some(), || {
            "AUTH without Authentication Method in CONNECT".to_owned()
        });
        let sent = auth.properties.authentication_method.as_ref().map(Text::as_str);
        sight.check("watched/auth-same-method", sent == method, || {
            format!("AUTH with the method {sent:?}, CONNECT with {method:?}")
        });
        let fits = match self.limits {
            None => auth.reason_code == ReasonCode::ContinueAuthentication,
            Some(_) => auth.reason_code != ReasonCode::Success,
        };
        sight.check("watched/auth-code", fits, || format!("AUTH with {}", auth.reason_code));
    }

    fn before_connack(&self, packet: &Packet, sight: &mut Sight) {
        if self.limits.is_none() && self.method().is_some() {
            let allowed = matches!(
                packet.packet_type(),
                PacketType::Connect | PacketType::Auth | PacketType::Disconnect
            );
            sight.check("watched/only-auth-before-connack", allowed, || {
                format!("{packet} before CONNACK, with an Authentication Method")
            });
        }
    }

    /// What CONNACK allows.
    fn keeps_limits(&mut self, packet: &Packet, sight: &mut Sight) {
        let Some(limits) = &self.limits else { return };
        if let Some(most) = limits.maximum_packet_size {
            let len = encoded(packet.clone(), self.version).len();
            sight.check("watched/maximum-packet-size", len <= most as usize, || {
                format!("{packet} of {len} bytes, more than the {most} that CONNACK allows")
            });
        }
        if let Packet::Publish(publish) = packet {
            let limits = limits.clone();
            self.publish(publish, &limits, sight);
        }
    }

    fn publish(&mut self, publish: &Publish, limits: &ConnAckProperties, sight: &mut Sight) {
        if let Some(most) = limits.maximum_qos {
            let qos = publish.delivery.qos();
            sight.check("watched/maximum-qos", qos <= most, || {
                format!("QoS {} where CONNACK allows {}", qos.value(), most.value())
            });
        }
        if limits.retain_available == Some(false) {
            sight.check("watched/retain-available", !publish.retain, || {
                "RETAIN where CONNACK says that there are no retained messages".to_owned()
            });
        }
        if self.version.is_v5() {
            let ours = publish.subscription_identifiers.is_empty();
            sight.check("watched/no-subscription-identifier", ours, || {
                "a PUBLISH with a Subscription Identifier".to_owned()
            });
        }
        let most = limits.topic_alias_maximum.unwrap_or(0);
        let alias = match &publish.topic {
            PublishTopic::Name(_) => {
                // Without an alias there is nothing to break, but that is how the rule is kept.
                if self.version.is_v5() {
                    sight.saw("watched/topic-alias-maximum");
                }
                return;
            }
            topic => topic.alias(),
        };
        let Some(alias) = alias else { return };
        sight.check("watched/topic-alias-maximum", alias.value() <= most, || {
            format!("Topic Alias {} where CONNACK allows {most}", alias.value())
        });
        if publish.topic.name().is_some() {
            sight.saw("watched/known-topic-alias");
            self.aliases.insert(alias);
        } else {
            let is_known = self.aliases.contains(&alias);
            sight.check("watched/known-topic-alias", is_known, || {
                format!("Topic Alias {} has no name on this connection", alias.value())
            });
        }
    }
}

/// The rule that packets of this type have their form.
fn form_rule(packet_type: Option<PacketType>) -> &'static str {
    match packet_type {
        Some(PacketType::Connect) => "watched/connect-form",
        Some(PacketType::Publish) => "watched/publish-form",
        Some(
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp,
        ) => "watched/acknowledgement-form",
        Some(PacketType::Subscribe) => "watched/subscribe-form",
        Some(PacketType::Unsubscribe) => "watched/unsubscribe-form",
        Some(PacketType::Disconnect) => "watched/disconnect-form",
        Some(PacketType::Auth) => "watched/auth-form",
        _ => "watched/frame-form",
    }
}
