//! Checks of MQTT servers and clients, each named after the normative statements that it tests.
//!
//! They look from outside, over a socket, and know nothing of who is at the other end. The parts:
//!
//! - [`statements`] is the standard as a list: what must be kept, and by whom.
//! - [`Check`] is one question, [`Case`] the same for one version, [`Verdict`] the answer.
//! - [`Peer`] is one end of a connection that says whatever a check wants, legal or not, and
//!   remembers what was said.
//! - [`server`] holds the checks of servers, a table of [`server::Check`] in each file.
//! - [`run`] runs cases side by side; [`Report`] is what they found.
//!
//! # A check
//!
//! An entry of a table is the whole of it:
//!
//! ```
//! use dunlin_conformance::server::Check;
//! use dunlin_conformance::{BOTH, passed};
//!
//! const CHECKS: &[Check] = &[Check {
//!     name: "connect/second-connect-closes",
//!     versions: BOTH,
//!     statements: &["MQTT-3.1.0-2", "MQTT3-3.1.0-2"],
//!     looks_for: "a second CONNECT ends the connection",
//!     run: |bench| {
//!         let mut peer = bench.connect("twice")?;
//!         let again = bench.connect_packet("twice");
//!         peer.send(again);
//!         peer.expect_closed()?.passed()
//!     },
//! }];
//! # let _ = passed;
//! ```

#![forbid(unsafe_code)]

mod check;
mod exchange;
mod hex;
mod packets;
mod peer;
mod report;
mod runner;
pub mod server;
pub mod statements;
mod verdict;

pub use check::{BOTH, Case, Check, V3, V5, cases};
pub use exchange::{Direction, Exchange, Line};
pub use hex::{bytes, frame};
pub use packets::{ToPacket, encoded, message, message_of, subscribe, subscription, will};
pub use peer::{End, Peer};
pub use report::{Finding, Outcome, Report, Tally};
pub use runner::{guarded, run};
pub use verdict::{Passed, Stop, Verdict, ensure, failed, passed, seen, skipped};
