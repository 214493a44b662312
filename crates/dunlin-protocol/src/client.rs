//! The Client's end of a connection.

mod handshake;

use crate::connection::{Engine, PubRecOutcome, allowed};
use crate::session::InFlightState;
use crate::{
    AckError, AckToken, ClientEvent, CommandError, ConnectionEnd, InFlight, Instant, Message,
    Progress, PublishError, Session, Violation,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::BytesMut;
use core::time::Duration;
use dunlin_codec::{
    Connect, Disconnect, EncodeError, Limits, Packet, PacketIdentifier, PacketType,
    ProtocolVersion, QoS, ReasonCode, Subscribe, SubscribeProperties, Subscription, TopicFilter,
    TransmitBuf, Unsubscribe, UnsubscribeProperties,
};

/// Bytes of the largest packet that a Client takes which did not set Maximum Packet Size.
const PACKET_SIZE_MAX_DEFAULT: u32 = 268_435_460;

/// What a Client asks for, and the limits it sets for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The CONNECT to send. Its Receive Maximum, Maximum Packet Size and Topic Alias Maximum are
    /// enforced on what the Server sends.
    pub connect: Connect,
    /// How long the Server may take until CONNACK.
    pub connect_timeout: Duration,
    /// How many QoS 1 and 2 messages are under way at once, at least 1; the Server's Receive
    /// Maximum may lower it. MQTT 3.x has no Receive Maximum, so this alone counts there.
    pub in_flight_max: u16,
    /// How many Topic Aliases are used for sending, if the Server takes that many.
    pub topic_alias_outbound_max: u16,
}

/// The Client's end of a connection, from CONNECT to the last byte.
#[derive(Debug)]
pub struct ClientConnection {
    pub(crate) engine: Engine,
    config: ClientConfig,
    state: State,
    began_at: Instant,
    /// The Session as it came; waits for the Server's Session Present.
    resumable: Option<Session>,
    /// Seconds; 0 turns it off.
    keep_alive_secs: u16,
    /// When the PINGREQ was sent that the Server has not answered.
    pinged_at: Option<Instant>,
    session_expires_at_once: bool,
    /// As CONNECT and CONNACK have it: a DISCONNECT that says otherwise may never arrive.
    session_ends_with_connection: bool,
    server: ServerLimits,
}

/// What the Server said in CONNACK that it supports.
#[derive(Clone, Copy, Debug)]
struct ServerLimits {
    maximum_qos: QoS,
    retain: bool,
    wildcard_subscriptions: bool,
    subscription_identifiers: bool,
    shared_subscriptions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitingConnAck,
    Connected,
}

impl ClientConnection {
    /// Begins a connection on a Network Connection that is just established: CONNECT is appended.
    ///
    /// `session` is what the last connection left, or [`Session::new`].
    ///
    /// # Errors
    /// [`EncodeError`] when CONNECT would be larger than a packet can be, or its Password or Will
    /// Payload longer than a field can be.
    pub fn new(
        now: Instant,
        config: ClientConfig,
        session: Session,
        out: &mut TransmitBuf,
    ) -> Result<Self, EncodeError> {
        let connect = &config.connect;
        let properties = &connect.properties;
        let version = connect.protocol_version;
        let packet_size_max = properties.maximum_packet_size.unwrap_or(PACKET_SIZE_MAX_DEFAULT);
        let mut engine = Engine::new(now, version, packet_size_max);
        engine.set_receive_maximum(properties.receive_maximum.unwrap_or(u16::MAX));
        engine.send(now, &Packet::Connect(Box::new(connect.clone())), out)?;
        Ok(Self {
            engine,
            state: State::AwaitingConnAck,
            began_at: now,
            resumable: (!connect.clean_start).then_some(session),
            keep_alive_secs: connect.keep_alive,
            pinged_at: None,
            session_expires_at_once: properties.session_expiry_interval.unwrap_or(0) == 0,
            session_ends_with_connection: match connect.protocol_version.is_v5() {
                true => properties.session_expiry_interval.unwrap_or(0) == 0,
                false => connect.clean_start,
            },
            server: ServerLimits {
                maximum_qos: QoS::ExactlyOnce,
                retain: true,
                wildcard_subscriptions: true,
                subscription_identifiers: true,
                shared_subscriptions: true,
            },
            config,
        })
    }

    /// The version that this connection speaks.
    pub const fn version(&self) -> ProtocolVersion {
        self.engine.version()
    }

    /// Why the connection is over; `None` while it is not.
    pub fn end(&self) -> Option<&ConnectionEnd> {
        self.engine.end()
    }

    /// Whether the Server has accepted and the connection is not over.
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected) && !self.engine.is_closed()
    }

    /// How many more QoS 1 and 2 messages the Server takes now. Spec: §4.9.
    pub const fn send_quota(&self) -> u16 {
        self.engine.send_quota()
    }

    /// Whether the Server takes Subscription Identifiers; never before MQTT 5.0.
    pub const fn subscription_identifiers_available(&self) -> bool {
        self.engine.version().is_v5() && self.server.subscription_identifiers
    }

    /// Whether input waits for the owner and not for the peer: with MQTT 3.x, for acknowledgements,
    /// of which as many are owed as the Receive Maximum of the configured CONNECT says.
    /// [`Progress::NeedInput`] then says nothing about the input; call `handle_input` again once
    /// the owner has answered.
    pub fn waits_for_owner(&self) -> bool {
        !self.engine.is_closed() && self.engine.is_holding()
    }

    // ---- world to state

    /// Takes one packet off the input.
    ///
    /// The peer's faults are no errors of this call: they end the connection, and its farewell
    /// packet is in `out`.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        out: &mut TransmitBuf,
    ) -> Progress<ClientEvent> {
        if self.engine.is_closed() {
            return Progress::Closed;
        }
        if self.waits_for_owner() {
            return Progress::NeedInput;
        }
        let taken = match self.engine.receive(now, input, &Limits::NONE) {
            Ok(None) => {
                self.engine.on_partial(now, input.len(), 0);
                return Progress::NeedInput;
            }
            Ok(Some(packet)) => {
                self.pinged_at = None;
                self.handle_packet(now, packet, out)
            }
            Err(violation) => Err(violation),
        };
        match taken {
            Ok(Some(event)) => Progress::Event(event),
            Ok(None) => Progress::Packet,
            Err(violation) => {
                self.send_disconnect(now, &Disconnect::new(violation.reason_code()), out);
                self.engine.close(violation.into());
                Progress::Closed
            }
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        packet: Packet,
        out: &mut TransmitBuf,
    ) -> Result<Option<ClientEvent>, Violation> {
        if self.state == State::AwaitingConnAck {
            return match packet {
                Packet::ConnAck(connack) => self.take_connack(connack).map(Some),
                Packet::Auth(auth) => {
                    self.check_method(&auth)?;
                    if auth.reason_code != ReasonCode::ContinueAuthentication {
                        return Err(Violation::UnexpectedPacket(PacketType::Auth));
                    }
                    Ok(Some(ClientEvent::Auth(auth)))
                }
                packet => Err(Violation::BeforeConnAck(packet.packet_type())),
            };
        }
        Ok(match packet {
            Packet::Publish(publish) => {
                self.engine.on_publish(now, publish, out)?.map(ClientEvent::Publish)
            }
            Packet::PubAck(ack) => self.engine.on_puback(ack)?.map(ClientEvent::Acknowledged),
            Packet::PubRec(ack) => match self.engine.on_pubrec(now, ack, out)? {
                PubRecOutcome::Nothing => None,
                PubRecOutcome::Received(packet_identifier, reason_code) => {
                    Some(ClientEvent::Received { packet_identifier, reason_code })
                }
                PubRecOutcome::Refused(outcome) => Some(ClientEvent::Acknowledged(outcome)),
            },
            Packet::PubRel(ack) => {
                self.engine.on_pubrel(now, &ack, out)?.map(ClientEvent::Released)
            }
            Packet::PubComp(ack) => self.engine.on_pubcomp(ack)?.map(ClientEvent::Acknowledged),
            Packet::SubAck(suback) => {
                let answer = InFlightState::AwaitingSubAck(count(suback.reason_codes.len()));
                self.engine
                    .on_subscribe_answer(suback.packet_identifier, answer)?
                    .then_some(ClientEvent::SubAck(suback))
            }
            Packet::UnsubAck(unsuback) => {
                let answer = InFlightState::AwaitingUnsubAck(count(unsuback.reason_codes.len()));
                self.engine
                    .on_subscribe_answer(unsuback.packet_identifier, answer)?
                    .then_some(ClientEvent::UnsubAck(unsuback))
            }
            Packet::PingResp => None,
            Packet::Disconnect(disconnect) if self.version().is_v5() => {
                if disconnect.properties.session_expiry_interval.is_some() {
                    return Err(Violation::SessionExpiryIntervalFromServer);
                }
                self.engine.close(ConnectionEnd::Peer(disconnect.clone()));
                Some(ClientEvent::Disconnect(disconnect))
            }
            Packet::Auth(auth) => {
                self.check_method(&auth)?;
                // Only a Client begins to authenticate again [MQTT-4.12.1-1].
                let begins = auth.reason_code == ReasonCode::ReAuthenticate;
                if begins || !self.engine.reauthenticating {
                    return Err(Violation::UnexpectedPacket(PacketType::Auth));
                }
                self.engine.reauthenticating = auth.reason_code != ReasonCode::Success;
                Some(ClientEvent::Auth(auth))
            }
            packet => return Err(Violation::UnexpectedPacket(packet.packet_type())),
        })
    }

    /// Acts on deadlines that have passed: sends PINGREQ, or gives the connection up. Early and
    /// spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut TransmitBuf) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.state == State::AwaitingConnAck {
            self.engine.close(ConnectionEnd::ConnectTimeout);
        } else if self.pinged_at.is_some() {
            // "Keep Alive timeout" is the Server's to say [MQTT-3.14.2-1].
            self.send_disconnect(now, &Disconnect::new(ReasonCode::UnspecifiedError), out);
            self.engine.close(ConnectionEnd::KeepAliveTimeout);
        } else if self.engine.send(now, &Packet::PingReq, out).is_ok() {
            self.pinged_at = Some(now);
        } else {
            self.engine.close(ConnectionEnd::Local(ReasonCode::PacketTooLarge));
        }
    }

    /// Gives back memory that a burst needed and the present does not. For a connection that has
    /// been quiet for a while; what it needs next it takes anew.
    pub fn shrink(&mut self) {
        self.engine.shrink();
    }

    /// The Network Connection is gone.
    pub fn handle_network_closed(&mut self) {
        self.engine.close(ConnectionEnd::Network);
    }

    // ---- application to state

    /// Sends a message at its own QoS; above 0 it is kept until it is acknowledged, and its
    /// Packet Identifier is given.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was sent then.
    pub fn publish(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        out: &mut TransmitBuf,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        if message.qos > self.server.maximum_qos {
            return Err(PublishError::QoSNotSupported);
        }
        if message.retain && !self.server.retain {
            return Err(PublishError::RetainNotSupported);
        }
        self.engine.publish(now, message, message.qos, message.retain, &[], out)
    }

    /// Asks for messages; the Packet Identifier comes back in [`ClientEvent::SubAck`].
    ///
    /// # Errors
    /// [`CommandError`]; nothing was sent then.
    /// [`CommandError::State`] as well when `subscriptions` is empty [MQTT-3.8.3-2].
    pub fn subscribe(
        &mut self,
        now: Instant,
        properties: SubscribeProperties,
        subscriptions: Vec<Subscription>,
        out: &mut TransmitBuf,
    ) -> Result<PacketIdentifier, CommandError> {
        self.check_connected()?;
        if subscriptions.is_empty() {
            return Err(CommandError::State);
        }
        let supported = |filter: &TopicFilter| {
            (self.server.wildcard_subscriptions || !filter.has_wildcard())
                && (self.server.shared_subscriptions || filter.share_name().is_none())
        };
        if (properties.subscription_identifier.is_some() && !self.server.subscription_identifiers)
            || !subscriptions.iter().all(|subscription| supported(&subscription.topic_filter))
        {
            return Err(CommandError::NotSupported);
        }
        let state = InFlightState::AwaitingSubAck(count(subscriptions.len()));
        let packet_identifier = self.peek_packet_identifier()?;
        let subscribe = Subscribe { packet_identifier, properties, subscriptions };
        self.engine.send(now, &Packet::Subscribe(Box::new(subscribe)), out)?;
        self.engine.begin_subscribe(state).ok_or(CommandError::PacketIdentifiersExhausted)
    }

    /// Asks for messages no longer; the Packet Identifier comes back in [`ClientEvent::UnsubAck`].
    ///
    /// # Errors
    /// [`CommandError`]; nothing was sent then.
    /// [`CommandError::State`] as well when `topic_filters` is empty [MQTT-3.10.3-2].
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        properties: UnsubscribeProperties,
        topic_filters: Vec<TopicFilter>,
        out: &mut TransmitBuf,
    ) -> Result<PacketIdentifier, CommandError> {
        self.check_connected()?;
        if topic_filters.is_empty() {
            return Err(CommandError::State);
        }
        let state = InFlightState::AwaitingUnsubAck(count(topic_filters.len()));
        let packet_identifier = self.peek_packet_identifier()?;
        let unsubscribe = Unsubscribe { packet_identifier, properties, topic_filters };
        self.engine.send(now, &Packet::Unsubscribe(Box::new(unsubscribe)), out)?;
        self.engine.begin_subscribe(state).ok_or(CommandError::PacketIdentifiersExhausted)
    }

    fn peek_packet_identifier(&self) -> Result<PacketIdentifier, CommandError> {
        let outbound = &self.engine.session.outbound;
        outbound.next_packet_identifier().ok_or(CommandError::PacketIdentifiersExhausted)
    }

    /// Acknowledges a message or a release, or refuses a message with a Reason Code of 0x80 and
    /// above (MQTT 5.0 only).
    ///
    /// The acknowledgement leaves once those owed before it have left.
    ///
    /// # Errors
    /// [`AckError`] when nothing awaits it.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        ack: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) -> Result<(), AckError> {
        self.engine.acknowledge(now, ack, reason_code, out)
    }

    /// Leaves: DISCONNECT is appended and the connection is over.
    ///
    /// DISCONNECT of MQTT 3.x always means a normal end, which discards the Will: with another
    /// Reason Code than [`ReasonCode::Success`] the Network Connection is to be closed without it.
    ///
    /// # Errors
    /// [`CommandError::PacketTooLarge`]: nothing was sent, and the connection goes on.
    /// [`CommandError::State`] when the connection is over already, or when a Session Expiry
    /// Interval is set though CONNECT's was zero [MQTT-3.1.2-23].
    pub fn disconnect(
        &mut self,
        now: Instant,
        disconnect: &Disconnect,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        let expiry = disconnect.properties.session_expiry_interval;
        if self.engine.is_closed()
            || (self.session_expires_at_once && expiry.is_some_and(|secs| secs > 0))
        {
            return Err(CommandError::State);
        }
        let can_tell = self.version().is_v5() || disconnect.reason_code == ReasonCode::Success;
        if self.state == State::Connected && can_tell {
            let mut packet = Box::new(disconnect.clone());
            packet.reason_code = allowed(packet.reason_code, PacketType::Disconnect);
            self.engine.send(now, &Packet::Disconnect(packet), out)?;
        }
        self.engine.close(ConnectionEnd::Local(disconnect.reason_code));
        Ok(())
    }

    fn send_disconnect(&mut self, now: Instant, disconnect: &Disconnect, out: &mut TransmitBuf) {
        if self.version().is_v5() {
            let mut packet = Box::new(disconnect.clone());
            packet.reason_code = allowed(packet.reason_code, PacketType::Disconnect);
            // A Server that takes no packet of four bytes learns nothing.
            let _ = self.engine.send(now, &Packet::Disconnect(packet), out);
        }
    }

    fn check_connected(&self) -> Result<(), CommandError> {
        if self.is_connected() { Ok(()) } else { Err(CommandError::State) }
    }

    // ---- state to world

    /// Appends what a resumed Session still owes, as far as quota and output allow; whether
    /// anything was appended. Messages that are now larger than the Server accepts are given back
    /// in `dropped`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf,
        dropped: &mut Vec<InFlight>,
    ) -> bool {
        self.is_connected() && self.engine.resend(now, out, dropped)
    }

    /// The earliest moment at which [`ClientConnection::handle_timeout`] has something to do.
    ///
    /// Liveness is the last packet received: a PINGREQ goes out when that is a Keep Alive old,
    /// whatever was sent, and when nothing was sent for a Keep Alive [MQTT-3.1.2-20]. The
    /// connection is given up half a Keep Alive after an unanswered PINGREQ.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.engine.is_closed() {
            return None;
        }
        if self.state == State::AwaitingConnAck {
            return Some(self.began_at + self.config.connect_timeout);
        }
        if self.keep_alive_secs == 0 || self.engine.is_holding() {
            return None;
        }
        let keep_alive = Duration::from_secs(u64::from(self.keep_alive_secs));
        Some(match self.pinged_at {
            Some(pinged_at) => pinged_at + keep_alive / 2,
            None => self.engine.last_received().min(self.engine.last_sent()) + keep_alive,
        })
    }

    /// The Session, for the connection that comes after this one.
    pub fn into_session(mut self) -> Session {
        self.take_session()
    }

    /// Takes the Session out; the connection is of no more use.
    ///
    /// Of a Session that ends with its connection only the messages of this end are left, for the
    /// next CONNACK to name as lost. A CONNECT without an answer leaves it open whether the Server has
    /// begun a new Session, which the next CONNACK names as present: a QoS 2 PUBLISH without DUP is no
    /// repetition then, whatever was received with its Packet Identifier.
    pub fn take_session(&mut self) -> Session {
        self.engine.close(ConnectionEnd::Network);
        match self.resumable.take() {
            Some(mut session) => {
                if !matches!(self.end(), Some(ConnectionEnd::Refused(_))) {
                    session.doubt_received();
                }
                session
            }
            None => {
                let mut session = self.engine.take_session();
                if self.session_ends_with_connection {
                    // What a later Session receives with these Packet Identifiers is new.
                    session.inbound.clear();
                }
                session
            }
        }
    }

    /// The Session as it stands; what came from the last connection counts from CONNACK on.
    pub const fn session(&self) -> &Session {
        &self.engine.session
    }
}

/// How many Reason Codes an answer has; a packet holds fewer than 65,536 Topic Filters that are
/// worth telling apart.
fn count(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
