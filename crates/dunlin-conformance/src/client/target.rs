//! The client that is judged: how it is started, and what it is known to do.

use super::Habits;
use super::watch::Watched;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the client comes to connect.
#[derive(Clone)]
pub enum Client {
    /// A program and its arguments, started for each check. The placeholders of
    /// [`Seat::fill`] are filled in.
    Command(Vec<String>),
    /// A function, called on a thread of its own for each check; it plays until nobody listens
    /// any more.
    Function(fn(Seat)),
    /// Somebody else starts it. The function is told what is waited for.
    ByHand(fn(&str)),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => f.debug_tuple("Command").field(words).finish(),
            Self::Function(_) => f.write_str("Function"),
            Self::ByHand(_) => f.write_str("ByHand"),
        }
    }
}

/// Where a client connects to, and the names that it uses there.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Where the check listens.
    pub address: SocketAddr,
    /// The Client Identifier to use; empty where the Server is to choose one.
    pub client_identifier: String,
    /// The Topic Name to publish to and the Topic Filter to subscribe to.
    pub topic_name: String,
    /// The version to speak as people write it in flags: `5` or `311`.
    pub version: &'static str,
}

impl Seat {
    /// The argument with the placeholders `{host}`, `{port}`, `{url}`, `{client_id}`, `{topic}`
    /// and `{version}` filled in.
    pub fn fill(&self, argument: &str) -> String {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        argument
            .replace("{host}", &host)
            .replace("{port}", &port)
            .replace("{url}", &format!("mqtt://{}", self.address))
            .replace("{client_id}", &self.client_identifier)
            .replace("{topic}", &self.topic_name)
            .replace("{version}", self.version)
    }
}

/// The client that is judged.
#[derive(Clone, Debug)]
pub struct Target {
    /// How it is started.
    pub client: Client,
    /// Where to listen. With port 0 each check has a port of its own, and checks can run side by
    /// side.
    pub listen: SocketAddr,
    /// How long to wait for what has to come.
    pub patience: Duration,
    /// How long to wait for a client to connect for the first time: programs need time to start.
    pub arrival: Duration,
    /// What the client does by itself in each version, see [`probe`](super::probe). Without it each
    /// check waits to see.
    pub habits: Vec<Habits>,
    /// Once it is true, nobody is waited for to connect, and checks that have not begun are skipped.
    pub is_interrupted: Arc<AtomicBool>,
    /// What all connections of a run showed about the rules that are watched.
    pub(super) watched: Arc<Mutex<Watched>>,
}

impl Target {
    /// A client with a patience of five seconds.
    pub fn new(client: Client, listen: SocketAddr) -> Self {
        let patience = Duration::from_secs(5);
        Self {
            client,
            listen,
            patience,
            arrival: 6 * patience,
            habits: Vec::new(),
            is_interrupted: Arc::default(),
            watched: Arc::default(),
        }
    }
}
