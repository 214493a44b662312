//! Load for any MQTT broker, and books that prove what arrived.
//!
//! One thread drives all publishers and subscribers over sockets that never block, with frames made by
//! hand, so that the load costs less for each message than the broker that it measures. Each payload
//! names its publisher, its place in the publisher's sequence and the moment when it was due: what is
//! lost, doubled, out of order or altered is counted, never taken for granted.

#![forbid(unsafe_code)]

mod books;
mod carrier;
pub mod connection;
mod engine;
mod error;
pub mod frame;
mod layers;
mod layout;
pub mod outcome;
mod packet;
mod payload;
pub mod plan;
pub mod process;
#[cfg(feature = "quic")]
mod quic;
pub mod report;
mod run;
mod transport;

pub use error::BenchError;
pub use payload::PAYLOAD_MIN;
pub use run::run;
pub use transport::{Transport, TransportError};
