//! Measures MQTT brokers from outside: load over raw sockets, CPU time and memory from the kernel.
//!
//! The load speaks MQTT 3.1.1 with hand-made frames on one thread, so that one core of load can keep
//! one core of any broker busy. Every run proves that nothing was lost, doubled or reordered before
//! its figures are reported. `README.md` says how to run it and what the figures mean.

#![forbid(unsafe_code)]

pub use dunlin_bench::{connection, frame, process};

pub mod back_ends;
pub mod backlog;
pub mod broker;
pub mod bulk;
pub mod ceiling;
pub mod compare;
pub mod dunlin;
pub mod handshake;
pub mod idle;
pub mod instructions;
pub mod ledger;
pub mod load;
pub mod micro;
pub mod relay;
pub mod report;
pub mod retained;
pub mod statistics;
pub mod traffic;
