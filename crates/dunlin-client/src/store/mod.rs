//! The Session Store: keeps the client's Session, so that it outlives the process.
//!
//! [`SessionChange`] says what can happen to a Session, [`StoredSession`] what they add up to, and
//! [`SessionStore`] is what keeps them. [`FileStore`] does so in a file.

mod change;
mod disk;
mod error;
mod file;
mod journal;
mod session;

pub use change::{InvalidChange, SessionChange, StoredMessage};
pub use error::StoreError;
pub use file::FileStore;
pub use session::{StoredExchange, StoredSession};

/// Keeps the changes of one client's Session: a file, a flash region, a database.
///
/// The client gathers changes, appends them, and syncs once for all of them. What relies on a
/// change waits for that sync:
///
/// | what waits | for |
/// |---|---|
/// | [`crate::Publish::send`] tells that a QoS 1 or 2 message is accepted | [`SessionChange::Queued`] |
/// | PUBLISH of QoS 2 leaves | [`SessionChange::Sent`] |
/// | PUBREL leaves | [`SessionChange::Taken`] |
/// | PUBREC leaves, [`crate::Received::ack_stored`] resolves | [`SessionChange::Received`] |
/// | PUBCOMP leaves | [`SessionChange::Released`] |
/// | whatever follows the CONNACK without the Session leaves | [`SessionChange::Lost`] |
///
/// The calls block, so the client makes them on a thread of Tokio's for blocking work, one at a
/// time. After the first error the client is over: what is not known to be stored is not acted
/// upon, and a failed sync is not repeated as if nothing had happened.
pub trait SessionStore: Send + 'static {
    /// What is stored. Called once, before anything else.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is connected then.
    fn load(&mut self) -> Result<StoredSession, StoreError>;

    /// Takes a change, after those that were appended before it. It needs not be stored yet.
    ///
    /// # Errors
    /// [`StoreError`].
    fn append(&mut self, change: &SessionChange) -> Result<(), StoreError>;

    /// Returns once all that was appended outlives a loss of power. After a crash a store holds
    /// what was synced, and of the rest some first part, in the order of appending, or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sync(&mut self) -> Result<(), StoreError>;
}
