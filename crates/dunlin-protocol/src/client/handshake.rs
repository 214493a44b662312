//! What the Server answers to CONNECT, and enhanced authentication.

use super::{ClientConnection, ServerLimits, State};
use crate::{ClientEvent, CommandError, ConnectionEnd, Instant, Violation};
use alloc::boxed::Box;
use alloc::vec::Vec;
use dunlin_codec::{Auth, ConnAck, Packet, ProtocolVersion, QoS, ReasonCode, TransmitBuf};

impl ClientConnection {
    pub(super) fn take_connack(&mut self, connack: Box<ConnAck>) -> Result<ClientEvent, Violation> {
        if connack.reason_code != ReasonCode::Success {
            self.engine.close(ConnectionEnd::Refused(connack.reason_code));
            return Ok(ClientEvent::Refused(connack));
        }
        if self.version().is_v5()
            && connack.properties.authentication_method
                != self.config.connect.properties.authentication_method
        {
            return Err(Violation::AuthenticationMethod);
        }
        let mut lost = Vec::new();
        match (connack.session_present, self.resumable.take()) {
            (true, Some(session)) => self.engine.resume(session),
            // A Clean Start was asked for [MQTT-3.1.2-4] [MQTT-3.2.2-4].
            (true, None) => return Err(Violation::SessionPresent),
            // MQTT 3.1 cannot say that a Session is present: it is, if it was asked for.
            (false, Some(mut session)) if self.version() == ProtocolVersion::V3_1 => {
                session.doubt_received();
                self.engine.resume(session);
            }
            (false, session) => {
                lost = session.map(|mut session| session.take_in_flight()).unwrap_or_default();
            }
        }
        let properties = &connack.properties;
        let in_flight_max = self.config.in_flight_max;
        self.engine.set_peer_receive_maximum(
            properties.receive_maximum.unwrap_or(u16::MAX).min(in_flight_max),
        );
        self.engine.set_peer_packet_size_max(properties.maximum_packet_size.unwrap_or(u32::MAX));
        if self.version().is_v5() {
            if let Some(secs) = properties.session_expiry_interval {
                self.session_ends_with_connection = secs == 0;
            }
            let outbound_max = properties.topic_alias_maximum.unwrap_or(0);
            self.engine.set_aliases(
                self.config.connect.properties.topic_alias_maximum.unwrap_or(0),
                outbound_max.min(self.config.topic_alias_outbound_max),
            );
        }
        if let Some(keep_alive_secs) = properties.server_keep_alive {
            self.keep_alive_secs = keep_alive_secs;
        }
        self.server = ServerLimits {
            maximum_qos: properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain: properties.retain_available.unwrap_or(true),
            wildcard_subscriptions: properties.wildcard_subscription_available.unwrap_or(true),
            subscription_identifiers: properties.subscription_identifiers_available.unwrap_or(true),
            shared_subscriptions: properties.shared_subscription_available.unwrap_or(true),
        };
        self.state = State::Connected;
        self.engine.established = true;
        Ok(ClientEvent::Connected { connack, lost })
    }

    pub(super) fn check_method(&self, auth: &Auth) -> Result<(), Violation> {
        let known = self.config.connect.properties.authentication_method.as_ref();
        if known.is_none() || auth.properties.authentication_method.as_ref() != known {
            return Err(Violation::AuthenticationMethod);
        }
        Ok(())
    }

    /// Sends a step of enhanced authentication; with [`ReasonCode::ReAuthenticate`] it begins a
    /// re-authentication. The method of the CONNECT is filled in [MQTT-4.12.1-1].
    ///
    /// # Errors
    /// [`CommandError::State`] when CONNECT named no method, or the connection is over.
    pub fn auth(
        &mut self,
        now: Instant,
        mut auth: Auth,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        let method = self.config.connect.properties.authentication_method.clone();
        let connected = self.state == State::Connected;
        let possible = match auth.reason_code {
            ReasonCode::ReAuthenticate => connected && !self.engine.reauthenticating,
            ReasonCode::ContinueAuthentication => !connected || self.engine.reauthenticating,
            _ => false,
        };
        if method.is_none() || self.engine.is_closed() || !possible {
            return Err(CommandError::State);
        }
        auth.properties.authentication_method = method;
        self.engine.send(now, &Packet::Auth(Box::new(auth)), out)?;
        self.engine.reauthenticating = connected;
        Ok(())
    }
}
