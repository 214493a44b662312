//! What can go wrong with a Session Store.

use dunlin_protocol::codec::Text;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a Session could not be loaded or kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused: the disk is full, the folder is not there, ...
    #[error("the session store {path:?} could not {action}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, like "be written".
        action: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Another process, or another client of this one, has the store open.
    #[error("the session store {0:?} is in use by another client")]
    InUse(PathBuf),
    /// The file is something else.
    #[error("{0:?} is no session store")]
    NotAStore(PathBuf),
    /// A newer program wrote the file.
    #[error("the session store {path:?} has format {found}; this program knows {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u32,
        /// The latest format that this program reads.
        known: u32,
    },
    /// A part that was stored once can't be read back. [`crate::FileStore::open_damaged`] goes on
    /// with what precedes it.
    #[error("the session store {path:?} is damaged at byte {offset}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// The Session in the store is that of another client.
    #[error("the session store is of client {stored:?}, not of {configured:?}")]
    OtherClient {
        /// The Client Identifier in the store.
        stored: Text,
        /// The Client Identifier of this client.
        configured: Text,
    },
    /// An earlier call failed, so that it is not known what is stored.
    #[error("the session store failed before")]
    Failed,
    /// The store had not synced seconds after the client was done; it may still do so.
    #[error("the session store does not come to an end")]
    Hangs,
    /// The store's thread ended, or was never begun: the runtime shuts down, or the store
    /// panicked.
    #[error("the thread of the session store is gone")]
    Gone,
    /// Whatever went wrong in a store of the user's own.
    #[error("the session store failed")]
    Other(#[source] Arc<dyn std::error::Error + Send + Sync>),
}
