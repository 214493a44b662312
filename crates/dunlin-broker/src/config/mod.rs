//! What an operator can set, with the defaults, and where each value may come from.

#[cfg(feature = "server")]
mod auth;
#[cfg(feature = "server")]
mod endpoint;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod jwt;
mod limits;
#[cfg(feature = "server")]
mod listener;
#[cfg(feature = "server")]
mod load;
#[cfg(feature = "server")]
mod memory;
#[cfg(feature = "server")]
mod network;
#[cfg(feature = "server")]
mod rights;
#[cfg(feature = "server")]
mod setting;
#[cfg(feature = "server")]
mod show;
#[cfg(feature = "server")]
mod suggest;
#[cfg(all(test, feature = "server"))]
mod tests;
#[cfg(feature = "server")]
mod web_socket;

#[cfg(feature = "server")]
pub use dunlin_identity::certificate::CertificateField;
#[cfg(feature = "server")]
pub use dunlin_transport::tls::{CertificateFiles, ClientCertificate, ServerFiles};
pub use limits::{Limits, QueuePolicy};
#[cfg(feature = "server")]
pub use {
    auth::Auth,
    endpoint::{Endpoint, SocketFile},
    http::Http,
    jwt::Jwt,
    listener::{Listener, ListenerError},
    load::{ConfigError, Flag, LoadedConfig, Origin},
    memory::Memory,
    network::{InvalidNetwork, Network},
    rights::Rights,
    setting::{Setting, settings},
    show::{reference, reference_page},
    web_socket::WebSocketListener,
};

#[cfg(feature = "server")]
use crate::core::DurabilityRules;
#[cfg(feature = "server")]
use std::path::PathBuf;

/// Memory of a handshake under way, with what the system's sockets don't hold.
#[cfg(feature = "server")]
const HANDSHAKE_LEN: usize = 96 * 1024;
/// Handshakes that may be under way however little memory there may be.
#[cfg(feature = "server")]
const HANDSHAKES_MIN: usize = 16;

/// Everything an operator can set.
#[cfg(feature = "server")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Whether a client may connect without credentials. Unset, it may if nobody checks
    /// passwords, and a listener that others can reach is an error: see [`Config::exposed_listener`].
    pub allow_anonymous: Option<bool>,
    /// How clients are known.
    pub auth: Auth,
    /// What clients may do.
    pub rights: Rights,
    /// Worker threads, at least 1; each has its own share of the connections and sessions.
    pub workers: usize,
    /// The folder for what must survive the process; unset, everything lives in memory.
    pub data: Option<PathBuf>,
    /// What an acknowledgement means, where there is such a folder.
    pub durability: DurabilityRules,
    /// Seconds between two looks at the files of certificates; 0 leaves it to [`crate::Broker::reload`].
    pub watch_files_secs: u32,
    /// What is logged, as a filter like `info` or `warn,dunlin_broker=debug`.
    pub log: String,
    /// How much of everything the broker grants.
    pub limits: Limits,
    /// How much memory it may have.
    pub memory: Memory,
}

#[cfg(feature = "server")]
impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::default()],
            allow_anonymous: None,
            auth: Auth::default(),
            rights: Rights::default(),
            workers: available_workers(),
            data: None,
            durability: DurabilityRules::default(),
            watch_files_secs: 5,
            log: "info".to_owned(),
            limits: Limits::default(),
            memory: Memory::default(),
        }
    }
}

#[cfg(feature = "server")]
impl Config {
    /// Whether clients without credentials are accepted.
    pub fn allows_anonymous(&self) -> bool {
        self.allow_anonymous
            .unwrap_or_else(|| !self.auth.checks_passwords() && self.exposed_listener().is_none())
    }

    /// The limits as they hold: retained messages are never more than half of the memory that there
    /// may be, so that others find room beside them, and handshakes no more than a sixteenth, half of
    /// them for one address.
    pub(crate) fn limits_in_memory(&self) -> Limits {
        let mut limits = self.limits.clone();
        if self.memory.max > 0 {
            limits.retained_bytes_max = limits.retained_bytes_max.min(self.memory.max / 2);
            let handshakes = (self.memory.max / 16 / HANDSHAKE_LEN).max(HANDSHAKES_MIN);
            if handshakes < limits.half_open_max {
                limits.half_open_max = handshakes;
                let per_address = &mut limits.half_open_per_address_max;
                *per_address = (*per_address).min(handshakes / 2);
            }
        }
        limits
    }

    /// The first listener that others than this machine can reach although nobody said whether
    /// anonymous clients are welcome there; a broker must not start with it.
    pub fn exposed_listener(&self) -> Option<&Listener> {
        if self.allow_anonymous.is_some() || self.auth.checks_passwords() {
            return None;
        }
        self.listeners.iter().find(|listener| listener.is_exposed())
    }

    /// The first listener by which nobody can come in, since anonymous clients are turned away and
    /// there is no other way to know anybody; a broker does not start with it.
    pub fn closed_listener(&self) -> Option<&Listener> {
        if self.allow_anonymous != Some(false) || self.auth.checks_passwords() {
            return None;
        }
        self.listeners.iter().find(|listener| !listener.knows_its_clients())
    }

    /// Whether nobody could come in by some listener but with a password of the file.
    pub(crate) fn closed_without_passwords(&self) -> bool {
        let mut listeners = self.listeners.iter();
        !self.auth.jwt.is_on()
            && !self.auth.http.is_on()
            && !self.allows_anonymous()
            && listeners.all(|listener| !listener.asks_for_certificates())
    }

    /// The first listener by which passwords would come from other machines for all to read
    /// although nobody said that they may; a broker does not start with it.
    pub fn plaintext_listener(&self) -> Option<&Listener> {
        if !self.auth.checks_passwords() || self.auth.allow_plaintext {
            return None;
        }
        self.listeners.iter().find(|listener| listener.is_plaintext())
    }

    /// Whether clients are asked who they are: there is a way to know some of them, a reason to turn
    /// some away, or there are rules for them.
    pub fn asks_who_clients_are(&self) -> bool {
        let mut listeners = self.listeners.iter();
        self.auth.checks_passwords()
            || self.rights.file.is_some()
            || !self.allows_anonymous()
            || listeners.any(Listener::asks_for_certificates)
    }
}

/// One worker for each core that this process may use.
#[cfg(feature = "server")]
fn available_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
