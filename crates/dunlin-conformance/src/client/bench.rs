//! What a check of a client works with: the place where the client connects, and the situations
//! that it may come to be in.

use super::player::Player;
use super::visitor::matching;
use super::{Client, Habits, Seat, Target, Visitor};
use crate::peer::Incoming;
use crate::runner::INTERRUPTED;
use crate::{Exchange, Peer, Stop, failed, skipped};
use dunlin_codec::{
    ConnAckProperties, Packet, PacketType, ProtocolVersion, Publish, QoS, TopicName,
};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How often the listener is looked at. A listener has no time limit of its own.
const LOOK: Duration = Duration::from_millis(2);

/// How long a check of a prompt client may take, once it has connected.
const LONGEST: Duration = Duration::from_secs(30);

/// The place where a client connects, for one check.
#[derive(Debug)]
pub struct Bench {
    target: Target,
    version: ProtocolVersion,
    number: usize,
    what_is_wanted: String,
    exchange: Exchange,
    listener: Option<TcpListener>,
    player: Option<Player>,
    connections: usize,
    client_identifier: Option<String>,
}

impl Bench {
    pub(super) fn new(
        target: &Target,
        version: ProtocolVersion,
        number: usize,
        what_is_wanted: &str,
    ) -> Self {
        Self {
            target: target.clone(),
            version,
            number,
            what_is_wanted: what_is_wanted.to_owned(),
            exchange: Exchange::within(target.arrival + LONGEST + 6 * target.patience),
            listener: None,
            player: None,
            connections: 0,
            client_identifier: None,
        }
    }

    /// The version that the case is about.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Whether the case is about MQTT 5.0.
    pub const fn is_v5(&self) -> bool {
        self.version.is_v5()
    }

    /// How long to wait for what has to come.
    pub const fn patience(&self) -> Duration {
        self.target.patience
    }

    /// What was said so far.
    pub const fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// What the client is known to do by itself.
    pub fn habits(&self) -> Option<&Habits> {
        self.target.habits.iter().find(|habits| habits.version == self.version)
    }

    /// How often the client's program printed this text so far; `None` when nobody can know.
    pub fn printed(&self, text: &str) -> Option<usize> {
        self.player.as_ref()?.printed(text)
    }

    /// Waits until the client has printed the text so often; gives how often it did at last.
    pub fn await_printed(&self, text: &str, times: usize, time: Duration) -> Option<usize> {
        let deadline = Instant::now() + time;
        loop {
            let printed = self.printed(text)?;
            if printed >= times || Instant::now() >= deadline {
                return Some(printed);
            }
            thread::sleep(LOOK);
        }
    }

    /// The client is started with this Client Identifier, which may be empty.
    pub fn choose_client_identifier(&mut self, client_identifier: &str) {
        self.client_identifier = Some(client_identifier.to_owned());
    }

    fn seat(&self, listener: &TcpListener) -> io::Result<Seat> {
        let label = format!("dc{}x{:04}", std::process::id() % 100_000, self.number);
        Ok(Seat {
            address: listener.local_addr()?,
            client_identifier: self.client_identifier.clone().unwrap_or_else(|| label.clone()),
            topic_name: format!("dunlin-conformance/{label}"),
            version: if self.version.is_v5() { "5" } else { "311" },
        })
    }

    fn start(&mut self, wanted: &str) -> Result<(), Stop> {
        let started = TcpListener::bind(self.target.listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let seat = self.seat(&listener)?;
            let player = Player::start(&self.target.client, &seat, &self.exchange)?;
            Ok((listener, seat, player))
        });
        match started {
            Ok((listener, seat, player)) => {
                if let Client::ByHand(tell) = &self.target.client {
                    tell(&format!(
                        "{}: connect {wanted} that speaks MQTT {} to {}",
                        self.what_is_wanted, self.version, seat.address
                    ));
                }
                self.listener = Some(listener);
                self.player = Some(player);
                Ok(())
            }
            Err(error) => failed(format!("the client can't be started: {error}")),
        }
    }

    /// A client that connects: its CONNECT was read, and nothing answered. For the first one the
    /// client is started.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when none comes, or it speaks another version. [`Stop::Failed`] when what
    /// comes first is no CONNECT.
    pub fn arrival(&mut self) -> Result<Visitor, Stop> {
        self.arrival_of("any client")
    }

    fn arrival_of(&mut self, wanted: &str) -> Result<Visitor, Stop> {
        let visitor = self.any_arrival(wanted)?;
        let version = visitor.version();
        if version == self.version {
            return Ok(visitor);
        }
        skipped(format!("the client speaks MQTT {version}"))
    }

    /// The same in whatever version.
    pub(super) fn any_arrival(&mut self, wanted: &str) -> Result<Visitor, Stop> {
        if self.listener.is_none() {
            self.start(wanted)?;
        }
        let is_first = self.connections == 0;
        let time = if is_first { self.target.arrival } else { self.target.patience };
        let deadline = Instant::now() + time;
        loop {
            let stream = self.accept(deadline)?;
            self.connections += 1;
            let name = self.connections.to_string();
            let patience = self.target.patience;
            let peer = Peer::new(stream, &name, self.version, patience, self.exchange.clone());
            let Ok(mut peer) = peer else { continue };
            match peer.receive_until(deadline)? {
                Incoming::Packet(Packet::Connect(connect)) => {
                    peer.set_version(connect.protocol_version);
                    return Ok(Visitor::new(peer, patience, *connect));
                }
                Incoming::Packet(packet) => {
                    return failed(format!(
                        "the first packet is to be CONNECT, and is {packet} [MQTT-3.1.0-1]"
                    ));
                }
                // It thought better of it.
                Incoming::Closed => {}
                Incoming::Nothing => return skipped("the client sends no CONNECT"),
            }
        }
    }

    fn accept(&mut self, deadline: Instant) -> Result<TcpStream, Stop> {
        let again = if self.connections == 0 { "" } else { " again" };
        let mut ended = None;
        let Some(listener) = &self.listener else { return skipped("nobody listens") };
        loop {
            self.exchange.go_on()?;
            if self.target.is_interrupted.load(Ordering::Relaxed) {
                return skipped(INTERRUPTED);
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nonblocking(false) {
                        return failed(format!("the connection can't be used: {error}"));
                    }
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return failed(format!("nobody can connect: {error}")),
            }
            // A connection made just before the end was found by another look.
            if ended.is_some() {
                return skipped(format!("the client ends and does not connect{again}"));
            }
            ended = self.player.as_mut().and_then(Player::ended);
            if Instant::now() >= deadline {
                return skipped(format!("the client does not connect{again}"));
            }
            thread::sleep(LOOK);
        }
    }

    /// A client that is connected, by a CONNACK that says nothing.
    ///
    /// # Errors
    /// As [`Bench::arrival`].
    pub fn connected(&mut self) -> Result<Visitor, Stop> {
        self.connected_with(ConnAckProperties::default())
    }

    /// A client that is connected by a CONNACK with these properties.
    ///
    /// # Errors
    /// As [`Bench::arrival`].
    pub fn connected_with(&mut self, properties: ConnAckProperties) -> Result<Visitor, Stop> {
        let mut visitor = self.arrival()?;
        visitor.accept(false, properties);
        Ok(visitor)
    }

    /// A client that has subscribed with this QoS or a higher one, and a Topic Name that its
    /// subscription matches.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it never does.
    pub fn subscriber(&mut self, qos: QoS) -> Result<(Visitor, TopicName), Stop> {
        self.subscriber_with(qos, ConnAckProperties::default())
    }

    /// The same after a CONNACK with these properties.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it never does.
    pub fn subscriber_with(
        &mut self,
        qos: QoS,
        properties: ConnAckProperties,
    ) -> Result<(Visitor, TopicName), Stop> {
        let level = qos.value();
        let reason = format!("the client does not subscribe with QoS {level}");
        if self.habits().is_some_and(|habits| habits.subscribes.is_none_or(|most| most < qos)) {
            return skipped(reason);
        }
        let wanted = format!("a client that subscribes with QoS {level}");
        let mut visitor = self.arrival_of(&wanted)?;
        visitor.accept(false, properties);
        let topic_name = await_subscription(&mut visitor, qos)?;
        Ok((visitor, topic_name))
    }

    /// A client that has published a message with this QoS, which is not acknowledged.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it never does.
    pub fn publisher(&mut self, qos: QoS) -> Result<(Visitor, Publish), Stop> {
        self.publisher_with(qos, ConnAckProperties::default())
    }

    /// The same after a CONNACK with these properties.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it never does.
    pub fn publisher_with(
        &mut self,
        qos: QoS,
        properties: ConnAckProperties,
    ) -> Result<(Visitor, Publish), Stop> {
        self.known_publisher(qos)?;
        let wanted = format!("a client that publishes with QoS {}", qos.value());
        let mut visitor = self.arrival_of(&wanted)?;
        visitor.accept(false, properties);
        let publish = visitor.await_publish(qos)?;
        Ok((visitor, publish))
    }

    /// Goes on unless the client is known not to publish with this QoS.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if it is.
    pub fn known_publisher(&self, qos: QoS) -> Result<(), Stop> {
        let level = qos.value();
        match self.habits() {
            Some(habits) if !habits.publishes[usize::from(level)] => {
                skipped(format!("the client publishes nothing with QoS {level}"))
            }
            _ => Ok(()),
        }
    }

    /// A client that is connected and in the middle of something, so that it stays: it has
    /// subscribed, or waits for the acknowledgement of its message. Nothing else is asked of it.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it leaves by itself.
    pub fn engaged(&mut self) -> Result<(Visitor, TopicName), Stop> {
        self.engaged_with(ConnAckProperties::default())
    }

    /// The same after a CONNACK with these properties.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it leaves by itself.
    pub fn engaged_with(
        &mut self,
        properties: ConnAckProperties,
    ) -> Result<(Visitor, TopicName), Stop> {
        let mut visitor = self.arrival_of("a client that stays connected")?;
        visitor.accept(false, properties);
        visitor.answers_publishes = false;
        let deadline = Instant::now() + visitor.patience();
        loop {
            match visitor.next(deadline)? {
                super::Next::Packet(Packet::Subscribe(subscribe)) => {
                    let topic_name = subscribe.subscriptions.first().map(|held| &held.topic_filter);
                    let topic_name = topic_name.map_or_else(some_topic, matching);
                    return Ok((visitor, topic_name));
                }
                super::Next::Packet(Packet::Publish(publish))
                    if publish.delivery.qos() > QoS::AtMostOnce =>
                {
                    return Ok((visitor, some_topic()));
                }
                super::Next::Packet(Packet::Disconnect(_)) | super::Next::Closed => {
                    return skipped("the client leaves by itself at once");
                }
                super::Next::Packet(_) => {}
                super::Next::Nothing => return Ok((visitor, some_topic())),
            }
        }
    }

    /// The client after its connection was lost: it has connected again and goes on with its
    /// session. Nothing is answered yet.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it does not come back, or begins anew.
    pub fn resumed(&mut self) -> Result<Visitor, Stop> {
        let visitor = self.arrival()?;
        if visitor.connect().clean_start {
            return skipped("the client connects again with a new session");
        }
        Ok(visitor)
    }

    /// Goes on unless the client is known not to keep a session over a lost connection.
    ///
    /// # Errors
    /// [`Stop::Skipped`] if it is.
    pub fn known_to_resume(&self) -> Result<(), Stop> {
        match self.habits() {
            Some(habits) if !habits.reconnects => skipped("the client does not connect again"),
            Some(habits) if !habits.resumes => {
                skipped("the client connects again with a new session")
            }
            _ => Ok(()),
        }
    }
}

/// Waits until the client has subscribed; gives a Topic Name that it then receives.
pub(super) fn await_subscription(visitor: &mut Visitor, qos: QoS) -> Result<TopicName, Stop> {
    let deadline = Instant::now() + visitor.patience();
    loop {
        let wanted = visitor.subscriptions().iter().find(|held| held.options.maximum_qos >= qos);
        if let Some(subscription) = wanted {
            return Ok(matching(&subscription.topic_filter));
        }
        if visitor.wait_for_until(PacketType::Subscribe, deadline)?.is_none() {
            return skipped(format!("the client does not subscribe with QoS {}", qos.value()));
        }
    }
}

fn some_topic() -> TopicName {
    TopicName::from_static("dunlin-conformance/some")
}
