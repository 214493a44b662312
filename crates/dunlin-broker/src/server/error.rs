//! Why a broker doesn't start, or doesn't take up files that were read again.

use crate::auth::{HttpFileError, KeyFileError, PasswordFileError};
use crate::config::{Endpoint, Listener};
use crate::rights::RightsFileError;
use dunlin_transport::tls::TlsFileError;
use std::io;

/// Why a broker didn't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener that others can reach, and nobody said that they are welcome.
    #[error("{}", listener.exposure())]
    Exposed {
        /// The listener.
        listener: Box<Listener>,
    },
    /// Anonymous clients are turned away, and there is no other way to come in.
    #[error(
        "allow_anonymous = false lets nobody in by {0}: there is no auth.password_file, no \
         auth.jwt.key_file, no auth.http.url and no client_ca of the listener"
    )]
    NobodyAllowed(String),
    /// Passwords would come from other machines for all to read.
    #[error(
        "passwords that come by {0} can be read on the way; use mqtts:// there, or set \
         auth.allow_plaintext = true if that is meant"
    )]
    Plaintext(String),
    /// The password file is of no use.
    #[error("auth.password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// Settings contradict each other.
    #[error("{key}: {reason}")]
    Setting {
        /// One of them.
        key: &'static str,
        /// What is wrong, and the mend.
        reason: &'static str,
    },
    /// The keys for tokens are of no use.
    #[error("auth.jwt.key_file: {0}")]
    KeyFile(#[from] KeyFileError),
    /// A file for the back end of logins is of no use.
    #[error(transparent)]
    HttpFile(#[from] HttpFileError),
    /// The file of rules is of no use.
    #[error("rights.file: {0}")]
    RightsFile(#[from] RightsFileError),
    /// A listener's address can't be used.
    #[error("{listener} can't be opened: {source}{hint}")]
    Listen {
        /// The listener.
        listener: String,
        /// What may help.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a listener's TLS is of no use.
    #[error("{listener}: {source}")]
    Tls {
        /// The listener.
        listener: String,
        /// The file, what is wrong with it, and the mend.
        source: TlsFileError,
    },
    /// What was stored can't be read.
    #[error("the state of an earlier broker can't be read")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gave no thread, or no way to wait for events.
    #[error("a worker can't be started")]
    Worker(#[source] io::Error),
}

impl StartError {
    /// A listener can't be opened, with what may help.
    pub(crate) fn listen(listener: &Listener, source: io::Error) -> Self {
        let hint = hint(&listener.endpoint, &source);
        Self::Listen { listener: listener.url(), hint, source }
    }
}

fn hint(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    match (endpoint, error.kind()) {
        (Endpoint::Socket(_), io::ErrorKind::AddrInUse) => {
            "; another program listens there, or the file is no socket: choose another one"
        }
        (Endpoint::Socket(_), io::ErrorKind::PermissionDenied) => {
            "; let the broker's user write to the folder and the file"
        }
        (Endpoint::Socket(_), io::ErrorKind::NotFound) => {
            "; there is no such folder: make it, or choose another one"
        }
        (Endpoint::Socket(_), io::ErrorKind::NotADirectory) => {
            "; a file is in the place of its folder: choose another one"
        }
        (_, io::ErrorKind::AddrInUse) => "; another program listens there, choose another port",
        (_, io::ErrorKind::PermissionDenied) => {
            "; ports below 1024 need rights, choose a higher one"
        }
        (_, io::ErrorKind::AddrNotAvailable) => "; this machine has no such address",
        _ => "",
    }
}

/// Why not all files were taken up that were read again; the first of the causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The password file is of no use.
    #[error("auth.password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// The keys for tokens are of no use.
    #[error("auth.jwt.key_file: {0}")]
    KeyFile(#[from] KeyFileError),
    /// A file for the back end of logins is of no use.
    #[error(transparent)]
    HttpFile(#[from] HttpFileError),
    /// The file of rules is of no use.
    #[error("rights.file: {0}")]
    RightsFile(#[from] RightsFileError),
    /// A file of a listener's TLS is of no use.
    #[error("{listener}: {source}")]
    Tls {
        /// The listener.
        listener: String,
        /// The file, what is wrong with it, and the mend.
        source: TlsFileError,
    },
}
