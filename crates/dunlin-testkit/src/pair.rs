//! A Client and a Server joined by an in-memory link, with time moved by hand.

use crate::{Clock, End, Link, LinkOptions, Observer, ServerLogic, Side, connect};
use core::time::Duration;
use dunlin_codec::{ProtocolVersion, TransmitBuf};
use dunlin_protocol::{
    ClientConfig, ClientConnection, ClientEvent, ConnectionEnd, Instant, ServerConfig,
    ServerConnection, ServerEvent, Session,
};
use std::sync::Arc;

/// A [`ClientConnection`] and a [`ServerConnection`] on one link, and what outlives them.
///
/// [`Pair::connect`] begins a Network Connection; the Sessions of both ends are kept from one to
/// the next. Nothing happens until time moves: [`Pair::advance`], [`Pair::settle`]. All that passes
/// over the wire is judged by an [`Observer`].
#[derive(Debug)]
pub struct Pair {
    /// The time of both ends.
    pub clock: Clock,
    /// The Client; `None` while there is no Network Connection.
    pub client: Option<End<ClientConnection>>,
    /// The Server; `None` while there is no Network Connection.
    pub server: Option<End<ServerConnection>>,
    /// What the Client asks for with its next CONNECT.
    pub client_config: ClientConfig,
    /// The Server's limits for the next connection.
    pub server_config: ServerConfig,
    /// The owner of the Server's end.
    pub logic: ServerLogic,
    /// The Client's Session while it is away.
    pub client_session: Session,
    /// What the next links are like.
    pub link_options: LinkOptions,
    /// From Client to Server.
    pub up: Link,
    /// From Server to Client.
    pub down: Link,
    /// Judges the wire.
    pub observer: Observer,
    /// Whether the ends acknowledge at once, on connections that begin from now on.
    pub acknowledge: bool,
    /// How the last connection ended, for Client and Server.
    pub ends: (Option<ConnectionEnd>, Option<ConnectionEnd>),
    /// Events of connections that are over.
    client_events: Vec<ClientEvent>,
    server_events: Vec<ServerEvent>,
}

impl Pair {
    /// A pair without a Network Connection; the Client asks for its Session to be kept.
    pub fn new(version: ProtocolVersion) -> Self {
        Self {
            clock: Clock::default(),
            client: None,
            server: None,
            client_config: ClientConfig {
                connect: connect(version),
                connect_timeout: Duration::from_secs(10),
                in_flight_max: u16::MAX,
                topic_alias_outbound_max: 8,
            },
            server_config: ServerConfig::default(),
            logic: ServerLogic::default(),
            client_session: Session::new(),
            link_options: LinkOptions::default(),
            up: Link::default(),
            down: Link::default(),
            observer: Observer::default(),
            acknowledge: true,
            ends: (None, None),
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    /// A pair that has connected, its events taken.
    ///
    /// # Panics
    /// When the connection does not come about.
    pub fn connected(version: ProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        pair.connect_and_settle();
        pair
    }

    /// The present moment.
    pub const fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Begins a Network Connection. One that the Server still holds is taken over.
    ///
    /// # Panics
    /// When CONNECT can't be written.
    pub fn connect(&mut self) {
        self.close_client();
        self.close_server();
        self.up = Link::new(self.link_options);
        self.down = Link::new(self.link_options);
        self.observer.new_connection(self.client_config.connect.protocol_version);
        let (now, mut out) = (self.now(), TransmitBuf::new());
        let session = core::mem::take(&mut self.client_session);
        let client = ClientConnection::new(now, self.client_config.clone(), session, &mut out);
        let mut client = End::new(client.expect("CONNECT can be written"), out);
        let config = Arc::new(self.server_config.clone());
        let mut server = End::new(ServerConnection::new(now, config), TransmitBuf::new());
        client.acknowledges = self.acknowledge;
        server.acknowledges = self.acknowledge;
        self.client = Some(client);
        self.server = Some(server);
    }

    /// Connects, waits until it is done, and takes the events.
    ///
    /// # Panics
    /// When the connection does not come about.
    pub fn connect_and_settle(&mut self) {
        self.connect();
        self.settle();
        assert!(self.client().connection.is_connected(), "{:?}", self.ends);
        self.take_client_events();
        self.take_server_events();
    }

    /// The Client's end.
    ///
    /// # Panics
    /// When there is no Network Connection.
    pub fn client(&mut self) -> &mut End<ClientConnection> {
        self.client.as_mut().expect("the Client has a Network Connection")
    }

    /// The Server's end.
    ///
    /// # Panics
    /// When there is no Network Connection.
    pub fn server(&mut self) -> &mut End<ServerConnection> {
        self.server.as_mut().expect("the Server has a Network Connection")
    }

    /// What happened at the Client's end, on connections that are over as well.
    pub fn take_client_events(&mut self) -> Vec<ClientEvent> {
        let mut events = core::mem::take(&mut self.client_events);
        events.extend(self.client.iter_mut().flat_map(|client| client.events.drain(..)));
        events
    }

    /// What happened at the Server's end, on connections that are over as well.
    pub fn take_server_events(&mut self) -> Vec<ServerEvent> {
        let mut events = core::mem::take(&mut self.server_events);
        events.extend(self.server.iter_mut().flat_map(|server| server.events.drain(..)));
        events
    }

    /// Breaks the Network Connection now; both ends learn of it.
    pub fn cut(&mut self) {
        self.cut_unnoticed();
        self.close_server();
    }

    /// Breaks the Network Connection now; the Server learns of it when the Client comes back, or
    /// by its Keep Alive.
    pub fn cut_unnoticed(&mut self) {
        self.up.cut();
        self.down.cut();
        self.close_client();
    }

    fn close_client(&mut self) {
        if let Some(mut client) = self.client.take() {
            // Written to a connection that is gone.
            self.observer.sent(Side::Client, &client.take_output());
            client.connection.handle_network_closed();
            self.ends.0 = client.connection.end().cloned();
            self.client_session = client.connection.take_session();
            self.client_events.extend(client.events);
        }
    }

    fn close_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.observer.sent(Side::Server, &server.take_output());
            server.connection.handle_network_closed();
            self.ends.1 = server.connection.end().cloned();
            self.logic.keep_session(&mut server.connection);
            self.server_events.extend(server.events);
        }
    }

    /// Does all that can be done at the present moment.
    pub fn run(&mut self) {
        loop {
            let mut moved = self.deliver();
            moved |= self.run_server();
            moved |= self.run_client();
            if self.up.is_cut() || self.down.is_cut() {
                self.cut_unnoticed();
            }
            if !moved {
                break;
            }
        }
        self.close_what_has_ended();
    }

    fn deliver(&mut self) -> bool {
        let (now, mut moved) = (self.now(), false);
        while let Some(part) = self.up.receive(now) {
            if let Some(server) = &mut self.server {
                server.input.extend_from_slice(&part);
            }
            moved = true;
        }
        while let Some(part) = self.down.receive(now) {
            if let Some(client) = &mut self.client {
                client.input.extend_from_slice(&part);
            }
            moved = true;
        }
        moved
    }

    fn run_server(&mut self) -> bool {
        let now = self.now();
        let Some(server) = &mut self.server else { return false };
        let (logic, input) = (&mut self.logic, server.input.clone());
        server.run(now, &mut |connection, event, out| logic.react(now, connection, event, out));
        self.observer.delivered(Side::Client, &input[..input.len() - server.input.len()]);
        let output = server.take_output();
        self.observer.sent(Side::Server, &output);
        self.down.send(now, &output);
        !output.is_empty()
    }

    fn run_client(&mut self) -> bool {
        let now = self.now();
        let Some(client) = &mut self.client else { return false };
        let input = client.input.clone();
        client.run(now, &mut |connection, event, out| {
            if let ClientEvent::Auth(auth) = event
                && auth.reason_code == dunlin_codec::ReasonCode::ContinueAuthentication
            {
                let mut reply = auth.clone();
                reply.properties.authentication_data = Some("reply".into());
                connection.auth(now, *reply, out).expect("a challenge is answered");
            }
        });
        self.observer.delivered(Side::Server, &input[..input.len() - client.input.len()]);
        let output = client.take_output();
        self.observer.sent(Side::Client, &output);
        self.up.send(now, &output);
        !output.is_empty()
    }

    /// An end that is over closes the Network Connection once its last bytes have arrived.
    fn close_what_has_ended(&mut self) {
        let is_over = |end: Option<&ConnectionEnd>| end.is_some();
        let server = self.server.as_ref().is_some_and(|end| is_over(end.connection.end()));
        let client = self.client.as_ref().is_some_and(|end| is_over(end.connection.end()));
        if (server && self.down.is_empty()) || (client && self.up.is_empty()) {
            self.up.cut();
            self.down.cut();
            self.close_client();
            self.close_server();
        }
    }

    /// Moves time on, with all that happens on the way.
    pub fn advance(&mut self, duration: Duration) {
        let target = self.now() + duration;
        self.run();
        while let Some(next) = self.next_moment(true).filter(|next| *next <= target) {
            self.clock.advance_to(next);
            self.run();
        }
        self.clock.advance_to(target);
        self.run();
    }

    /// Moves time on until nothing is under way; deadlines that lie beyond don't count.
    pub fn settle(&mut self) {
        self.run();
        while let Some(next) = self.next_moment(false) {
            self.clock.advance_to(next);
            self.run();
        }
    }

    fn next_moment(&self, deadlines: bool) -> Option<Instant> {
        let client = self.client.as_ref().and_then(|end| end.connection.poll_timeout());
        let server = self.server.as_ref().and_then(|end| end.connection.poll_timeout());
        let deadlines = client.into_iter().chain(server).filter(|_| deadlines);
        let arrivals = self.up.next_arrival().into_iter().chain(self.down.next_arrival());
        deadlines.chain(arrivals).min()
    }
}
