//! Bodies of fuzz targets: bytes drive one connection after the other, with invariants checked
//! after every operation.
//!
//! They live here, where ordinary tests can replay what a fuzzer has found.

mod client;
mod packets;
mod server;
mod world;

pub use client::client;
pub use server::server;
