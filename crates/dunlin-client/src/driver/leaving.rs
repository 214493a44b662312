//! The end of a connection, and of the client.

use super::link::Link;
use super::{Course, Driver, STORE_TIMEOUT, Served};
use crate::{ConnectError, DisconnectCause, DisconnectError, Event, PublishError};
use dunlin_protocol::ConnectionEnd;
use dunlin_protocol::codec::ReasonCode;
#[cfg(feature = "tls")]
use dunlin_transport::tls::TlsFault;
use std::mem::take;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tracing::warn;

impl Driver {
    /// Leaves once everything is acknowledged, or the time is up.
    pub(super) fn check_leaving<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
    ) {
        let Some(leaving) = &mut self.leaving else { return };
        let unfinished = self.staged.len() + self.in_flight.len() + self.shared.queue_len();
        if unfinished > 0 && Instant::now() < leaving.deadline {
            return;
        }
        if unfinished > 0 {
            leaving.outcome = Err(DisconnectError::Unfinished(unfinished));
        }
        if link.connection.disconnect(now, &leaving.disconnect, &mut link.out).is_err() {
            leaving.outcome = Err(DisconnectError::NotAllowed);
            link.connection.handle_network_closed();
        }
    }

    pub(super) async fn conclude<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        mut link: Link<Io>,
        mut course: Course,
    ) -> Served {
        self.tell_events();
        let end = link.connection.end().cloned().unwrap_or(ConnectionEnd::Network);
        if let ConnectionEnd::Violation(violation) = &end {
            warn!(%violation, statement = violation.statement(), "the server broke the protocol");
        }
        self.session = link.connection.take_session();
        if course.distrust.is_some()
            && let Some(session) = course.session.take()
        {
            self.session = session;
        }
        let is_trusted = course.accepted_at.is_some() && course.distrust.is_none();
        if !is_trusted && course.refusal.is_none() {
            self.is_unanswered = true;
            self.held.doubt();
        }
        self.held.withhold(&mut self.session);
        if let Some(keeper) = &mut self.keeper {
            match timeout(STORE_TIMEOUT, keeper.finish()).await {
                Ok(Ok(())) => link.hold(keeper.needed(), keeper.stored()),
                // What can't be stored is not said.
                Ok(Err(_)) | Err(_) => link.discard(),
            }
        }
        let farewell_is_awaited = matches!(end, ConnectionEnd::Local(_));
        link.say_farewell(farewell_is_awaited).await;
        for reply in link.take_unwritten() {
            let _ = reply.send(Err(PublishError::ConnectionLost));
        }
        if self.leaving.is_some() && matches!(end, ConnectionEnd::Local(_)) {
            return match course.accepted_at {
                Some(at) => Served::Lost { cause: DisconnectCause::Local, lasted: at.elapsed() },
                None => Served::NotAccepted(ConnectError::Abandoned),
            };
        }
        let cause = match (end, link.failure) {
            (ConnectionEnd::Network, Some(error)) => DisconnectCause::Transport(error),
            (end, _) => DisconnectCause::Ended(end),
        };
        if let Some(reply) = self.reauthentication.take() {
            let _ = reply.send(Err(cause.clone()));
        }
        if let (Some(at), None) = (course.accepted_at, &course.distrust) {
            return Served::Lost { cause, lasted: at.elapsed() };
        }
        Served::NotAccepted(self.connect_error(course, cause))
    }

    fn connect_error(&self, course: Course, cause: DisconnectCause) -> ConnectError {
        if let Some(reason) = course.distrust {
            return ConnectError::Authentication(reason);
        }
        if let Some(connack) = course.refusal {
            if connack.reason_code == ReasonCode::UnsupportedProtocolVersion {
                return ConnectError::UnsupportedVersion(self.config.connect.protocol_version);
            }
            return ConnectError::Refused {
                reason_code: connack.reason_code,
                reason_string: connack.properties.reason_string,
                server_reference: connack.properties.server_reference,
            };
        }
        if let Some(foreign) = course.foreign {
            return ConnectError::NotMqtt(foreign);
        }
        match cause {
            DisconnectCause::Ended(ConnectionEnd::ConnectTimeout) => {
                ConnectError::Timeout(self.config.connect_timeout)
            }
            DisconnectCause::Ended(end) => ConnectError::Ended(end),
            #[cfg(feature = "tls")]
            DisconnectCause::Transport(source) if TlsFault::of(&source).is_some() => {
                ConnectError::Tls { peer: "the server".to_owned(), source }
            }
            DisconnectCause::Transport(source) => {
                ConnectError::Transport { peer: "the server".to_owned(), source }
            }
            _ => ConnectError::Ended(ConnectionEnd::Network),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let cause = self.cause.take().unwrap_or(DisconnectCause::DriverGone);
        if let Some(first) = self.first.take() {
            let error = match &cause {
                DisconnectCause::Connect(error) => error.clone(),
                DisconnectCause::Store(error) => ConnectError::Store(error.clone()),
                _ => ConnectError::Abandoned,
            };
            let _ = first.send(Err(error));
        }
        let event = Event::Disconnected { cause: cause.clone(), will_reconnect: false };
        self.shared.events.push(event);
        let is_local = matches!(cause, DisconnectCause::Local);
        self.shared.close(cause);
        self.routes.close();
        let staged = take(&mut self.staged).into_iter().map(|queued| queued.reply);
        let in_flight = take(&mut self.in_flight).into_values().map(|awaited| awaited.reply);
        for reply in staged.chain(in_flight) {
            let _ = reply.send(Err(PublishError::Disconnected));
        }
        if let Some(leaving) = self.leaving.take() {
            let outcome =
                if is_local { leaving.outcome } else { Err(DisconnectError::Disconnected) };
            for reply in leaving.replies {
                let _ = reply.send(outcome);
            }
        }
    }
}
