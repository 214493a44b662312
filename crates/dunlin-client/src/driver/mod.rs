//! The driver: the one task that owns the connection, the Session and the subscriptions, and moves
//! bytes, commands and time between the world and the state machine.
//!
//! Nothing in here waits for a user. Streams and events are bounded queues that take or drop at
//! once; what is withheld to hold the Server back is the acknowledgement, never the reading. So
//! answers to our own messages arrive however slowly messages are consumed, and a task that
//! consumes messages may publish and wait for the outcome.

mod handshake;
mod held;
mod keeper;
mod leaving;
mod link;
mod messages;
mod restore;
mod routes;

use crate::authenticate::Authenticator;
use crate::reconnect::{Backoff, Reconnect};
use crate::shared::{Control, DisconnectReply, PublishReply, Queued, Settled, Shared};
use crate::stream::Pushed;
use crate::transport::Transport;
use crate::{
    ConnectError, ConnectionState, DisconnectCause, DisconnectError, Event, Foreign, PublishError,
    SessionChange, SessionStore, StoreError,
};
use dunlin_protocol::codec::{
    ConnAck, Connect, Disconnect, PacketIdentifier, ProtocolVersion, ReasonCode, Text,
};
use dunlin_protocol::{ClientEvent, ConnectionEnd, Progress, Session};
use handshake::is_old_refusal;
use held::Held;
use keeper::Keeper;
use link::Link;
use routes::Routes;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

/// A deadline that is never reached.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long the last packets, and the end, wait for the Session Store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Whether what is sent may have to wait for a Session Store.
    pub(crate) has_store: bool,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    config: Config,
    authenticator: Option<Box<dyn Authenticator>>,
    backoff: Backoff,
    session: Session,
    keeper: Option<Keeper>,
    /// Numbers the messages in the Session Store.
    next_number: u64,
    held: Held,
    /// Counts connections: an acknowledgement is good for one of them.
    connection: u64,
    was_accepted: bool,
    /// Whether nobody has answered the latest CONNECT: the Server may have begun a new Session, which
    /// it names as present the next time.
    is_unanswered: bool,
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
    /// Its number in the Session Store.
    number: Option<u64>,
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
    /// The Session as it was, until the Server has shown whether it is the right one.
    session: Option<Session>,
    /// What the Server speaks in place of MQTT.
    foreign: Option<Foreign>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Config,
        seed: u64,
        authenticator: Option<Box<dyn Authenticator>>,
        store: Option<Box<dyn SessionStore>>,
        first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    ) -> Self {
        Self {
            backoff: Backoff::new(config.reconnect.unwrap_or_default(), seed),
            shared,
            config,
            authenticator,
            session: Session::new(),
            keeper: store.map(Keeper::new),
            next_number: 1,
            held: Held::default(),
            connection: 0,
            was_accepted: false,
            is_unanswered: false,
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
        let mut cause = match self.restore().await {
            Ok(()) => self.run_until_over(&mut transport).await,
            Err(error) => DisconnectCause::Store(error),
        };
        if let Some(mut keeper) = self.keeper.take() {
            // Here the store is closed, so that whoever is told of the end can open it.
            let finished = timeout(STORE_TIMEOUT, keeper.finish()).await;
            if let Err(error) = finished.unwrap_or(Err(StoreError::Hangs)) {
                warn!(%error, "the session was not stored to the end");
                cause = DisconnectCause::Store(error);
            }
        }
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
            if let Some(error) = self.store_failure() {
                return DisconnectCause::Store(error);
            }
            let Some(at) = self.retry_at(&cause) else { return cause };
            debug!(%cause, "connection is sought again");
            self.shared.events.push(Event::Disconnected { cause, will_reconnect: true });
            if self.wait_offline(sleep_until(at)).await.is_none() {
                return self.store_failure().map_or(DisconnectCause::Local, DisconnectCause::Store);
            }
        }
    }

    fn store_failure(&self) -> Option<StoreError> {
        self.keeper.as_ref()?.failure().cloned()
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
    /// nothing is left to be sent, or the Session Store has failed.
    async fn wait_offline<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            self.take_controls();
            self.shared.take_acks(&mut self.acks);
            for settled in take(&mut self.acks) {
                self.acknowledge_offline(settled);
            }
            self.record_queued();
            if self.store_failure().is_some() {
                return None;
            }
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
            let (keeper, shared) = (&mut self.keeper, &self.shared);
            let awake = poll_fn(|cx| {
                let is_stored = keeper.as_mut().is_some_and(|keeper| keeper.poll(cx).is_ready());
                let inbox = shared.poll_inbox(cx, None);
                if is_stored { Poll::Ready(()) } else { inbox }
            });
            tokio::select! {
                output = &mut future => return Some(output),
                () = awake => {}
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

    async fn serve<Io: AsyncRead + AsyncWrite + Unpin>(&mut self, io: Io) -> Served {
        let now = self.shared.clock.now();
        self.connection += 1;
        let connect = self.next_connect();
        let session = take(&mut self.session);
        let untouched = self.authenticator.is_some().then(|| session.clone());
        let mut link = match Link::new(now, io, connect, &self.config, session) {
            Ok(link) => link,
            Err(error) => return Served::NotAccepted(ConnectError::NotEncodable(error)),
        };
        let mut course = Course { session: untouched, ..Course::default() };
        let mut armed = far();
        let mut deadline = pin!(sleep_until(armed));
        loop {
            let now = self.shared.clock.now();
            self.turn(now, &mut link, &mut course);
            if self.store_failure().is_some() {
                link.connection.handle_network_closed();
            }
            if link.connection.end().is_some() {
                break;
            }
            if let Some(keeper) = &self.keeper {
                link.hold(keeper.needed(), keeper.stored());
            }
            // An early deadline is harmless, so it is moved only when it must be.
            let wanted = self.deadline(&link);
            if wanted < armed || deadline.is_elapsed() {
                armed = wanted;
                deadline.as_mut().reset(armed);
            }
            let wants_publishes = link.connection.is_connected() && self.staged.is_empty();
            let (keeper, shared) = (&mut self.keeper, &self.shared);
            poll_fn(|cx| {
                let is_stored = keeper.as_mut().is_some_and(|keeper| keeper.poll(cx).is_ready());
                let turn = link.poll_turn(cx, shared, wants_publishes, deadline.as_mut());
                if is_stored { Poll::Ready(()) } else { turn }
            })
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
                self.record_settled(in_flight.packet_identifier);
                let _ = awaited.reply.send(Err(PublishError::PacketTooLarge));
            }
        }
        self.record_queued();
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
        if course.accepted_at.is_none() {
            course.foreign = course.foreign.or(Foreign::of(&link.input));
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
                    if let (Some(keeper), Some(number)) = (&mut self.keeper, awaited.number) {
                        keeper.record_first(SessionChange::Taken { number, packet_identifier });
                    }
                }
            }
            ClientEvent::Released(token) => {
                if let Some(keeper) = &mut self.keeper {
                    let packet_identifier = token.packet_identifier();
                    keeper.record_first(SessionChange::Released { packet_identifier });
                }
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
}

fn far() -> Instant {
    Instant::now() + FAR
}
