//! An async MQTT client that drives itself, reconnects, resumes, and tells when a message was
//! acknowledged. It speaks MQTT 5.0, 3.1.1 and 3.1.
//!
//! ```no_run
//! use dunlin_client::{Client, QoS};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, _events) =
//!     Client::builder("mqtt://127.0.0.1:1883")?.client_identifier("lamp-7").connect().await?;
//!
//! // A stream of its own for each subscription.
//! let mut commands = client.subscribe("lamps/7/set", QoS::AtLeastOnce).await?;
//!
//! while let Some(command) = commands.next().await {
//!     // Resolves when the server has acknowledged. Safe in the task that reads messages.
//!     client
//!         .publish("lamps/7/state", command.into_payload())
//!         .qos(QoS::AtLeastOnce)
//!         .retain(true)
//!         .await?;
//! }
//! client.disconnect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **It makes progress by itself.** A task owns the connection; nothing has to be polled for
//!   Keep Alive, acknowledgements or reconnects to happen. ([`ClientBuilder::connect_with`] gives
//!   that task to the caller instead.)
//! - **It can't dead-lock on its own queues.** The task never waits for a reader. A stream that is
//!   not read holds back acknowledgements of what waits in it, so that the Receive Maximum stops
//!   the server, see [`Overflow`]; the answers to our own publishes still arrive, and
//!   [`Events`] need not be read at all.
//! - **A message of QoS 1 or 2 is not lost by a reconnect.** It is sent again when the server has
//!   the Session, published anew when it has not, and its future resolves all the same.
//! - **With a [`SessionStore`] neither is it lost by a crash.** Once [`Publish::send`] has resolved,
//!   the message arrives: at QoS 2 exactly once, whenever the process was killed or its device lost
//!   power, see [`ClientBuilder::session_store`].
//! - **Memory is bounded.** Messages to publish wait in a queue with two bounds
//!   ([`ClientBuilder::queue`], [`WhenFull`]), received ones in streams with theirs
//!   ([`Subscribe::buffer`]). What is dropped is counted. An idle connection holds no buffer.
//! - **Every future says whether it is cancellation safe**, in its documentation.
//!
//! # Transports
//!
//! The scheme of the URL says how: `mqtt://`, `unix://`; `mqtts://` with the feature `tls`; `ws://` and
//! `wss://` with `websocket`; `quic://` with `quic`, which is not among the default ones. By QUIC a
//! connection goes on when this machine's address changes. [`ClientBuilder::connect_over`] takes any
//! other.
//!
//! # Where to begin
//!
//! [`Client::builder`] → [`ClientBuilder::connect`] → [`Client::publish`], [`Client::subscribe`].
//! [`Client::watch_state`] follows the connection, [`Events`] tells what happened to it.

#![forbid(unsafe_code)]

mod address;
mod authenticate;
mod builder;
mod client;
mod driver;
mod error;
mod event;
mod foreign;
#[cfg(feature = "proxy")]
mod proxy;
mod publish;
#[cfg(feature = "quic")]
mod quic;
mod received;
mod reconnect;
#[cfg(feature = "scram")]
mod scram;
mod shared;
mod state;
mod store;
mod stream;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
mod transport;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod wakers;
#[cfg(feature = "websocket")]
mod websocket;
mod will;

pub use authenticate::Authenticator;
pub use builder::{ClientBuilder, DriverTask};
pub use client::{Client, Leave, Leaving};
pub use dunlin_protocol::codec::{
    ConnAck, Disconnect, EncodeError, InvalidText, InvalidTopicFilter, InvalidTopicName,
    MessageProperties, PacketIdentifier, ProtocolVersion, QoS, ReasonCode, RetainHandling,
    SubscriptionIdentifier, Text, TopicFilter, TopicName,
};
pub use dunlin_protocol::{CommandError, ConnectionEnd, Message, Violation};
#[cfg(feature = "tls")]
pub use dunlin_transport::tls::{
    CertificateFault, ClientTls as Tls, ClientTlsError as TlsConfigError, TlsAlert, TlsFault,
};
#[cfg(feature = "websocket")]
pub use dunlin_transport::websocket::upgrade::UpgradeError;
pub use error::{
    AcknowledgeError, ConfigError, ConnectError, DisconnectCause, DisconnectError, PublishError,
    SubscribeError,
};
pub use event::{Event, Events};
pub use foreign::Foreign;
pub use publish::{Delivery, Publish, PublishAck, Publishing, Sending};
pub use received::Received;
pub use reconnect::Reconnect;
#[cfg(feature = "scram")]
pub use scram::Scram;
pub use shared::WhenFull;
pub use state::{ConnectionState, StateWatch};
pub use store::{
    FileStore, InvalidChange, SessionChange, SessionStore, StoreError, StoredExchange,
    StoredMessage, StoredSession,
};
pub use stream::Overflow;
pub use subscribe::{Subscribe, Subscribing, Subscription};
pub use transport::{ByteStream, Transport, UrlTransport};
pub use will::Will;
