//! The whole system in deterministic simulation: brokers, clients, the network between them and
//! the store beneath, on a virtual clock, and a judge that knows the promises.

#![forbid(unsafe_code)]

mod chance;
pub mod history;
pub mod judge;
mod minimize;
mod pipe;
pub mod plan;
mod run;
mod schedule;
mod trace;
mod world;

pub use minimize::minimize;
pub use run::run;
pub use trace::Trace;
pub use world::{Failure, Outcome};
