//! Other people's clients against our broker: a matrix with one named test for each version,
//! Quality of Service and feature that a peer speaks.
//!
//! The names read as a table: `paho::v5::qos2::persistent_session`. Each test has a broker of its
//! own, waits for events with a deadline, and never sleeps. `DUNLIN_INTEROP_BROKER=mosquitto` runs
//! the same tests against Mosquitto, which checks the tests themselves.

mod broker_under_test;
mod browser;
#[macro_use]
mod cell;
mod haproxy;
mod known_differences;
mod message;
mod mosquitto_clients;
mod mqttjs;
mod paho;
mod process;
#[cfg(feature = "quic")]
mod quic;
mod tls;
