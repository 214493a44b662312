//! From CONNECT to CONNACK, and enhanced authentication.

use super::{ServerConnection, State};
use crate::connection::allowed;
use crate::{CommandError, ConnectionEnd, Instant, ServerEvent, Session, Violation};
use alloc::boxed::Box;
use dunlin_codec::{
    Auth, ConnAck, ConnAckProperties, Connect, Packet, PacketType, ProtocolVersion, QoS,
    ReasonCode, TransmitBuf,
};

impl ServerConnection {
    pub(super) fn handle_packet_before_connack(
        &mut self,
        packet: Packet,
    ) -> Result<ServerEvent, Violation> {
        match (self.state, packet) {
            (State::AwaitingConnect, Packet::Connect(connect)) => {
                self.take_connect(&connect)?;
                self.state = State::Deciding;
                Ok(ServerEvent::Connect(connect))
            }
            (State::AwaitingAuth, Packet::Auth(auth)) => {
                self.check_method(&auth)?;
                if auth.reason_code != ReasonCode::ContinueAuthentication {
                    return Err(Violation::UnexpectedPacket(PacketType::Auth));
                }
                self.state = State::Deciding;
                Ok(ServerEvent::Auth(auth))
            }
            (State::AwaitingAuth, Packet::Disconnect(disconnect)) => {
                self.engine.close(ConnectionEnd::Peer(disconnect.clone()));
                Ok(ServerEvent::Disconnect(disconnect))
            }
            (State::AwaitingConnect, packet) => Err(Violation::FirstPacket(packet.packet_type())),
            (_, packet) => Err(Violation::UnexpectedPacket(packet.packet_type())),
        }
    }

    fn take_connect(&mut self, connect: &Connect) -> Result<(), Violation> {
        let version = connect.protocol_version;
        let properties = &connect.properties;
        self.engine.set_version(version);
        let identifier_missing = connect.client_identifier.is_empty();
        let may_be_missing = match version {
            ProtocolVersion::V3_1 => false,
            ProtocolVersion::V3_1_1 => connect.clean_start,
            ProtocolVersion::V5 => true,
        };
        if identifier_missing && !may_be_missing {
            return Err(Violation::ClientIdentifierMissing);
        }
        self.engine.set_peer_packet_size_max(properties.maximum_packet_size.unwrap_or(u32::MAX));
        let in_flight_max = properties.receive_maximum.unwrap_or(u16::MAX);
        self.engine.set_peer_receive_maximum(in_flight_max.min(self.config.send_in_flight_max));
        self.engine.set_receive_maximum(self.config.receive_maximum);
        if version.is_v5() {
            let outbound_max = properties.topic_alias_maximum.unwrap_or(0);
            self.engine.set_aliases(
                self.config.topic_alias_maximum,
                outbound_max.min(self.config.topic_alias_outbound_max),
            );
        }
        self.engine.problem_information = properties.request_problem_information.unwrap_or(true);
        self.session_expires_at_once = properties.session_expiry_interval.unwrap_or(0) == 0;
        // It stays, and must not pin the buffer that it was read into.
        let method = properties.authentication_method.as_ref();
        self.authentication_method = method.map(|method| Box::new(method.detached()));
        let wanted = connect.keep_alive;
        self.keep_alive_secs = match self.config.keep_alive_max_secs {
            max if version.is_v5() && max > 0 && (wanted == 0 || wanted > max) => max,
            _ => wanted,
        };
        Ok(())
    }

    pub(super) fn check_method(&self, auth: &Auth) -> Result<(), Violation> {
        let known = self.authentication_method.as_deref();
        if known.is_none() || auth.properties.authentication_method.as_ref() != known {
            return Err(Violation::AuthenticationMethod);
        }
        Ok(())
    }

    /// Accepts the CONNECT and goes on with this Session; CONNACK is appended, with the limits of
    /// [`crate::ServerConfig`] filled in. What the Session has in flight follows by
    /// [`ServerConnection::poll_transmit`].
    ///
    /// # Errors
    /// [`CommandError::State`] unless a CONNECT, or an AUTH that followed it, awaits its answer.
    /// The Session is lost then.
    pub fn accept(
        &mut self,
        now: Instant,
        session: Session,
        session_present: bool,
        properties: ConnAckProperties,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        if self.state != State::Deciding || self.engine.is_closed() {
            return Err(CommandError::State);
        }
        let mut properties = properties;
        if self.version().is_v5() {
            let config = &self.config;
            properties.receive_maximum = Some(config.receive_maximum.max(1));
            properties.maximum_packet_size = Some(config.packet_size_max.max(1));
            properties.topic_alias_maximum =
                (config.topic_alias_maximum > 0).then_some(config.topic_alias_maximum);
            let keep_alive_max = config.keep_alive_max_secs;
            match properties.server_keep_alive {
                Some(keep_alive_secs) => self.keep_alive_secs = keep_alive_secs,
                None if keep_alive_max > 0 && self.keep_alive_secs == keep_alive_max => {
                    properties.server_keep_alive = Some(keep_alive_max);
                }
                None => {}
            }
            self.maximum_qos = properties.maximum_qos.unwrap_or(QoS::ExactlyOnce);
            self.retain_available = properties.retain_available.unwrap_or(true);
            properties.authentication_method = self.authentication_method.as_deref().cloned();
        }
        // Not before: a stranger may challenge the Server, but not fill its memory.
        self.engine.set_packet_size_max(self.config.packet_size_max);
        self.engine.resume(session);
        self.send_connack(now, session_present, ReasonCode::Success, properties, out);
        self.state = State::Connected;
        self.engine.established = true;
        Ok(())
    }

    /// Refuses the CONNECT, also while the Client owes an AUTH; CONNACK is appended and the
    /// connection is over [MQTT-4.12.0-4].
    ///
    /// # Errors
    /// [`CommandError::State`] when no CONNECT awaits its answer, and when the Reason Code is none
    /// of a failure.
    pub fn reject(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        properties: ConnAckProperties,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        let is_undecided = matches!(self.state, State::Deciding | State::AwaitingAuth);
        if !is_undecided || self.engine.is_closed() || !reason_code.is_error() {
            return Err(CommandError::State);
        }
        self.send_connack(now, false, reason_code, properties, out);
        self.engine.close(ConnectionEnd::Local(reason_code));
        Ok(())
    }

    pub(super) fn send_connack(
        &mut self,
        now: Instant,
        session_present: bool,
        reason_code: ReasonCode,
        properties: ConnAckProperties,
        out: &mut TransmitBuf,
    ) {
        let reason_code = match self.version().is_v5() {
            true => allowed(reason_code, PacketType::ConnAck),
            false => reason_code,
        };
        let mut connack = Box::new(ConnAck { session_present, reason_code, properties });
        // Too small a Maximum Packet Size costs the diagnostics first [MQTT-3.2.2-19]
        // [MQTT-3.2.2-20].
        if self.engine.send(now, &Packet::ConnAck(connack.clone()), out).is_err() {
            connack.properties.reason_string = None;
            connack.properties.user_properties.clear();
            if self.engine.send(now, &Packet::ConnAck(connack), out).is_err() {
                self.engine.close(ConnectionEnd::Local(ReasonCode::PacketTooLarge));
            }
        }
    }

    /// Goes on with enhanced authentication: a challenge while the CONNECT is undecided, or a step
    /// or the success of a re-authentication later.
    ///
    /// The method of the CONNECT is filled in [MQTT-4.12.0-5].
    ///
    /// # Errors
    /// [`CommandError::State`] when the Client asked for no enhanced authentication or the
    /// connection is over.
    pub fn auth(
        &mut self,
        now: Instant,
        mut auth: Auth,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        let Some(method) = self.authentication_method.as_deref() else {
            return Err(CommandError::State);
        };
        let goes_on = auth.reason_code == ReasonCode::ContinueAuthentication;
        let succeeds = auth.reason_code == ReasonCode::Success;
        let next = match self.state {
            State::Deciding if goes_on => State::AwaitingAuth,
            State::Connected if self.engine.reauthenticating && (goes_on || succeeds) => {
                State::Connected
            }
            _ => return Err(CommandError::State),
        };
        if self.engine.is_closed() {
            return Err(CommandError::State);
        }
        auth.properties.authentication_method = Some(method.clone());
        if !self.engine.problem_information {
            auth.properties.reason_string = None;
            auth.properties.user_properties.clear();
        }
        self.engine.send(now, &Packet::Auth(Box::new(auth)), out)?;
        self.state = next;
        self.engine.reauthenticating &= !succeeds;
        Ok(())
    }
}
