//! The settings of a client, with their defaults.

use crate::address::Address;
use crate::driver::{Config, Driver};
use crate::reconnect::Reconnect;
use crate::shared::Shared;
use crate::transport::{Once, Tcp, Transport, UrlTransport};
use crate::{
    Authenticator, Client, ConfigError, ConnectError, Events, SessionStore, WhenFull, Will,
};
use bytes::Bytes;
use dunlin_protocol::codec::{Connect, ConnectProperties, ProtocolVersion, Text};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

const MIB: usize = 1024 * 1024;

/// The settings of a client that is not yet connected. Begin with [`Client::builder`].
#[must_use = "nothing happens until it connects"]
pub struct ClientBuilder {
    address: Address,
    connect: Connect,
    error: Option<ConfigError>,
    connect_timeout: Duration,
    in_flight_max: u16,
    topic_alias_outbound_max: u16,
    negotiate_version: bool,
    reconnect: Option<Reconnect>,
    retry_first_connect: bool,
    restore_subscriptions: bool,
    manual_ack: bool,
    queue: (usize, usize),
    when_full: WhenFull,
    events_buffer: usize,
    seed: Option<u64>,
    authenticator: Option<Box<dyn Authenticator>>,
    clean_start: Option<bool>,
    store: Option<Box<dyn SessionStore>>,
    #[cfg(feature = "tls")]
    tls: crate::Tls,
    #[cfg(feature = "proxy")]
    proxy: Option<crate::proxy::Proxy>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("host", &self.address.host)
            .field("port", &self.address.port)
            .field("connect", &self.connect)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Result<Self, ConfigError> {
        let mut address = Address::parse(url)?;
        let connect = Connect {
            protocol_version: ProtocolVersion::V5,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            client_identifier: Text::default(),
            will: None,
            user_name: address.user_name.take(),
            password: address.password.take().map(Bytes::from),
            properties: ConnectProperties {
                receive_maximum: Some(1024),
                maximum_packet_size: u32::try_from(16 * MIB).ok(),
                topic_alias_maximum: Some(64),
                ..ConnectProperties::default()
            },
        };
        Ok(Self {
            address,
            connect,
            error: None,
            connect_timeout: Duration::from_secs(10),
            in_flight_max: 256,
            topic_alias_outbound_max: 64,
            negotiate_version: false,
            reconnect: Some(Reconnect::default()),
            retry_first_connect: false,
            restore_subscriptions: true,
            manual_ack: false,
            queue: (1024, 16 * MIB),
            when_full: WhenFull::default(),
            events_buffer: 1024,
            seed: None,
            authenticator: None,
            clean_start: None,
            store: None,
            #[cfg(feature = "tls")]
            tls: crate::Tls::new(),
            #[cfg(feature = "proxy")]
            proxy: None,
        })
    }

    /// Sets what `try_into` gives, or keeps the first error for `connect`.
    fn with<V>(
        mut self,
        value: Result<V, impl Into<ConfigError>>,
        set: impl FnOnce(&mut Connect, V),
    ) -> Self {
        match value {
            Ok(value) => set(&mut self.connect, value),
            Err(error) => {
                self.error.get_or_insert_with(|| error.into());
            }
        }
        self
    }

    // ---- the Session

    /// Names the Session. Default: empty, the Server chooses; a name that it assigned (MQTT 5.0)
    /// is kept for reconnects.
    pub fn client_identifier(
        self,
        identifier: impl TryInto<Text, Error: Into<ConfigError>>,
    ) -> Self {
        self.with(identifier.try_into(), |connect, text| connect.client_identifier = text)
    }

    /// Whether to begin with a new Session (Clean Session in MQTT 3.x). Default: yes, unless a
    /// [`ClientBuilder::session_store`] keeps it.
    ///
    /// It speaks of the first connection. A reconnect takes the Session up again where the Server
    /// keeps it: in MQTT 5.0 with a [`ClientBuilder::session_expiry_interval`], in 3.x with
    /// `clean_start(false)`.
    pub const fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = Some(clean_start);
        self
    }

    /// How long the Server keeps the Session after a connection is lost, in whole seconds;
    /// [`Duration::MAX`] is for ever. MQTT 5.0. Default: not at all.
    pub fn session_expiry_interval(mut self, interval: Duration) -> Self {
        let secs = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
        self.connect.properties.session_expiry_interval = Some(secs);
        self
    }

    /// Keeps the Session in a store, so that it outlives this process: QoS 1 and 2 messages that
    /// were handed over, also while the connection is away, and the exchanges under way in both
    /// directions. Default: in memory alone.
    ///
    /// The next client with the same Client Identifier and store goes on where this one was,
    /// however it ended:
    /// - a message that [`crate::Publish::send`] has resolved for arrives, at QoS 2 exactly once and
    ///   in the order of sending; unless its Message Expiry Interval, counted on the wall clock,
    ///   runs out, the Server refuses it, or a full queue drops it, see [`WhenFull`];
    /// - a QoS 2 message of the Server that was acknowledged is not given again. One that was not
    ///   is, so a program that must do its part exactly once uses [`ClientBuilder::manual_ack`] and
    ///   [`crate::Received::ack_stored`], and can tell at its start whether it did the last one.
    ///
    /// Should the Server have lost the Session, what it was not known to have is published anew, as
    /// [`crate::Event::SessionLost`] says. Subscriptions are not stored: subscribe again after each
    /// start; what comes before that is an [`crate::Event::Message`].
    ///
    /// With a store the Session is not begun anew ([`ClientBuilder::clean_start`]) and never
    /// expires ([`ClientBuilder::session_expiry_interval`]) unless set otherwise, and a Client
    /// Identifier is needed. What leaves waits for the store, for one sync in all that is ready
    /// then; so a disk that hangs holds the connection back. A store that fails ends the client with
    /// [`crate::DisconnectCause::Store`]; what it has said before stays true.
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Whether subscriptions are made again when the Server has lost the Session, or may have: a
    /// CONNECT came before that nobody has answered, and the Session that the next CONNACK names as
    /// present may be a new one. Default: yes. Otherwise their streams end when it is lost.
    pub const fn restore_subscriptions(mut self, restore: bool) -> Self {
        self.restore_subscriptions = restore;
        self
    }

    // ---- the connection

    /// Who we are.
    pub fn user_name(self, user_name: impl TryInto<Text, Error: Into<ConfigError>>) -> Self {
        self.with(user_name.try_into(), |connect, text| connect.user_name = Some(text))
    }

    /// The proof of it; any bytes.
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.connect.password = Some(password.into());
        self
    }

    /// Enhanced authentication. MQTT 5.0.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Box::new(authenticator));
        self
    }

    /// Whom to trust and what to show over `mqtts://`. Default: whom the operating system trusts, and
    /// nothing.
    ///
    /// ```no_run
    /// use dunlin_client::{Client, Tls};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = Tls::new()
    ///     .ca_pem(std::fs::read("ca.pem")?)
    ///     .client_certificate_pem(std::fs::read("lamp.pem")?, std::fs::read("lamp.key")?);
    /// let (client, _events) =
    ///     Client::builder("mqtts://broker.example")?.tls(tls).connect().await?;
    /// # client.disconnect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Goes to the server through a proxy: `http://[user:password@]host[:port]`, which is asked by the
    /// method CONNECT, or `socks5://`. It resolves the server's name. Default: none, whatever the
    /// environment says.
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, url: &str) -> Self {
        match crate::proxy::Proxy::parse(url) {
            Ok(proxy) => self.proxy = Some(proxy),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// What the Server publishes should this client vanish.
    pub fn will(self, will: Will) -> Self {
        self.with(will.build(), |connect, will| connect.will = Some(will))
    }

    /// The version to speak. Default: 5.0.
    pub const fn protocol_version(mut self, version: ProtocolVersion) -> Self {
        self.connect.protocol_version = version;
        self
    }

    /// Whether to go on with MQTT 3.1.1 when the Server does not support 5.0. Default: no, the
    /// connection fails with [`ConnectError::UnsupportedVersion`]. What 3.1.1 cannot say is then
    /// left out; not with an [`Authenticator`], which 3.1.1 knows nothing of.
    pub const fn negotiate_version(mut self, negotiate: bool) -> Self {
        self.negotiate_version = negotiate;
        self
    }

    /// How long the line may be silent before it is probed, in whole seconds; zero turns it off.
    /// The connection is given up half as long after an unanswered probe. Default: 60 s.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.connect.keep_alive = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
        self
    }

    /// How long the transport, and then the Server's CONNACK, may take. Default: 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Adds a User Property to the CONNECT. MQTT 5.0.
    pub fn user_property(
        self,
        name: impl TryInto<Text, Error: Into<ConfigError>>,
        value: impl TryInto<Text, Error: Into<ConfigError>>,
    ) -> Self {
        let pair = match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error.into()),
        };
        self.with(pair, |connect, pair| connect.properties.user_properties.push(pair))
    }

    /// How a lost connection is sought again. Default: [`Reconnect::default`], without end.
    pub const fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = Some(reconnect);
        self
    }

    /// Gives up when the connection is lost.
    pub const fn no_reconnect(mut self) -> Self {
        self.reconnect = None;
        self
    }

    /// Whether to keep trying when the very first connection fails. Default: no, `connect` tells
    /// the error at once.
    pub const fn retry_first_connect(mut self, retry: bool) -> Self {
        self.retry_first_connect = retry;
        self
    }

    /// The seed of the jitter between reconnects, for tests. Default: random.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    // ---- limits

    /// How many unacknowledged QoS 1 and 2 messages the Server may have under way to this client,
    /// above zero. MQTT 5.0; in 3.x the Server's own window counts. Default: 1,024.
    pub const fn receive_maximum(mut self, receive_maximum: u16) -> Self {
        self.connect.properties.receive_maximum = Some(receive_maximum);
        self
    }

    /// How many unacknowledged QoS 1 and 2 messages this client has under way to the Server, above
    /// zero; the Server's Receive Maximum may lower it. Default: 256.
    pub const fn in_flight_max(mut self, in_flight_max: u16) -> Self {
        self.in_flight_max = in_flight_max;
        self
    }

    /// Bytes of the largest packet that this client takes, above zero; a larger one ends the
    /// connection. Default: 16 MiB.
    pub const fn maximum_packet_size(mut self, bytes: u32) -> Self {
        self.connect.properties.maximum_packet_size = Some(bytes);
        self
    }

    /// How many Topic Aliases to use in each direction, as far as the Server does; 0 turns them
    /// off. MQTT 5.0. Default: 64.
    pub const fn topic_alias_maximum(mut self, aliases: u16) -> Self {
        self.connect.properties.topic_alias_maximum = Some(aliases);
        self.topic_alias_outbound_max = aliases;
        self
    }

    /// How many messages, and how many bytes of them, wait to be sent, both above zero; what is
    /// under way counts no longer. Default: 1,024 messages, 16 MiB.
    pub const fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue = (messages, bytes);
        self
    }

    /// What `publish` does when that queue is full. Default: [`WhenFull::Wait`].
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// How many messages that belong to no stream wait in [`Events`]. Default: 1,024.
    pub const fn events_buffer(mut self, messages: usize) -> Self {
        self.events_buffer = messages;
        self
    }

    /// Whether the user acknowledges QoS 1 and 2 messages, with [`crate::Received::ack`].
    /// Default: no, a message is acknowledged when its stream gives it out.
    pub const fn manual_ack(mut self, manual: bool) -> Self {
        self.manual_ack = manual;
        self
    }

    // ---- the end

    /// Connects as the URL says, and resolves once the Server has accepted; with
    /// [`ClientBuilder::retry_first_connect`] after as many attempts as that takes. From then on
    /// the client drives itself on a task of the current runtime.
    ///
    /// Cancellation safe: dropped before it is done, the attempt is given up.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn connect(self) -> Result<(Client, Events), ConnectError> {
        let tcp = Tcp { host: self.address.host.clone(), port: self.address.port };
        let is_plain = !self.address.is_secure
            && self.address.web_socket.is_none()
            && self.address.socket.is_none();
        #[cfg(feature = "proxy")]
        let is_plain = is_plain && self.proxy.is_none();
        if is_plain {
            return self.connect_over(tcp).await;
        }
        #[allow(unused_mut, reason = "nothing is changed without proxies")]
        let mut transport = UrlTransport::of(
            &self.address,
            #[cfg(feature = "tls")]
            &self.tls,
        )?;
        #[cfg(feature = "proxy")]
        if self.proxy.is_some() {
            transport.check_proxy()?;
            transport.proxy.clone_from(&self.proxy);
        }
        self.connect_over(transport).await
    }

    /// Like [`ClientBuilder::connect`], over a transport of the user's own; host and port of the
    /// URL go unused.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_over(
        self,
        transport: impl Transport,
    ) -> Result<(Client, Events), ConnectError> {
        let (first, outcome) = oneshot::channel();
        let (client, events, driver) = self.build(Some(first))?;
        tokio::spawn(driver.run(transport));
        outcome.await.unwrap_or(Err(ConnectError::Abandoned))?;
        Ok((client, events))
    }

    /// Speaks MQTT over a byte stream that is there already. Nothing happens until the
    /// [`DriverTask`] is polled, usually by spawning it; there is no reconnect, as the stream
    /// cannot be made again. [`Client::wait_connected`] tells when the Server has accepted.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn connect_with(
        mut self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(Client, Events, DriverTask), ConfigError> {
        self.reconnect = None;
        self.retry_first_connect = false;
        let (client, events, driver) = self.build(None)?;
        let task = DriverTask(Box::pin(driver.run(Once(Some(io)))));
        Ok((client, events, task))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let connect = &self.connect;
        let is_v5 = connect.protocol_version.is_v5();
        let zero = [
            (usize::from(self.in_flight_max), "in_flight_max"),
            (usize::from(connect.properties.receive_maximum.unwrap_or(1)), "receive_maximum"),
            (
                usize::try_from(connect.properties.maximum_packet_size.unwrap_or(1)).unwrap_or(1),
                "maximum_packet_size",
            ),
            (self.queue.0, "the queue's number of messages"),
            (self.queue.1, "the queue's number of bytes"),
        ];
        if let Some((_, name)) = zero.into_iter().find(|(value, _)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        let needs_identifier = match connect.protocol_version {
            ProtocolVersion::V3_1 => true,
            ProtocolVersion::V3_1_1 => !connect.clean_start,
            ProtocolVersion::V5 => false,
        };
        if needs_identifier && connect.client_identifier.is_empty() {
            return Err(ConfigError::ClientIdentifierMissing);
        }
        if self.store.is_some() {
            if connect.client_identifier.is_empty() {
                return Err(ConfigError::StoreNeedsClientIdentifier);
            }
            let ends_at_once = match is_v5 {
                true => connect.properties.session_expiry_interval == Some(0),
                false => connect.clean_start,
            };
            if ends_at_once {
                return Err(ConfigError::StoreNeedsSession);
            }
        }
        if !is_v5 && connect.password.is_some() && connect.user_name.is_none() {
            return Err(ConfigError::PasswordWithoutUserName);
        }
        // Going on without would leave out what proves who either side is.
        if (!is_v5 || self.negotiate_version) && self.authenticator.is_some() {
            return Err(ConfigError::AuthenticatorNeedsV5);
        }
        Ok(())
    }

    fn build(
        mut self,
        first: Option<oneshot::Sender<Result<(), ConnectError>>>,
    ) -> Result<(Client, Events, Driver), ConfigError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.connect.clean_start = self.clean_start.unwrap_or(self.store.is_none());
        if self.store.is_some() && self.connect.protocol_version.is_v5() {
            // For ever.
            self.connect.properties.session_expiry_interval.get_or_insert(u32::MAX);
        }
        self.check()?;
        let window = if self.connect.protocol_version.is_v5() {
            self.connect.properties.receive_maximum.unwrap_or(u16::MAX)
        } else {
            // The Server's window is its own choice here. Holding it back by not reading would
            // hold back the acknowledgements of our own messages too.
            self.connect.properties.receive_maximum = None;
            u16::MAX
        };
        let has_store = self.store.is_some();
        let shared =
            Shared::new(self.queue, self.when_full, self.manual_ack, has_store, self.events_buffer);
        let config = Config {
            connect: self.connect,
            connect_timeout: self.connect_timeout,
            in_flight_max: self.in_flight_max,
            topic_alias_outbound_max: self.topic_alias_outbound_max,
            negotiate_version: self.negotiate_version,
            reconnect: self.reconnect,
            retry_first_connect: self.retry_first_connect,
            restore_subscriptions: self.restore_subscriptions,
            has_store,
        };
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let (authenticator, store) = (self.authenticator, self.store);
        let driver = Driver::new(shared.clone(), config, seed, authenticator, store, first);
        Ok((Client::new(shared.clone(), window), Events::new(shared), driver))
    }
}

/// Moves a client of [`ClientBuilder::connect_with`] along; done when it has disconnected.
///
/// Dropping it closes the transport and ends the client with
/// [`crate::DisconnectCause::DriverGone`].
#[must_use = "the client makes no progress unless this is polled, e.g. by tokio::spawn"]
pub struct DriverTask(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for DriverTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverTask").finish_non_exhaustive()
    }
}

impl Future for DriverTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
