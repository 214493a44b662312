//! The embedded store of the broker: what was acknowledged survives the process and the power.
//!
//! [`FileStorage`] is the broker's [`Storage`](dunlin_broker::Storage) in a folder. Records are not
//! kept as a log but as what they add up to: rows of sessions, subscriptions, queues and retained
//! messages in a key-value engine. One thread commits whatever waits, for all workers, as one
//! batch; while one batch is synced, the next gathers. Queues are read back by a thread of its own.

#![forbid(unsafe_code)]

mod apply;
mod commit;
mod compaction;
mod encoding;
mod engine;
mod fetch;
mod group;
mod health;
mod index;
mod journal;
mod keys;
mod loss;
mod open;
mod recovery;
mod retained;
mod scan;
mod shared;
mod storage;
#[cfg(test)]
mod tests;
pub mod tools;

pub use encoding::Damage;
pub use loss::{Loss, Note};
pub use open::{FORMAT, OpenError, look};
pub use recovery::{Found, Problem};
pub use storage::{Ending, FileStorage, FileStore, Options};
