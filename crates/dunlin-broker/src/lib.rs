//! dunlin-broker
#![forbid(unsafe_code)]

pub mod config;

pub use config::{Limits, QueuePolicy};
