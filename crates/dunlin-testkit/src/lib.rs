//! Test equipment: a virtual clock, a seeded generator, a link that can be cut at any byte, and
//! ends that drive the state machines over it.
//!
//! - [`Pair`] joins a Client's and a Server's connection and watches the wire between them with an
//!   [`Observer`] that knows nothing of either.
//! - [`Scripted`] plays the peer by hand, packet by packet or byte by byte, against one connection.
//! - [`for_each_seed`] runs a random test many times; `SIM_SEED` replays one run.
//!
//! Everything is deterministic: time moves when the test says so, chance comes from the seed. The
//! parts are small and know nothing of each other where they need not, so that a simulation of a
//! whole system can be put together from them: [`Link`] carries bytes between any two parties,
//! [`End`] drives one state machine, [`Observer`] judges one Network Connection after the other.

#![forbid(unsafe_code)]

mod clock;
mod end;
mod link;
mod observer;
mod pair;
mod random;
mod scripted;
mod server;

pub use clock::Clock;
pub use end::{Connection, End};
pub use link::{Link, LinkOptions};
pub use observer::{Observer, Side};
pub use pair::Pair;
pub use random::{Random, for_each_seed};
pub use scripted::{Scripted, connect};
pub use server::ServerLogic;
