//! The Server's end of a connection.

mod handshake;

use crate::connection::{Engine, PubRecOutcome, allowed};
use crate::{
    AckError, AckToken, CommandError, ConnectionEnd, InFlight, Instant, Message, Progress,
    PublishError, ServerEvent, Session, Violation,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::BytesMut;
use core::time::Duration;
use dunlin_codec::{
    ConnAckProperties, Disconnect, Limits, Packet, PacketIdentifier, PacketType, ProtocolVersion,
    QoS, ReasonCode, SubAck, SubscriptionIdentifier, Text, TransmitBuf, UnsubAck,
};

/// How long a Client may be silent in the middle of a packet, whatever its Keep Alive, where
/// [`ServerConfig::partial_rate_min`] asks for anything.
const PARTIAL_SILENCE_MAX: Duration = Duration::from_secs(60);

/// The limits that a Server sets for its Clients; shared by all connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How long a Network Connection may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// Bytes of the largest packet, fixed header included (Maximum Packet Size).
    pub packet_size_max: u32,
    /// Bytes of the largest CONNECT, and of the largest packet until it is accepted.
    pub connect_packet_size_max: u32,
    /// Bytes a second by which a packet must go on whose beginning has come; 0 asks for nothing. One
    /// that does not is no sign of life, and costs the connection when the Keep Alive is over, or a
    /// minute.
    pub partial_rate_min: u32,
    /// How much a Client may use within a packet.
    pub packet_limits: Limits,
    /// How many QoS 1 and 2 messages a Client may have under way (Receive Maximum), at least 1.
    pub receive_maximum: u16,
    /// How many QoS 1 and 2 messages the Server has under way to a Client, if the Client takes that
    /// many; at least 1.
    pub send_in_flight_max: u16,
    /// How many Topic Aliases a Client may use (Topic Alias Maximum).
    pub topic_alias_maximum: u16,
    /// How many Topic Aliases the Server itself uses, if the Client takes that many.
    pub topic_alias_outbound_max: u16,
    /// The longest Keep Alive, in seconds; a Client with none or a longer one gets this (Server
    /// Keep Alive). 0 leaves it to the Client.
    pub keep_alive_max_secs: u16,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            packet_size_max: 16 * 1024 * 1024,
            connect_packet_size_max: 64 * 1024,
            partial_rate_min: 0,
            packet_limits: Limits::NONE,
            receive_maximum: 1024,
            send_in_flight_max: u16::MAX,
            topic_alias_maximum: 64,
            topic_alias_outbound_max: 32,
            keep_alive_max_secs: 0,
        }
    }
}

/// The Server's end of a connection, from the first byte to the last.
#[derive(Debug)]
pub struct ServerConnection {
    pub(crate) engine: Engine,
    config: Arc<ServerConfig>,
    /// The method of enhanced authentication that the Client chose.
    authentication_method: Option<Box<Text>>,
    state: State,
    /// Seconds; 0 turns it off.
    keep_alive_secs: u16,
    session_expires_at_once: bool,
    /// What CONNACK said that the Server supports.
    maximum_qos: QoS,
    retain_available: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was received.
    AwaitingConnect,
    /// The owner decides about the CONNECT.
    Deciding,
    /// The Client owes an AUTH.
    AwaitingAuth,
    /// CONNACK has been sent.
    Connected,
}

impl ServerConnection {
    /// A connection on which nothing was received.
    pub fn new(now: Instant, config: Arc<ServerConfig>) -> Self {
        let size_max = config.connect_packet_size_max;
        Self {
            engine: Engine::new(now, ProtocolVersion::V3_1_1, size_max),
            config,
            authentication_method: None,
            state: State::AwaitingConnect,
            keep_alive_secs: 0,
            session_expires_at_once: false,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
        }
    }

    /// The version that the Client speaks; MQTT 3.1.1 until its CONNECT was read.
    pub const fn version(&self) -> ProtocolVersion {
        self.engine.version()
    }

    /// Why the connection is over; `None` while it is not.
    pub fn end(&self) -> Option<&ConnectionEnd> {
        self.engine.end()
    }

    /// Whether CONNACK was sent and the connection is not over.
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected) && !self.engine.is_closed()
    }

    /// Whether the CONNECT has not come.
    pub const fn awaits_connect(&self) -> bool {
        matches!(self.state, State::AwaitingConnect)
    }

    /// How many more QoS 1 and 2 messages the Client takes now. Spec: §4.9 [MQTT-3.3.4-9].
    #[inline]
    pub const fn send_quota(&self) -> u16 {
        self.engine.send_quota()
    }

    /// How many QoS 1 and 2 messages await their acknowledgement on this connection.
    #[inline]
    pub const fn in_flight(&self) -> u16 {
        self.engine.sending()
    }

    /// The Keep Alive in force, in seconds; 0 when there is none.
    pub const fn keep_alive_secs(&self) -> u16 {
        self.keep_alive_secs
    }

    /// How long the Client may be silent: one and a half times the Keep Alive in force
    /// [MQTT-3.1.2-22]; `None` is for ever.
    pub fn silence_max(&self) -> Option<Duration> {
        let keep_alive = Duration::from_millis(u64::from(self.keep_alive_secs) * 1500);
        (!keep_alive.is_zero()).then_some(keep_alive)
    }

    /// Whether input waits for the owner and not for the peer: for the answer to a CONNECT or AUTH,
    /// or, with MQTT 3.x, for acknowledgements, of which as many are owed as Receive Maximum says.
    /// [`Progress::NeedInput`] then says nothing about the input; call `handle_input` again once
    /// the owner has answered.
    pub fn waits_for_owner(&self) -> bool {
        !self.engine.is_closed() && (self.state == State::Deciding || self.engine.is_holding())
    }

    /// When something was last received.
    pub const fn last_received(&self) -> Instant {
        self.engine.last_received()
    }

    // ---- world to state

    /// Takes one packet off the input.
    ///
    /// The peer's faults are no errors of this call: they end the connection, and its farewell
    /// packet is in `out`.
    #[inline]
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        out: &mut TransmitBuf,
    ) -> Progress<ServerEvent> {
        if self.engine.is_closed() {
            return Progress::Closed;
        }
        if self.waits_for_owner() {
            return Progress::NeedInput;
        }
        let received = match self.check_first_byte(input) {
            Ok(()) => self.engine.receive(now, input, &self.config.packet_limits),
            Err(violation) => Err(violation),
        };
        let taken = match received {
            Ok(None) => {
                self.engine.on_partial(now, input.len(), self.config.partial_rate_min);
                return Progress::NeedInput;
            }
            Ok(Some(packet)) => self.handle_packet(now, packet, out),
            Err(violation) => Err(violation),
        };
        match taken {
            Ok(Some(event)) => Progress::Event(event),
            Ok(None) => Progress::Packet,
            Err(violation) => {
                self.refuse(now, &violation, out);
                self.engine.close(violation.into());
                Progress::Closed
            }
        }
    }

    /// A Client that was challenged has nothing to say but its answer, or that it leaves: what
    /// else begins is neither waited for nor read.
    #[inline]
    fn check_first_byte(&self, input: &[u8]) -> Result<(), Violation> {
        if self.state != State::AwaitingAuth {
            return Ok(());
        }
        // The type that there isn't is the decoder's to refuse.
        match input.first().and_then(|first| PacketType::new(first >> 4)) {
            None | Some(PacketType::Auth | PacketType::Disconnect) => Ok(()),
            Some(packet_type) => Err(Violation::UnexpectedPacket(packet_type)),
        }
    }

    #[inline]
    fn handle_packet(
        &mut self,
        now: Instant,
        packet: Packet,
        out: &mut TransmitBuf,
    ) -> Result<Option<ServerEvent>, Violation> {
        if self.state != State::Connected {
            return self.handle_packet_before_connack(packet).map(Some);
        }
        Ok(match packet {
            Packet::Publish(publish) => {
                if !publish.subscription_identifiers.is_empty() {
                    return Err(Violation::SubscriptionIdentifierFromClient);
                }
                if publish.delivery.qos() > self.maximum_qos {
                    return Err(Violation::QoSNotSupported);
                }
                if publish.retain && !self.retain_available {
                    return Err(Violation::RetainNotSupported);
                }
                self.engine.on_publish(now, publish, out)?.map(ServerEvent::Publish)
            }
            Packet::PubAck(ack) => self.engine.on_puback(ack)?.map(ServerEvent::Acknowledged),
            Packet::PubRec(ack) => match self.engine.on_pubrec(now, ack, out)? {
                PubRecOutcome::Nothing => None,
                PubRecOutcome::Received(identifier, _) => Some(ServerEvent::Received(identifier)),
                PubRecOutcome::Refused(outcome) => Some(ServerEvent::Acknowledged(outcome)),
            },
            Packet::PubRel(ack) => {
                self.engine.on_pubrel(now, &ack, out)?.map(ServerEvent::Released)
            }
            Packet::PubComp(ack) => self.engine.on_pubcomp(ack)?.map(ServerEvent::Acknowledged),
            Packet::Subscribe(subscribe) => Some(ServerEvent::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Some(ServerEvent::Unsubscribe(unsubscribe)),
            Packet::PingReq => {
                let fits = self.engine.send(now, &Packet::PingResp, out);
                debug_assert!(fits.is_ok() || self.engine.peer_packet_size_max() < 2);
                None
            }
            Packet::Disconnect(disconnect) => {
                let expiry = disconnect.properties.session_expiry_interval;
                if self.session_expires_at_once && expiry.is_some_and(|secs| secs > 0) {
                    return Err(Violation::SessionExpiryInterval);
                }
                self.engine.close(ConnectionEnd::Peer(disconnect.clone()));
                Some(ServerEvent::Disconnect(disconnect))
            }
            Packet::Auth(auth) => {
                self.check_method(&auth)?;
                let possible = match auth.reason_code {
                    ReasonCode::ReAuthenticate => !self.engine.reauthenticating,
                    ReasonCode::ContinueAuthentication => self.engine.reauthenticating,
                    _ => false,
                };
                if !possible {
                    return Err(Violation::UnexpectedPacket(PacketType::Auth));
                }
                self.engine.reauthenticating = true;
                Some(ServerEvent::Auth(auth))
            }
            Packet::Connect(_) => return Err(Violation::SecondConnect),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(Violation::UnexpectedPacket(packet.packet_type()));
            }
        })
    }

    /// Tells the peer of its fault, where the standard allows to.
    fn refuse(&mut self, now: Instant, violation: &Violation, out: &mut TransmitBuf) {
        let reason_code = violation.reason_code();
        match self.state {
            State::Connected => self.send_disconnect(now, &Disconnect::new(reason_code), out),
            State::AwaitingConnect => {
                // Silence for what isn't MQTT at all; an answer for a CONNECT that can't be
                // accepted [MQTT3-3.1.2-2] [MQTT-3.1.4-1].
                let answered = matches!(
                    reason_code,
                    ReasonCode::UnsupportedProtocolVersion | ReasonCode::ClientIdentifierNotValid
                );
                if answered {
                    self.send_connack(now, false, reason_code, ConnAckProperties::default(), out);
                }
            }
            State::Deciding | State::AwaitingAuth => {
                self.send_connack(now, false, reason_code, ConnAckProperties::default(), out);
            }
        }
    }

    /// Acts on deadlines that have passed; early and spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut TransmitBuf) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.state == State::Connected {
            self.send_disconnect(now, &Disconnect::new(ReasonCode::KeepAliveTimeout), out);
            let end = if self.owes_rest() {
                ConnectionEnd::PartialPacket
            } else {
                ConnectionEnd::KeepAliveTimeout
            };
            self.engine.close(end);
        } else {
            self.engine.close(ConnectionEnd::ConnectTimeout);
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

    /// Sends a message at this QoS; above 0 it is kept until it is acknowledged.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was sent then.
    /// Spec: [MQTT-3.3.4-9], [MQTT-3.1.2-24], [MQTT-3.3.2-5].
    #[inline]
    pub fn publish(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        qos: QoS,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
        out: &mut TransmitBuf,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        self.engine.publish(now, message, qos, retain, subscription_identifiers, out)
    }

    /// Sends a message at QoS 0, whatever its own QoS; nothing is kept.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was sent then.
    #[inline]
    pub fn publish_at_most_once(
        &mut self,
        now: Instant,
        message: &Message,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
        out: &mut TransmitBuf,
    ) -> Result<(), PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        self.engine.publish_at_most_once(now, message, retain, subscription_identifiers, out)
    }

    /// Begins the exchange of a QoS 2 message without sending it yet: it has its Packet Identifier,
    /// and [`ServerConnection::send_prepared`] sends it on this connection. When another connection
    /// comes first, the message is resent there like all that is in flight.
    ///
    /// For a Server that stores which Packet Identifier a message has before the Client sees it:
    /// else a crash could use the identifier again for a message that the Client would then take
    /// for a repetition.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was begun then.
    pub fn prepare(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
    ) -> Result<PacketIdentifier, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        self.engine.prepare(now, message, retain, subscription_identifiers)
    }

    /// Sends a message that was prepared on this connection. One that the Client's Maximum Packet
    /// Size has no room for counts as delivered [MQTT-3.1.2-25] and is given back, as is one that
    /// has expired since [MQTT-3.3.2-5].
    pub fn send_prepared(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        out: &mut TransmitBuf,
    ) -> Option<InFlight> {
        if !self.is_connected() {
            return None;
        }
        self.engine.send_prepared(now, packet_identifier, out)
    }

    /// Takes a message back that was prepared on this connection and not sent: its exchange is over,
    /// and its Packet Identifier is free. `None` if the Client has answered before it was asked.
    pub fn take_prepared(&mut self, packet_identifier: PacketIdentifier) -> Option<InFlight> {
        if !self.is_connected() {
            return None;
        }
        self.engine.take_prepared(packet_identifier)
    }

    /// From now on a PUBREC is only told ([`ServerEvent::Received`]), each time that it comes, and
    /// the PUBREL waits for [`ServerConnection::release`].
    ///
    /// For a Server that stores that the Client has the message before the Client forgets the
    /// Packet Identifier: else a crash could send the PUBLISH once more, as a new message.
    pub const fn hold_releases(&mut self) {
        self.engine.holds_releases = true;
    }

    /// Whether PUBREL waits for [`ServerConnection::release`].
    pub const fn holds_releases(&self) -> bool {
        self.engine.holds_releases
    }

    /// Sends the PUBREL of an exchange whose PUBREC was received.
    pub fn release(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        out: &mut TransmitBuf,
    ) {
        if self.is_connected() {
            self.engine.release(now, packet_identifier, out);
        }
    }

    /// Acknowledges a message or a release, or refuses a message with a Reason Code of 0x80 and
    /// above (for MQTT 5.0 only; a 3.x Client must not be told that its message was taken).
    ///
    /// The acknowledgement leaves once those owed before it have left.
    ///
    /// # Errors
    /// [`AckError`] when nothing awaits it.
    #[inline]
    pub fn acknowledge(
        &mut self,
        now: Instant,
        ack: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) -> Result<(), AckError> {
        self.engine.acknowledge(now, ack, reason_code, out)
    }

    /// Gives up the acknowledgement of a message that was not taken and that its Client, which has
    /// closed its side, can't be told about: the message counts as never received, so that it is
    /// new when it comes again. At QoS 1 so do those after it, whose acknowledgements would be out
    /// of their order.
    pub fn forgo(&mut self, now: Instant, ack: AckToken, out: &mut TransmitBuf) {
        self.engine.forgo(now, ack, out);
    }

    /// From now on input of an MQTT 3.x Client waits for no acknowledgements: the owner gives up, by
    /// [`ServerConnection::forgo`], each message that comes, before it takes more input.
    pub const fn forgo_further(&mut self) {
        self.engine.forgoes = true;
    }

    /// Refuses a QoS 2 message, by a Reason Code of 0x80 or above, whose Client has closed its side
    /// and can't be told: it is told when it sends the message again, see
    /// [`Session::refuse_received`]. A QoS 1 message is refused as ever.
    pub fn refuse_untold(
        &mut self,
        now: Instant,
        ack: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) {
        self.engine.refuse_untold(now, ack, reason_code, out);
    }

    /// Answers a SUBSCRIBE [MQTT-3.8.4-1].
    ///
    /// # Errors
    /// [`CommandError`] when not connected, or when the answer doesn't fit the Client's limit.
    pub fn suback(
        &mut self,
        now: Instant,
        mut suback: SubAck,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        self.check_connected()?;
        if !self.engine.problem_information {
            suback.properties = Default::default();
        }
        allow(&mut suback.reason_codes, PacketType::SubAck);
        let mut suback = Box::new(suback);
        if self.engine.send(now, &Packet::SubAck(suback.clone()), out).is_err() {
            // Reason String and User Properties give way [MQTT-3.9.2-1] [MQTT-3.9.2-2].
            suback.properties = Default::default();
            self.engine.send(now, &Packet::SubAck(suback), out)?;
        }
        Ok(())
    }

    /// Answers an UNSUBSCRIBE [MQTT-3.10.4-4].
    ///
    /// # Errors
    /// [`CommandError`] when not connected, or when the answer doesn't fit the Client's limit.
    pub fn unsuback(
        &mut self,
        now: Instant,
        mut unsuback: UnsubAck,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        self.check_connected()?;
        if !self.engine.problem_information {
            unsuback.properties = Default::default();
        }
        allow(&mut unsuback.reason_codes, PacketType::UnsubAck);
        let mut unsuback = Box::new(unsuback);
        if self.engine.send(now, &Packet::UnsubAck(unsuback.clone()), out).is_err() {
            // As for SUBACK [MQTT-3.11.2-1] [MQTT-3.11.2-2].
            unsuback.properties = Default::default();
            self.engine.send(now, &Packet::UnsubAck(unsuback), out)?;
        }
        Ok(())
    }

    fn check_connected(&self) -> Result<(), CommandError> {
        if self.is_connected() { Ok(()) } else { Err(CommandError::State) }
    }

    /// Ends the connection, with a DISCONNECT where the version has one for Servers.
    pub fn disconnect(&mut self, now: Instant, disconnect: &Disconnect, out: &mut TransmitBuf) {
        if self.engine.is_closed() {
            return;
        }
        if self.state == State::Connected {
            self.send_disconnect(now, disconnect, out);
        }
        self.engine.close(ConnectionEnd::Local(disconnect.reason_code));
    }

    fn send_disconnect(&mut self, now: Instant, disconnect: &Disconnect, out: &mut TransmitBuf) {
        if !self.version().is_v5() {
            return;
        }
        let mut disconnect = disconnect.clone();
        disconnect.reason_code = allowed(disconnect.reason_code, PacketType::Disconnect);
        disconnect.properties.session_expiry_interval = None; // [MQTT-3.14.2-2]
        let reason_code = disconnect.reason_code;
        let packet = Packet::Disconnect(Box::new(disconnect));
        if self.engine.send(now, &packet, out).is_err() {
            let bare = Packet::Disconnect(Box::new(Disconnect::new(reason_code)));
            // A Client that takes no packet of four bytes learns nothing.
            let _ = self.engine.send(now, &bare, out);
        }
    }

    // ---- state to world

    /// Appends what a resumed Session still owes, as far as quota and output allow; whether
    /// anything was appended. Messages that are now larger than the Client accepts are counted as
    /// delivered [MQTT-3.1.2-25] and given back in `dropped`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf,
        dropped: &mut Vec<InFlight>,
    ) -> bool {
        self.is_connected() && self.engine.resend(now, out, dropped)
    }

    /// The earliest moment at which [`ServerConnection::handle_timeout`] has something to do.
    ///
    /// One and a half times the Keep Alive after the last packet received [MQTT-3.1.2-22], or the
    /// last part of a packet that isn't complete (or a minute, if that is to go on at some rate); never while the input waits for acknowledgements
    /// of the owner.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.engine.is_closed() {
            return None;
        }
        if self.state != State::Connected {
            return Some(self.engine.last_received() + self.config.connect_timeout);
        }
        let silence_max = match self.silence_max() {
            Some(silence_max) if self.owes_rest() => Some(silence_max.min(PARTIAL_SILENCE_MAX)),
            None if self.owes_rest() => Some(PARTIAL_SILENCE_MAX),
            silence_max => silence_max,
        };
        let silence_max = silence_max.filter(|_| !self.engine.is_holding())?;
        Some(self.engine.last_received() + silence_max)
    }

    /// Whether the Client has to go on with a packet.
    fn owes_rest(&self) -> bool {
        self.config.partial_rate_min > 0 && self.engine.has_partial()
    }

    /// The Session, for the connection that comes after this one.
    pub fn into_session(mut self) -> Session {
        self.take_session()
    }

    /// Takes the Session out; the connection is of no more use.
    pub fn take_session(&mut self) -> Session {
        self.engine.take_session()
    }

    /// The Session as it stands.
    pub const fn session(&self) -> &Session {
        &self.engine.session
    }
}

fn allow(reason_codes: &mut [ReasonCode], packet_type: PacketType) {
    for reason_code in reason_codes {
        *reason_code = allowed(*reason_code, packet_type);
    }
}
