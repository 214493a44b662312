//! The handle: cheap to clone, usable from any task.

use crate::shared::{Control, Shared};
use crate::{
    ClientBuilder, ConfigError, ConnectionState, DisconnectCause, DisconnectError, StateWatch,
};
use dunlin_protocol::codec::{Disconnect, ReasonCode};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long leaving waits for what is under way, unless told otherwise.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the connection with one server: publishes, subscribes, and watches the state.
///
/// Clones share the connection. When the last is dropped the client disconnects gracefully in the
/// background, as [`Client::disconnect`] does.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    receive_maximum: u16,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, receive_maximum: u16) -> Self {
        Self { handle: Arc::new(Handle { shared, receive_maximum }) }
    }

    /// Begins the settings of a client of the server at `mqtt://[user[:password]@]host[:port]`;
    /// the port is 1883 unless given, and `%` escapes in user and password are resolved.
    ///
    /// # Errors
    /// [`ConfigError`] tells what is wrong with the URL.
    pub fn builder(url: &str) -> Result<ClientBuilder, ConfigError> {
        ClientBuilder::new(url)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    pub(crate) fn receive_maximum(&self) -> u16 {
        self.handle.receive_maximum
    }

    /// Where the connection stands now.
    pub fn state(&self) -> ConnectionState {
        self.shared().state.borrow().clone()
    }

    /// How many messages were not published because the queue was full, see [`crate::WhenFull`].
    /// Counts [`crate::PublishError::Dropped`], not refusals and not what was told by
    /// [`crate::PublishError::QueueFull`].
    pub fn dropped(&self) -> u64 {
        self.shared().dropped()
    }

    /// Follows where the connection stands.
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.shared().state.subscribe())
    }

    /// Waits until connected; cancellation safe.
    ///
    /// # Errors
    /// The cause, when the client has disconnected for good.
    pub async fn wait_connected(&self) -> Result<(), DisconnectCause> {
        self.watch_state().wait_connected().await
    }

    /// Prepares to leave; see [`Leave`].
    pub fn disconnect(&self) -> Leave {
        Leave {
            shared: self.shared().clone(),
            disconnect: Disconnect::new(ReasonCode::Success),
            timeout: LEAVE_TIMEOUT,
        }
    }

    /// Authenticates again with the [`crate::Authenticator`], on the connection that stands.
    /// MQTT 5.0. Spec: §4.12.1.
    ///
    /// Cancellation safe: once polled the exchange goes on whether or not this is awaited.
    ///
    /// # Errors
    /// The cause, when the connection ends instead, which is how a Server says no;
    /// [`DisconnectCause::Local`] when there is no connection or no authenticator.
    pub async fn reauthenticate(&self) -> Result<(), DisconnectCause> {
        let (reply, outcome) = oneshot::channel();
        self.shared()
            .push_control(Control::Reauthenticate(reply))
            .map_err(|_| DisconnectCause::DriverGone)?;
        outcome.await.unwrap_or(Err(DisconnectCause::DriverGone))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let disconnect = Disconnect::new(ReasonCode::Success);
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        // Without a driver there is nothing to leave.
        let _ = self.shared.push_control(Control::Disconnect { disconnect, deadline, reply: None });
    }
}

/// A leave in the making: await it.
///
/// From then on nothing more is published. What was handed over before is sent, and its
/// acknowledgements are waited for, until the time is up; then DISCONNECT is sent and the transport
/// closed. While the connection is away and messages wait, it is still sought.
///
/// # Cancellation
/// Once polled the client leaves whether or not this is awaited to the end.
#[must_use = "the client stays connected until this is awaited"]
pub struct Leave {
    shared: Arc<Shared>,
    disconnect: Disconnect,
    timeout: Duration,
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leave").field("disconnect", &self.disconnect).finish_non_exhaustive()
    }
}

impl Leave {
    /// Why, for the Server. MQTT 5.0; left out in 3.x. Default: [`ReasonCode::Success`].
    pub const fn reason(mut self, reason_code: ReasonCode) -> Self {
        self.disconnect.reason_code = reason_code;
        self
    }

    /// Has the Server publish the Will. MQTT 5.0.
    pub const fn with_will(self) -> Self {
        self.reason(ReasonCode::DisconnectWithWillMessage)
    }

    /// How long the Session outlives this connection, in whole seconds, when not as in CONNECT.
    /// MQTT 5.0.
    pub fn session_expiry_interval(mut self, interval: Duration) -> Self {
        let secs = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
        self.disconnect.properties.session_expiry_interval = Some(secs);
        self
    }

    /// How long to wait for what is under way. Default: 5 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(self) -> Result<(), DisconnectError> {
        let (reply, outcome) = oneshot::channel();
        let now = Instant::now();
        let deadline = now.checked_add(self.timeout).unwrap_or(now + LEAVE_TIMEOUT);
        let control =
            Control::Disconnect { disconnect: self.disconnect, deadline, reply: Some(reply) };
        if self.shared.push_control(control).is_err() {
            return match &*self.shared.state.borrow() {
                ConnectionState::Disconnected(DisconnectCause::Local) => Ok(()),
                _ => Err(DisconnectError::Disconnected),
            };
        }
        outcome.await.unwrap_or(Err(DisconnectError::Disconnected))
    }
}

impl IntoFuture for Leave {
    type Output = Result<(), DisconnectError>;
    type IntoFuture = Leaving;

    fn into_future(self) -> Leaving {
        Leaving(Box::pin(self.run()))
    }
}

/// The future of a [`Leave`].
pub struct Leaving(Pin<Box<dyn Future<Output = Result<(), DisconnectError>> + Send>>);

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving").finish_non_exhaustive()
    }
}

impl Future for Leaving {
    type Output = Result<(), DisconnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}
