//! The state of the connection, as a value that can be watched.

use crate::DisconnectCause;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where the connection stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The first connection is being established.
    Connecting,
    /// The Server has accepted.
    Connected,
    /// The connection was lost, or the first one not yet established, and is sought again.
    Reconnecting {
        /// The number of the attempt, from 1 on.
        attempt: u32,
        /// When it begins.
        retry_at: Instant,
    },
    /// Over for good.
    Disconnected(DisconnectCause),
}

impl ConnectionState {
    /// Whether the Server has accepted and the connection stands.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// Follows the [`ConnectionState`]: gives the latest, and waits for a change.
#[derive(Clone, Debug)]
pub struct StateWatch(watch::Receiver<ConnectionState>);

impl StateWatch {
    pub(crate) const fn new(receiver: watch::Receiver<ConnectionState>) -> Self {
        Self(receiver)
    }

    /// The state now.
    pub fn state(&self) -> ConnectionState {
        self.0.borrow().clone()
    }

    /// Waits until the state is another than the one last seen through this watch, and gives it;
    /// `None` once it is [`ConnectionState::Disconnected`] and was seen. States that pass quickly
    /// may be skipped.
    ///
    /// Cancellation safe: a change that was not yet given is given to the next call.
    pub async fn changed(&mut self) -> Option<ConnectionState> {
        let is_new = self.0.has_changed().unwrap_or(false);
        if !is_new && matches!(*self.0.borrow(), ConnectionState::Disconnected(_)) {
            return None;
        }
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }

    /// Waits until connected; cancellation safe.
    ///
    /// # Errors
    /// The cause, when the client has disconnected for good.
    pub async fn wait_connected(&mut self) -> Result<(), DisconnectCause> {
        let settled = |state: &ConnectionState| {
            matches!(state, ConnectionState::Connected | ConnectionState::Disconnected(_))
        };
        match self.0.wait_for(settled).await.as_deref() {
            Ok(ConnectionState::Disconnected(cause)) => Err(cause.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(DisconnectCause::DriverGone),
        }
    }
}
