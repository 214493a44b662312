//! What a check of a server works with.

use super::Capabilities;
use crate::exchange::Direction;
use crate::{Exchange, Peer, Stop, Verdict, failed, message};
use bytes::Bytes;
use dunlin_codec::{
    ConnAck, Connect, ConnectProperties, Packet, ProtocolVersion, QoS, Text, TopicFilter, TopicName,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a check of a prompt server may take; what keeps time in a check takes five seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// The server that is judged.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The User Name and the Password of every CONNECT.
    pub user_name: Option<Text>,
    /// Any bytes; in MQTT 3.1.1 only beside a User Name.
    pub password: Option<Bytes>,
    /// How long to wait for what has to come.
    pub patience: Duration,
    /// What it can, see [`probe`](super::probe).
    pub capabilities: Capabilities,
    /// Once it is true, checks that have not begun are skipped.
    pub is_interrupted: Arc<AtomicBool>,
    /// Begins every name of this run: five letters and digits.
    run: String,
}

impl Target {
    /// A server that can all, without credentials, and a patience of five seconds.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            user_name: None,
            password: None,
            patience: Duration::from_secs(5),
            capabilities: Capabilities::default(),
            is_interrupted: Arc::default(),
            run: random_name(),
        }
    }

    /// How long a check takes at most, and its clean-up once more: a server may answer each packet
    /// at the last moment.
    fn exchange(&self) -> Exchange {
        Exchange::within(LONGEST + 6 * self.patience)
    }
}

/// Five letters and digits that another run hardly has.
fn random_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut number = RandomState::new().hash_one((now.as_nanos(), std::process::id()));
    let mut digit = || {
        let digit = char::from_digit((number % 36) as u32, 36).expect("a digit of base 36");
        number /= 36;
        digit
    };
    std::iter::repeat_with(&mut digit).take(5).collect()
}

/// Connections to the server, and names that no other check and no other run uses.
///
/// Names are made from a label, which is all that a check has to choose: the same label gives the
/// same name.
#[derive(Debug)]
pub struct Bench {
    target: Target,
    version: ProtocolVersion,
    number: usize,
    exchange: Exchange,
    opened: RefCell<Vec<String>>,
}

impl Bench {
    /// A bench for case `number` of a run.
    pub(crate) fn new(target: &Target, version: ProtocolVersion, number: usize) -> Self {
        let (target, exchange) = (target.clone(), target.exchange());
        Self { target, version, number, exchange, opened: RefCell::default() }
    }

    /// The version that the case is about.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Whether the case is about MQTT 5.0.
    pub const fn is_v5(&self) -> bool {
        self.version.is_v5()
    }

    /// What the server can.
    pub const fn can(&self) -> &Capabilities {
        &self.target.capabilities
    }

    /// How long to wait for what has to come.
    pub const fn patience(&self) -> Duration {
        self.target.patience
    }

    /// What was said so far.
    pub const fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// A Client Identifier: letters and digits, at most 23, which every server has to take
    /// [MQTT-3.1.3-5]. Of the label the first nine count.
    pub fn client_identifier(&self, label: &str) -> Text {
        let label = label.chars().filter(char::is_ascii_alphanumeric).take(9);
        let label: String = label.collect();
        text(&format!("dc{}x{:05}x{label}", self.target.run, self.number))
    }

    /// A Topic Name, `dunlin-conformance/…/label`.
    ///
    /// # Panics
    /// When the label can't be part of a Topic Name.
    pub fn topic_name(&self, label: &str) -> TopicName {
        self.under(label).parse().expect("a label without wildcards")
    }

    /// A Topic Filter below the Topic Names of this check, `dunlin-conformance/…/label`. The label
    /// may hold wildcards.
    ///
    /// # Panics
    /// When the label can't be part of a Topic Filter.
    pub fn topic_filter(&self, label: &str) -> TopicFilter {
        self.under(label).parse().expect("the end of a Topic Filter")
    }

    /// A Shared Subscription, `$share/label/…/filter`.
    ///
    /// # Panics
    /// When the two can't be part of one.
    pub fn shared_filter(&self, share_name: &str, filter: &str) -> TopicFilter {
        let filter = self.under(filter);
        format!("$share/{share_name}/{filter}").parse().expect("a Shared Subscription")
    }

    fn under(&self, label: &str) -> String {
        format!("dunlin-conformance/{}/{}/{label}", self.target.run, self.number)
    }

    /// The CONNECT of [`Bench::connect`]: clean start, a Keep Alive of a minute, no Will.
    pub fn connect_packet(&self, label: &str) -> Connect {
        Connect {
            protocol_version: self.version,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            client_identifier: self.client_identifier(label),
            will: None,
            user_name: self.target.user_name.clone(),
            password: self.target.password.clone(),
            properties: ConnectProperties::default(),
        }
    }

    /// A CONNECT for a session that outlives the connection, and is gone on with if it is there:
    /// Clean Session 0, or Clean Start 0 and a Session Expiry Interval of five minutes.
    pub fn persistent(&self, label: &str) -> Connect {
        let session_expiry_interval = self.is_v5().then_some(300);
        let properties =
            ConnectProperties { session_expiry_interval, ..ConnectProperties::default() };
        Connect { clean_start: false, properties, ..self.connect_packet(label) }
    }

    /// A connection on which nothing was said yet.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the server does not take it.
    pub fn open(&self, label: &str) -> Result<Peer, Stop> {
        let mut opened = self.opened.borrow_mut();
        let before = opened.iter().filter(|known| *known == label).count();
        opened.push(label.to_owned());
        let name = if before == 0 { label.to_owned() } else { format!("{label}({})", before + 1) };
        self.dial(&name, &self.exchange)
    }

    fn dial(&self, label: &str, exchange: &Exchange) -> Result<Peer, Stop> {
        exchange.go_on()?;
        let Target { address, patience, .. } = self.target;
        let peer = TcpStream::connect_timeout(&address, patience)
            .and_then(|stream| Peer::new(stream, label, self.version, patience, exchange.clone()));
        peer.or_else(|error| failed(format!("{address} takes no connection: {error}")))
    }

    /// A client that is connected.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the server does not accept it.
    pub fn connect(&self, label: &str) -> Result<Peer, Stop> {
        self.connect_with(label, self.connect_packet(label)).map(|(peer, _)| peer)
    }

    /// A client that is connected, by this CONNECT, with the CONNACK.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the server does not accept it.
    pub fn connect_with(&self, label: &str, connect: Connect) -> Result<(Peer, ConnAck), Stop> {
        let mut peer = self.open(label)?;
        peer.send(connect);
        let connack = peer.expect_accepted()?;
        Ok((peer, connack))
    }

    /// A publisher, and a subscriber to all Topic Names below the label, and the label itself:
    /// `bench.pair("t", qos)` receives what is published to `bench.topic_name("t")` and
    /// `bench.topic_name("t/u")`. Skips the check when the server lacks the QoS.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the server does not accept them.
    pub fn pair(&self, label: &str, maximum_qos: QoS) -> Result<(Peer, Peer), Stop> {
        self.can().need_qos(maximum_qos)?;
        let mut subscriber = self.connect("sub")?;
        let wildcard = self.can().wildcard_subscriptions.then(|| format!("{label}/#"));
        let topic_filter = self.topic_filter(wildcard.as_deref().unwrap_or(label));
        subscriber.subscribe(&topic_filter, maximum_qos)?;
        Ok((self.connect("pub")?, subscriber))
    }

    /// The whole of a check for something that costs the connection: a client that is connected
    /// sends these bytes and is cut off, in any way that the standard allows.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the connection goes on.
    pub fn cuts_off(&self, bytes: &[u8]) -> Verdict {
        let mut peer = self.connect("client")?;
        // A connection that ends anyhow shows nothing.
        peer.ping()?;
        peer.send_bytes(bytes);
        peer.expect_closed()?.passed()
    }

    /// Lets time pass, for what the standard binds to time; never to wait for something to come.
    pub fn wait(&self, time: Duration) {
        self.exchange.event("bench", format!("{time:?} pass"));
        std::thread::sleep(time);
    }

    /// Takes away the sessions and the retained messages that the check made, as far as the
    /// server lets it.
    pub(crate) fn clean_up(self) {
        let Leftovers { was_accepted, sessions, retained } = Leftovers::of(&self.exchange);
        if !was_accepted {
            return;
        }
        let exchange = self.target.exchange();
        for client_identifier in sessions {
            let connect = Connect { client_identifier, ..self.connect_packet("") };
            let _ = self.clean(&exchange, connect, &[]);
        }
        if !retained.is_empty() {
            let retained: Vec<TopicName> = retained.into_iter().collect();
            let _ = self.clean(&exchange, self.connect_packet("cleaner"), &retained);
        }
    }

    /// Connects with a clean start, which ends an older session, and clears retained messages.
    fn clean(
        &self,
        exchange: &Exchange,
        connect: Connect,
        retained: &[TopicName],
    ) -> Result<(), Stop> {
        let mut peer = self.dial("clean-up", exchange)?;
        peer.send(connect);
        peer.expect_accepted()?;
        for topic_name in retained {
            let mut publish = message(topic_name, "");
            publish.retain = true;
            peer.send(publish);
        }
        peer.disconnect()
    }
}

/// What a check may have left on the server, as its exchange tells.
#[derive(Default)]
struct Leftovers {
    /// Whether the server accepted a connection at all.
    was_accepted: bool,
    /// Client Identifiers of sessions that outlive their connection.
    sessions: BTreeSet<Text>,
    retained: BTreeSet<TopicName>,
}

impl Leftovers {
    fn of(exchange: &Exchange) -> Self {
        let mut left = Self::default();
        for line in exchange.lines() {
            match line.packet {
                Some(Packet::Connect(connect)) => left.sent_connect(*connect),
                Some(Packet::ConnAck(connack)) if !connack.reason_code.is_error() => {
                    left.was_accepted = true;
                    let assigned = connack.properties.assigned_client_identifier;
                    left.sessions.extend(assigned);
                }
                Some(Packet::Publish(publish))
                    if publish.retain && line.direction == Direction::Sent =>
                {
                    left.retained.extend(publish.topic.name().cloned());
                }
                _ => {}
            }
        }
        left
    }

    fn sent_connect(&mut self, connect: Connect) {
        let expiry = connect.properties.session_expiry_interval.unwrap_or(0);
        let outlives = expiry > 0 || !connect.clean_start;
        if outlives && !connect.client_identifier.is_empty() {
            self.sessions.insert(connect.client_identifier);
        }
        self.retained.extend(connect.will.filter(|will| will.retain).map(|will| will.topic_name));
    }
}

/// A text that the bench made.
fn text(text: &str) -> Text {
    text.parse().expect("letters and digits")
}
