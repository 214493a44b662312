//! As much of a Server as a test of connections needs: it accepts everybody and keeps Sessions.

use dunlin_codec::{
    Auth, AuthProperties, ConnAckProperties, Connect, ReasonCode, SubAck, TransmitBuf, UnsubAck,
};
use dunlin_protocol::{Instant, ServerConnection, ServerEvent, Session};
use std::collections::BTreeMap;

/// The owner's part of a [`ServerConnection`].
#[derive(Debug, Default)]
pub struct ServerLogic {
    /// The Sessions of the Clients that are away, by Client Identifier.
    pub sessions: BTreeMap<String, Session>,
    /// The Client Identifier of the present connection.
    pub client_identifier: Option<String>,
    /// What CONNACK carries beside the limits of the connection's configuration.
    pub connack: ConnAckProperties,
    /// How many challenges a Client must answer that asks for enhanced authentication.
    pub challenges: u32,
    challenges_left: u32,
    pending: Option<Box<Connect>>,
}

impl ServerLogic {
    /// Answers an event where the protocol asks for an answer.
    pub fn react(
        &mut self,
        now: Instant,
        connection: &mut ServerConnection,
        event: &ServerEvent,
        out: &mut TransmitBuf,
    ) {
        match event {
            ServerEvent::Connect(connect) => {
                self.challenges_left = match connect.properties.authentication_method {
                    Some(_) => self.challenges,
                    None => 0,
                };
                self.pending = Some(connect.clone());
                self.decide(now, connection, out);
            }
            ServerEvent::Auth(auth) => {
                if auth.reason_code == ReasonCode::ReAuthenticate {
                    self.challenges_left = self.challenges;
                }
                self.decide(now, connection, out);
            }
            ServerEvent::Subscribe(subscribe) => {
                let granted = subscribe.subscriptions.iter().map(|subscription| {
                    ReasonCode::new(subscription.options.maximum_qos.value())
                        .expect("a QoS is a Reason Code")
                });
                let suback = SubAck {
                    packet_identifier: subscribe.packet_identifier,
                    properties: Default::default(),
                    reason_codes: granted.collect(),
                };
                connection.suback(now, suback, out).expect("SUBACK fits");
            }
            ServerEvent::Unsubscribe(unsubscribe) => {
                let unsuback = UnsubAck {
                    packet_identifier: unsubscribe.packet_identifier,
                    properties: Default::default(),
                    reason_codes: vec![ReasonCode::Success; unsubscribe.topic_filters.len()],
                };
                connection.unsuback(now, unsuback, out).expect("UNSUBACK fits");
            }
            _ => {}
        }
    }

    fn decide(&mut self, now: Instant, connection: &mut ServerConnection, out: &mut TransmitBuf) {
        if self.challenges_left > 0 {
            self.challenges_left -= 1;
            let step = auth(ReasonCode::ContinueAuthentication);
            connection.auth(now, step, out).expect("a challenge is possible");
        } else if let Some(connect) = self.pending.take() {
            self.accept(now, connection, &connect, out);
        } else {
            connection.auth(now, auth(ReasonCode::Success), out).expect("success is possible");
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        connection: &mut ServerConnection,
        connect: &Connect,
        out: &mut TransmitBuf,
    ) {
        let client_identifier = connect.client_identifier.to_string();
        let kept = self.sessions.remove(&client_identifier);
        let kept = kept.filter(|_| !connect.clean_start);
        let session_present = kept.is_some();
        self.client_identifier = Some(client_identifier);
        connection
            .accept(now, kept.unwrap_or_default(), session_present, self.connack.clone(), out)
            .expect("a CONNECT awaits its answer");
    }

    /// Keeps the Session of a connection that is over.
    pub fn keep_session(&mut self, connection: &mut ServerConnection) {
        if let Some(client_identifier) = self.client_identifier.take() {
            self.sessions.insert(client_identifier, connection.take_session());
        }
    }
}

fn auth(reason_code: ReasonCode) -> Auth {
    Auth { reason_code, properties: AuthProperties::default() }
}
