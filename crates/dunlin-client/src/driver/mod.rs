//! The driver: the one task that owns the connection, the Session and the subscriptions, and moves
//! bytes, commands and time between the world and the state machine.
//!
//! Nothing in here waits for a user. Streams and events are bounded queues that take or drop at
//! once; what is withheld to hold the Server back is the acknowledgement, never the reading. So
//! answers to our own messages arrive however slowly messages are consumed, and a task that
//! consumes messages may publish and wait for the outcome.

mod link;
mod routes;

use crate::authenticate::Authenticator;
use crate::received::Content;
use crate::reconnect::{Backoff, Reconnect};
use crate::shared::{Control, DisconnectReply, PendingAck, PublishReply, Queued, Settled, Shared};
use crate::stream::Pushed;
use crate::transport::Transport;
use crate::{
    ConnectError, ConnectionState, DisconnectCause, DisconnectError, Event, PublishAck,
    PublishError,
};
use dunlin_protocol::codec::{
    Auth, AuthProperties, ConnAck, Connect, Disconnect, PacketIdentifier, ProtocolVersion,
    ReasonCode, Text,
};
use dunlin_protocol::{
    Acknowledged, ClientEvent, ConnectionEnd, InFlight, Progress, PublishEvent, Session,
};
use link::Link;
use routes::Routes;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

/// Smaller payloads are copied out of the read buffer when they are queued, so that a message of
/// a few bytes doesn't pin all of it.
const SHARED_PAYLOAD_LEN_MIN: usize = 16 * 1024;

/// A deadline that is never reached.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the builder decided.
pub(crate) struct Config {
    pub(crate) connect: Connect,
    pub(crate) connect_timeout: Duration,
    pub(crate) in_flight_max: u16,
    pub(crate) topic_alias_outbound_max: u16,
    pub(crate) negotiate_version: bool,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) retry_first_connect: bool,
    pub(crate) restore_subscriptions: bool,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    config: Config,
    authenticator: Option<Box<dyn Authenticator>>,
    backoff: Backoff,
    session: Session,
    /// Counts connections: an acknowledgement is good for one of them.
    connection: u64,
    was_accepted: bool,
    routes: Routes,
    /// Taken from the queue, or lost with a Session, and not yet sent.
    staged: VecDeque<Queued>,
    in_flight: HashMap<PacketIdentifier, Awaited>,
    reauthentication: Option<oneshot::Sender<Result<(), DisconnectCause>>>,
    wants_reauthentication: bool,
    leaving: Option<Leaving>,
    first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why it ended; `None` while it runs, and when it was dropped.
    cause: Option<DisconnectCause>,
    acks: Vec<Settled>,
    dropped: Vec<Pushed>,
    events: Vec<Event>,
}

/// A message whose acknowledgement is awaited.
struct Awaited {
    reply: PublishReply,
    /// What the Server said when it received a QoS 2 message; its completion does not repeat it.
    receipt: ReasonCode,
}

struct Leaving {
    disconnect: Disconnect,
    deadline: Instant,
    replies: Vec<DisconnectReply>,
    outcome: Result<(), DisconnectError>,
}

/// How one connection went.
enum Served {
    NotAccepted(ConnectError),
    Lost { cause: DisconnectCause, lasted: Duration },
}

/// What came up on a connection that the final verdict needs.
#[derive(Default)]
struct Course {
    accepted_at: Option<Instant>,
    refusal: Option<Box<ConnAck>>,
    distrust: Option<Text>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Config,
        seed: u64,
        authenticator: Option<Box<dyn Authenticator>>,
        first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    ) -> Self {
        Self {
            backoff: Backoff::new(config.reconnect.unwrap_or_default(), seed),
            shared,
            config,
            authenticator,
            session: Session::new(),
            connection: 0,
            was_accepted: false,
            routes: Routes::default(),
            staged: VecDeque::new(),
            in_flight: HashMap::new(),
            reauthentication: None,
            wants_reauthentication: false,
            leaving: None,
            first,
            cause: None,
            acks: Vec::new(),
            dropped: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) async fn run<T: Transport>(mut self, mut transport: T) {
        let cause = self.run_until_over(&mut transport).await;
        debug!(%cause, "client is over");
        self.cause = Some(cause);
    }

    async fn run_until_over<T: Transport>(&mut self, transport: &mut T) -> DisconnectCause {
        loop {
            let served = match self.dial(transport).await {
                Ok(io) => self.serve(io).await,
                Err(error) => Served::NotAccepted(error),
            };
            let cause = match served {
                Served::NotAccepted(ConnectError::Abandoned) => DisconnectCause::Local,
                Served::NotAccepted(ConnectError::UnsupportedVersion(ProtocolVersion::V5))
                    if self.config.negotiate_version =>
                {
                    debug!("going on with MQTT 3.1.1");
                    self.config.connect.protocol_version = ProtocolVersion::V3_1_1;
                    self.config.connect.properties.receive_maximum = None;
                    continue;
                }
                Served::NotAccepted(error) => DisconnectCause::Connect(error),
                Served::Lost { cause, lasted } => {
                    self.backoff.connection_lasted(lasted);
                    cause
                }
            };
            let Some(at) = self.retry_at(&cause) else { return cause };
            debug!(%cause, "connection is sought again");
            self.shared.events.push(Event::Disconnected { cause, will_reconnect: true });
            if self.wait_offline(sleep_until(at)).await.is_none() {
                return DisconnectCause::Local;
            }
        }
    }

    /// When to try again, if at all; tells the state.
    fn retry_at(&mut self, cause: &DisconnectCause) -> Option<Instant> {
        let is_final = match cause {
            DisconnectCause::Local => true,
            // Two clients with one Client Identifier would throw each other out for ever.
            DisconnectCause::Ended(ConnectionEnd::Peer(disconnect)) => {
                disconnect.reason_code == ReasonCode::SessionTakenOver
            }
            _ => false,
        };
        let may_retry = self.was_accepted || self.config.retry_first_connect;
        if is_final || !may_retry || self.config.reconnect.is_none() {
            return None;
        }
        let (attempt, delay) = self.backoff.next()?;
        let now = Instant::now();
        let retry_at = now.checked_add(delay).unwrap_or(now + FAR);
        self.shared.state.send_replace(ConnectionState::Reconnecting { attempt, retry_at });
        Some(retry_at)
    }

    // ---- without a connection

    async fn dial<T: Transport>(&mut self, transport: &mut T) -> Result<T::Io, ConnectError> {
        let timeout = self.config.connect_timeout;
        let connecting = tokio::time::timeout(timeout, transport.connect());
        match self.wait_offline(connecting).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ConnectError::Timeout(timeout)),
            None => Err(ConnectError::Abandoned),
        }
    }

    /// Waits for the future and takes commands meanwhile; `None` when one of them is to leave and
    /// nothing is left to be sent.
    async fn wait_offline<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            self.take_controls();
            // No connection to acknowledge on.
            self.shared.take_acks(&mut self.acks);
            self.acks.clear();
            let mut leave_at = far();
            if let Some(leaving) = &mut self.leaving {
                let unfinished = self.staged.len() + self.in_flight.len() + self.shared.queue_len();
                if unfinished == 0 {
                    return None;
                }
                if Instant::now() >= leaving.deadline {
                    leaving.outcome = Err(DisconnectError::Unfinished(unfinished));
                    return None;
                }
                leave_at = leaving.deadline;
            }
            tokio::select! {
                output = &mut future => return Some(output),
                () = poll_fn(|cx| self.shared.poll_inbox(cx, None)) => {}
                () = sleep_until(leave_at) => {}
            }
        }
    }

    fn take_controls(&mut self) {
        while let Some(control) = self.shared.pop_control() {
            match control {
                Control::Subscribe(route) => self.routes.subscribe(*route),
                Control::Unsubscribe { topic_filters, reply } => {
                    self.routes.unsubscribe(topic_filters, reply);
                }
                Control::Detach { id, reply } => self.routes.detach(id, reply),
                Control::Disconnect { disconnect, deadline, reply } => {
                    self.shared.close_publishing();
                    let leaving = self.leaving.get_or_insert_with(|| Leaving {
                        disconnect,
                        deadline,
                        replies: Vec::new(),
                        outcome: Ok(()),
                    });
                    leaving.deadline = leaving.deadline.min(deadline);
                    leaving.replies.extend(reply);
                }
                Control::Reauthenticate(reply) => {
                    self.reauthentication = Some(reply);
                    self.wants_reauthentication = true;
                }
            }
        }
    }

    // ---- with a connection

    /// The CONNECT of the next connection. What is in flight is to be published anew when that
    /// asks for a new Session.
    fn next_connect(&mut self) -> Connect {
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
        }
        if let Some(authenticator) = &mut self.authenticator {
            connect.properties.authentication_method = Some(authenticator.method());
            connect.properties.authentication_data = authenticator.begin();
        }
        connect
    }

    /// Puts messages that were lost with their Session before all others; gives their number.
    fn publish_again(&mut self, lost: Vec<InFlight>) -> usize {
        let mut count = 0;
        for in_flight in lost.into_iter().rev() {
            let Some(Awaited { reply, receipt: reason_code }) =
                self.in_flight.remove(&in_flight.packet_identifier)
            else {
                continue;
            };
            match in_flight.message {
                Some(message) => {
                    self.staged.push_front(Queued::again(message, reply));
                    count += 1;
                }
                // The Server had it: PUBREC came.
                None => drop(reply.send(Ok(PublishAck { reason_code, reason_string: None }))),
            }
        }
        count
    }

    async fn serve<Io: AsyncRead + AsyncWrite + Unpin>(&mut self, io: Io) -> Served {
        let now = self.shared.clock.now();
        self.connection += 1;
        let connect = self.next_connect();
        let session = take(&mut self.session);
        let mut link = match Link::new(now, io, connect, &self.config, session) {
            Ok(link) => link,
            Err(error) => return Served::NotAccepted(ConnectError::NotEncodable(error)),
        };
        let mut course = Course::default();
        let mut armed = far();
        let mut deadline = pin!(sleep_until(armed));
        loop {
            let now = self.shared.clock.now();
            self.turn(now, &mut link, &mut course);
            if link.connection.end().is_some() {
                break;
            }
            // An early deadline is harmless, so it is moved only when it must be.
            let wanted = self.deadline(&link);
            if wanted < armed || deadline.is_elapsed() {
                armed = wanted;
                deadline.as_mut().reset(armed);
            }
            let wants_publishes = link.connection.is_connected() && self.staged.is_empty();
            poll_fn(|cx| link.poll_turn(cx, &self.shared, wants_publishes, deadline.as_mut()))
                .await;
        }
        self.conclude(link, course).await
    }

    fn deadline<Io: AsyncRead + AsyncWrite + Unpin>(&self, link: &Link<Io>) -> Instant {
        let protocol = link.connection.poll_timeout().and_then(|at| self.shared.clock.at(at));
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        protocol.into_iter().chain(leaving).min().unwrap_or_else(far)
    }

    /// Handles all that is there; the output is written afterwards, in one go.
    fn turn<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
        course: &mut Course,
    ) {
        self.take_input(now, link, course);
        link.check_eof();
        link.connection.handle_timeout(now, &mut link.out);
        if link.connection.end().is_some() {
            return;
        }
        self.shared.take_acks(&mut self.acks);
        if !self.acks.is_empty() {
            for settled in take(&mut self.acks) {
                self.acknowledge(now, settled, link);
            }
            // The state machine may have waited for them.
            self.take_input(now, link, course);
        }
        self.take_controls();
        self.routes.send_unsent(now, &mut link.connection, &mut link.out, &mut self.events);
        self.tell_events();
        self.start_reauthentication(now, link);
        let mut too_large = Vec::new();
        link.connection.poll_transmit(now, &mut link.out, &mut too_large);
        for in_flight in too_large {
            if let Some(awaited) = self.in_flight.remove(&in_flight.packet_identifier) {
                let _ = awaited.reply.send(Err(PublishError::PacketTooLarge));
            }
        }
        self.send_publishes(now, link);
        self.check_leaving(now, link);
    }

    fn tell_events(&mut self) {
        for event in self.events.drain(..) {
            self.shared.events.push(event);
        }
    }

    fn take_input<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
        course: &mut Course,
    ) {
        let before = link.out.len();
        if course.accepted_at.is_none() && is_old_refusal(&link.input, &link.connection) {
            course.refusal = Some(Box::new(ConnAck {
                session_present: false,
                reason_code: ReasonCode::UnsupportedProtocolVersion,
                properties: dunlin_protocol::codec::ConnAckProperties::default(),
            }));
            link.connection.handle_network_closed();
        }
        loop {
            match link.connection.handle_input(now, &mut link.input, &mut link.out) {
                Progress::Event(event) => self.on_event(now, event, link, course),
                Progress::Packet => {}
                Progress::NeedInput | Progress::Closed => break,
            }
        }
        link.answers_len += link.out.len().saturating_sub(before);
    }

    fn on_event<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        event: ClientEvent,
        link: &mut Link<Io>,
        course: &mut Course,
    ) {
        match event {
            ClientEvent::Publish(publish) => self.deliver(now, publish, link),
            ClientEvent::Acknowledged(acknowledged) => self.on_acknowledged(acknowledged),
            ClientEvent::Received { packet_identifier, reason_code } => {
                if let Some(awaited) = self.in_flight.get_mut(&packet_identifier) {
                    awaited.receipt = reason_code;
                }
            }
            ClientEvent::Released(token) => {
                // The identifier is known in memory alone: nothing to wait for.
                let acknowledged =
                    link.connection.acknowledge(now, token, ReasonCode::Success, &mut link.out);
                debug_assert!(acknowledged.is_ok(), "a release awaits its completion");
            }
            ClientEvent::SubAck(suback) => self.routes.on_suback(*suback, &mut self.events),
            ClientEvent::UnsubAck(unsuback) => self.routes.on_unsuback(&unsuback),
            ClientEvent::Connected { connack, lost } => {
                course.accepted_at = Some(Instant::now());
                self.on_connected(now, connack, lost, link, course);
            }
            ClientEvent::Refused(connack) => course.refusal = Some(connack),
            ClientEvent::Auth(auth) => self.on_auth(now, &auth, link, course),
            ClientEvent::Disconnect(disconnect) => {
                debug!(reason_code = %disconnect.reason_code, "the server disconnects");
            }
        }
    }

    fn on_connected<Io: AsyncRead + AsyncWrite + Unpin>(
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
            return distrust(now, reason, link, course);
        }
        let is_reconnect = std::mem::replace(&mut self.was_accepted, true);
        if let Some(identifier) = &connack.properties.assigned_client_identifier {
            self.config.connect.client_identifier = identifier.detached();
        }
        let session_present = connack.session_present
            // MQTT 3.1 cannot say so: the Session is there if it was asked for.
            || (link.connection.version() == ProtocolVersion::V3_1
                && !self.config.connect.clean_start);
        self.events.push(Event::Connected { session_present, connack });
        if session_present {
            self.routes.forget_resent();
            self.shared.events.forget_resent();
        } else {
            let republished = self.publish_again(lost) + self.staged_again();
            if is_reconnect {
                self.events.push(Event::SessionLost { republished });
            }
        }
        self.routes.on_connected(session_present, self.config.restore_subscriptions);
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

    fn deliver<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        publish: PublishEvent,
        link: &mut Link<Io>,
    ) {
        let PublishEvent { message, dup, subscription_identifiers, ack } = publish;
        let message_expiry_interval = message.message_expiry_interval(now);
        let is_small = message.payload.len() < SHARED_PAYLOAD_LEN_MIN;
        let message = if is_small { message.detached() } else { message };
        let content = Content { message, dup, subscription_identifiers, message_expiry_interval };
        let connection = self.connection;
        let ack = ack.map(|token| PendingAck { connection, token, joint: None });
        if let Err(stray) = self.routes.deliver(content, ack, &mut self.dropped) {
            self.dropped.extend(self.shared.events.push_message(*stray).map(Pushed::Dropped));
        }
        for pushed in take(&mut self.dropped) {
            let (delivered, reason_code) = match pushed {
                Pushed::Dropped(delivered) => (delivered, ReasonCode::Success),
                Pushed::Refused(delivered) => (delivered, ReasonCode::QuotaExceeded),
            };
            if let Some(settled) = delivered.ack.and_then(|ack| ack.settle(reason_code)) {
                self.acknowledge(now, settled, link);
            }
        }
    }

    fn acknowledge<Io: AsyncRead + AsyncWrite + Unpin>(
        &self,
        now: dunlin_protocol::Instant,
        settled: Settled,
        link: &mut Link<Io>,
    ) {
        if settled.connection != self.connection {
            return;
        }
        let is_v5 = link.connection.version().is_v5();
        let reason_code = if is_v5 { settled.reason_code } else { ReasonCode::Success };
        // A connection that has just ended takes no acknowledgement; the Server sends again.
        let _ = link.connection.acknowledge(now, settled.token, reason_code, &mut link.out);
    }

    fn on_acknowledged(&mut self, acknowledged: Acknowledged) {
        let Some(Awaited { reply, receipt }) =
            self.in_flight.remove(&acknowledged.packet_identifier)
        else {
            return;
        };
        let Acknowledged { mut reason_code, reason_string, .. } = acknowledged;
        if reason_code == ReasonCode::Success {
            reason_code = receipt;
        }
        let _ = reply.send(if reason_code.is_error() {
            Err(PublishError::Refused { reason_code, reason_string })
        } else {
            Ok(PublishAck { reason_code, reason_string })
        });
    }

    fn send_publishes<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
    ) {
        if !link.connection.is_connected() {
            return;
        }
        loop {
            if self.staged.is_empty() {
                self.shared.take_publishes(&link.appetite(), &mut self.staged);
            }
            let Some(queued) = self.staged.pop_front() else { return };
            if link.appetite().bytes == 0 {
                self.staged.push_front(queued);
                return;
            }
            let error = match link.connection.publish(now, &queued.message, &mut link.out) {
                Ok(Some(packet_identifier)) => {
                    let receipt = ReasonCode::Success;
                    let awaited = Awaited { reply: queued.reply, receipt };
                    self.in_flight.insert(packet_identifier, awaited);
                    continue;
                }
                Ok(None) => {
                    link.await_written(queued.reply);
                    continue;
                }
                Err(error) => error,
            };
            let error = match error {
                dunlin_protocol::PublishError::PacketTooLarge(_) => PublishError::PacketTooLarge,
                dunlin_protocol::PublishError::NotEncodable(_) => PublishError::PropertyTooLong,
                dunlin_protocol::PublishError::Expired => PublishError::Expired,
                dunlin_protocol::PublishError::QoSNotSupported => PublishError::QoSNotSupported,
                dunlin_protocol::PublishError::RetainNotSupported => {
                    PublishError::RetainNotSupported
                }
                _ => {
                    // No quota now, or no connection: it stays the next to be sent.
                    self.staged.push_front(queued);
                    return;
                }
            };
            let _ = queued.reply.send(Err(error));
        }
    }

    // ---- enhanced authentication

    fn on_auth<Io: AsyncRead + AsyncWrite + Unpin>(
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

    fn start_reauthentication<Io: AsyncRead + AsyncWrite + Unpin>(
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

    // ---- the end

    /// Leaves once everything is acknowledged, or the time is up.
    fn check_leaving<Io: AsyncRead + AsyncWrite + Unpin>(
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

    async fn conclude<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        mut link: Link<Io>,
        course: Course,
    ) -> Served {
        self.tell_events();
        let end = link.connection.end().cloned().unwrap_or(ConnectionEnd::Network);
        if let ConnectionEnd::Violation(violation) = &end {
            warn!(%violation, statement = violation.statement(), "the server broke the protocol");
        }
        self.session = link.connection.take_session();
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
        match cause {
            DisconnectCause::Ended(ConnectionEnd::ConnectTimeout) => {
                ConnectError::Timeout(self.config.connect_timeout)
            }
            DisconnectCause::Ended(end) => ConnectError::Ended(end),
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
fn is_old_refusal(input: &[u8], connection: &dunlin_protocol::ClientConnection) -> bool {
    connection.version().is_v5() && matches!(input, [0x20, 2, _, 1, ..])
}

fn far() -> Instant {
    Instant::now() + FAR
}
