//! From CONNECT to CONNACK: what is asked for, what a lost Session means, and enhanced
//! authentication.

use super::link::Link;
use super::routes::Known;
use super::{Awaited, Course, Driver};
use crate::shared::Queued;
use crate::{ConnectionState, DisconnectCause, Event, PublishAck, SessionChange};
use dunlin_protocol::codec::{
    Auth, AuthProperties, ConnAck, Connect, Disconnect, ProtocolVersion, ReasonCode, Text,
};
use dunlin_protocol::{ClientConnection, InFlight, Session};
use tokio::io::{AsyncRead, AsyncWrite};

impl Driver {
    /// The CONNECT of the next connection. What is in flight is to be published anew when that
    /// asks for a new Session.
    pub(super) fn next_connect(&mut self) -> Connect {
        let mut connect = self.config.connect.clone();
        let keeps_session = connect.protocol_version.is_v5()
            && connect.properties.session_expiry_interval.unwrap_or(0) > 0;
        if self.was_accepted && keeps_session {
            connect.clean_start = false;
        }
        if connect.clean_start {
            let lost = self.session.take_in_flight();
            self.session = Session::new();
            self.publish_again(lost);
            self.forget_session();
        }
        if let Some(authenticator) = &mut self.authenticator {
            connect.properties.authentication_method = Some(authenticator.method());
            connect.properties.authentication_data = authenticator.begin();
        }
        connect
    }

    /// The Server has no Session, or is about to throw it away.
    fn forget_session(&mut self) {
        self.held.clear();
        if let Some(keeper) = &mut self.keeper {
            keeper.record_first(SessionChange::Lost);
        }
    }

    /// Puts messages that were lost with their Session before all others; gives their number.
    fn publish_again(&mut self, lost: Vec<InFlight>) -> usize {
        let mut count = 0;
        for in_flight in lost.into_iter().rev() {
            let Some(Awaited { reply, number, receipt: reason_code }) =
                self.in_flight.remove(&in_flight.packet_identifier)
            else {
                continue;
            };
            match in_flight.message {
                Some(message) => {
                    self.staged.push_front(Queued::again(message, reply, number));
                    count += 1;
                }
                // The Server had it: PUBREC came.
                None => drop(reply.send(Ok(PublishAck { reason_code, reason_string: None }))),
            }
        }
        count
    }

    pub(super) fn on_connected<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        connack: Box<ConnAck>,
        lost: Vec<InFlight>,
        link: &mut Link<Io>,
        course: &mut Course,
    ) {
        if let Some(authenticator) = &mut self.authenticator
            && let Err(reason) =
                authenticator.finish(connack.properties.authentication_data.as_ref())
        {
            // What it says of the Session counts as little.
            return distrust(now, reason, link, course);
        }
        course.session = None;
        let is_reconnect = std::mem::replace(&mut self.was_accepted, true);
        if let Some(identifier) = &connack.properties.assigned_client_identifier {
            self.config.connect.client_identifier = identifier.detached();
        }
        let session_present = connack.session_present
            // MQTT 3.1 cannot say so: the Session is there if it was asked for.
            || (link.connection.version() == ProtocolVersion::V3_1
                && !self.config.connect.clean_start);
        self.events.push(Event::Connected { session_present, connack });
        let is_unanswered = std::mem::take(&mut self.is_unanswered);
        let known = match session_present {
            false => Known::Lost,
            true if is_unanswered => Known::Unsure,
            true => Known::Kept,
        };
        if known == Known::Kept {
            self.routes.forget_resent();
            self.shared.events.forget_resent();
        } else if known == Known::Lost {
            let republished = self.publish_again(lost) + self.staged_again();
            self.forget_session();
            if is_reconnect {
                self.events.push(Event::SessionLost { republished });
            }
        }
        self.routes.on_connected(known, self.config.restore_subscriptions);
        self.tell_events();
        self.shared.state.send_replace(ConnectionState::Connected);
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
    }

    /// How many messages a Clean Start has already put back, see [`Driver::next_connect`].
    fn staged_again(&self) -> usize {
        if self.config.connect.clean_start { self.staged.len() } else { 0 }
    }
    // ---- enhanced authentication

    pub(super) fn on_auth<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        auth: &Auth,
        link: &mut Link<Io>,
        course: &mut Course,
    ) {
        let Some(authenticator) = &mut self.authenticator else { return };
        let data = auth.properties.authentication_data.as_ref();
        if auth.reason_code == ReasonCode::ContinueAuthentication {
            match authenticator.respond(data) {
                Ok(answer) => send_auth(now, ReasonCode::ContinueAuthentication, answer, link),
                Err(reason) => distrust(now, reason, link, course),
            }
        } else if let Err(reason) = authenticator.finish(data) {
            distrust(now, reason, link, course);
        } else if let Some(reply) = self.reauthentication.take() {
            let _ = reply.send(Ok(()));
        }
    }

    pub(super) fn start_reauthentication<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
    ) {
        if !self.wants_reauthentication {
            return;
        }
        self.wants_reauthentication = false;
        match &mut self.authenticator {
            Some(authenticator) if link.connection.is_connected() => {
                send_auth(now, ReasonCode::ReAuthenticate, authenticator.begin(), link);
            }
            _ => {
                let reply = self.reauthentication.take();
                reply.map(|reply| reply.send(Err(DisconnectCause::Local)));
            }
        }
    }
}

/// Gives the connection up because the authenticator does.
fn distrust<Io>(
    now: dunlin_protocol::Instant,
    reason: Text,
    link: &mut Link<Io>,
    course: &mut Course,
) {
    course.distrust = Some(reason);
    let disconnect = Disconnect::new(ReasonCode::NotAuthorized);
    let _ = link.connection.disconnect(now, &disconnect, &mut link.out);
}

fn send_auth<Io>(
    now: dunlin_protocol::Instant,
    reason_code: ReasonCode,
    authentication_data: Option<bytes::Bytes>,
    link: &mut Link<Io>,
) {
    let properties = AuthProperties { authentication_data, ..AuthProperties::default() };
    let auth = Auth { reason_code, properties };
    // It fails only on a connection that has just ended, which is told elsewhere.
    let _ = link.connection.auth(now, auth, &mut link.out);
}

/// A Server that knows only MQTT 3.x refuses a CONNECT of 5.0 in the form of 3.x, which is not
/// legal in 5.0.
pub(super) fn is_old_refusal(input: &[u8], connection: &ClientConnection) -> bool {
    connection.version().is_v5() && matches!(input, [0x20, 2, _, 1, ..])
}
