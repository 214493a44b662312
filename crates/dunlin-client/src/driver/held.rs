//! QoS 2 messages of the Server that the application has and has not acknowledged.
//!
//! The Session of a connection counts such a message as received, and answers its repetition by
//! itself. With a Session Store that would be too early: PUBREC is what the Server forgets the
//! message on, and a crash would lose it. So its Packet Identifier leaves the Session with the
//! connection, and this is what tells a repetition from a new message.

use crate::shared::Settled;
use dunlin_protocol::codec::{PacketIdentifier, ReasonCode};
use dunlin_protocol::{AckToken, Session};
use std::collections::HashMap;

#[derive(Default)]
pub(crate) struct Held(HashMap<PacketIdentifier, Message>);

struct Message {
    token: AckToken,
    /// The connection on which the application got it.
    given_on: u64,
    /// The latest connection on which the Server has sent it.
    sent_on: u64,
    /// What the application has said since the latest connection was lost.
    answer: Option<ReasonCode>,
    /// Whether its Session may be over.
    is_in_doubt: bool,
}

/// What a QoS 2 PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// The application has it already, and may still acknowledge it.
    Repeated,
    /// The application has acknowledged it already.
    Answered(ReasonCode),
}

/// What an acknowledgement of the application is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It can be sent now.
    Now,
    /// It waits for the Server to repeat the message.
    Later,
    /// It is not for a message that is held.
    NotHeld,
}

impl Held {
    /// A QoS 2 message came on this connection.
    pub(crate) fn on_publish(&mut self, token: AckToken, connection: u64, dup: bool) -> Arrival {
        let packet_identifier = token.packet_identifier();
        let known = self.0.get_mut(&packet_identifier);
        // Of a Session that began unseen: a repetition would say so [MQTT-3.3.1-1].
        let Some(message) = known.filter(|message| dup || !message.is_in_doubt) else {
            let message = Message {
                token,
                given_on: connection,
                sent_on: connection,
                answer: None,
                is_in_doubt: false,
            };
            self.0.insert(packet_identifier, message);
            return Arrival::New;
        };
        message.is_in_doubt = false;
        if let Some(reason_code) = message.answer {
            self.0.remove(&packet_identifier);
            return Arrival::Answered(reason_code);
        }
        message.sent_on = connection;
        Arrival::Repeated
    }

    /// The application acknowledges or refuses; `connection` is the present one.
    pub(crate) fn on_settled(
        &mut self,
        settled: &Settled,
        reason_code: ReasonCode,
        connection: Option<u64>,
    ) -> Answer {
        let packet_identifier = settled.token.packet_identifier();
        let Some(message) = self.0.get_mut(&packet_identifier) else { return Answer::NotHeld };
        if message.token != settled.token || message.given_on != settled.connection {
            return Answer::NotHeld;
        }
        if Some(message.sent_on) == connection {
            self.0.remove(&packet_identifier);
            return Answer::Now;
        }
        message.answer = Some(reason_code);
        Answer::Later
    }

    /// The Session leaves its connection.
    pub(crate) fn withhold(&self, session: &mut Session) {
        for packet_identifier in self.0.keys() {
            session.forget_received(*packet_identifier);
        }
    }

    /// The Server may have begun a new Session, and uses the Packet Identifiers for others then.
    pub(crate) fn doubt(&mut self) {
        self.0.values_mut().for_each(|message| message.is_in_doubt = true);
    }

    /// The Server has lost the Session: whatever it sends is new.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
