//! The broker as a library: a pure core and the shell that gives it sockets.
//!
//! [`core`] is the broker's brain: sessions, subscriptions, queues, retained messages, Wills and
//! expiry, as a state machine without IO. The feature `server` adds what a program needs to run
//! it: configuration, workers, listeners, and `Broker`, which other programs can embed; the feature
//! `quic` lets its listeners have `quic://`.

#![forbid(unsafe_code)]

#[cfg(feature = "server")]
mod admission;
#[cfg(feature = "server")]
mod auth;
#[cfg(feature = "server")]
mod check;
pub mod config;
pub mod core;
#[cfg(feature = "server")]
mod front;
#[cfg(feature = "server")]
mod log_rate;
#[cfg(feature = "server")]
mod net;
#[cfg(feature = "server")]
mod pressure;
#[cfg(feature = "quic")]
mod quic;
#[cfg(feature = "server")]
pub mod rights;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod trusted_file;
#[cfg(feature = "server")]
mod waiting_room;
#[cfg(feature = "server")]
mod worker;

#[cfg(feature = "server")]
pub use auth::{HttpFileError, KeyFileError, PasswordFileError};
#[cfg(feature = "server")]
pub use check::Checked;
pub use config::{Limits, QueuePolicy};
#[cfg(feature = "server")]
pub use server::{Broker, Builder, ReloadError, StartError};
#[cfg(feature = "server")]
pub use store::{Storage, Store, StoreWaker};
