//! The whole system in deterministic simulation: brokers, clients, the network between them and
//! the store beneath, on a virtual clock, and a judge that knows the promises.

#![forbid(unsafe_code)]

pub mod history;
pub mod judge;
