//! Checks of MQTT servers and clients, each named after the normative statements that it tests.
//!
//! [`statements`] is the standard as a list: what must be kept, and by whom.

#![forbid(unsafe_code)]

pub mod statements;
