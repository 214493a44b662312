//! Checks of MQTT servers and clients, each named after the normative statements that it tests.
//!
//! They look from outside, over a socket, and know nothing of who is at the other end. The parts:
//!
//! - [`statements`] is the standard as a list: what must be kept, and by whom.
//! - [`Check`] is one question, [`Case`] the same for one version, [`Verdict`] the answer.
//! - [`Peer`] is one end of a connection that says whatever a check wants, legal or not, and
//!   remembers what was said.
//! - [`server`] holds the checks of servers, a table of [`server::Check`] in each file; [`client`]
//!   those of clients.
//! - [`run`] runs cases side by side; [`Report`] is what they found.
//!
//! # Writing a check
//!
//! An entry of a table is the whole of it:
//!
//! ```
//! use dunlin_codec::QoS;
//! use dunlin_conformance::server::Check;
//! use dunlin_conformance::{BOTH, ensure, frame, passed};
//!
//! const CHECKS: &[Check] = &[
//!     Check {
//!         name: "publish/no-other-topic-name",
//!         versions: BOTH,
//!         statements: &["MQTT-4.7.3-4", "MQTT3-4.7.3-4"],
//!         looks_for: "a Topic Filter without wildcards matches its own Topic Name and no other",
//!         run: |bench| {
//!             let (mut publisher, mut subscriber) = bench.pair("t", QoS::AtLeastOnce)?;
//!             publisher.publish(&bench.topic_name("other"), QoS::AtLeastOnce, "not for you")?;
//!             publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
//!             let before = subscriber.publishes_before(b"marker")?;
//!             ensure(before.is_empty(), "a message comes that no Topic Filter matches")?;
//!             passed()
//!         },
//!     },
//!     Check {
//!         name: "publish/qos-3-closes",
//!         versions: BOTH,
//!         statements: &["MQTT-3.3.1-4", "MQTT3-3.3.1-4"],
//!         looks_for: "a PUBLISH with QoS 3 ends the connection",
//!         run: |bench| {
//!             let properties = if bench.is_v5() { "00" } else { "" };
//!             bench.cuts_off(&frame(0x36, &format!("'a/b' 0001 {properties}")))
//!         },
//!     },
//! ];
//! ```
//!
//! - A check sees the server as a stranger does. What the standard leaves open passes, and the
//!   check says by [`seen`] or [`End::passed`] which behaviour it saw.
//! - What a server may lack is asked of [`server::Bench::can`] first, and skips the check.
//! - Wait for what has to come, never for nothing to come: to prove that something does not come,
//!   cause something later that does ([`Peer::publishes_before`], [`Peer::expect_no_publish`]).
//!   Where the standard binds to time, [`server::Bench::wait`] and [`Peer::wait_longer`].
//! - All names come from the bench, so checks never meet. It takes away the sessions and retained
//!   messages that were made, also by bytes, as long as they are legal packets.
//! - A new check is run against the bad servers of the tests (`tests/it/bad_servers.rs`) at once,
//!   and has to fail at one that lets it in.

#![forbid(unsafe_code)]

mod check;
pub mod client;
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
pub use exchange::{Direction, Exchange, Line, Malformed};
pub use hex::{bytes, frame};
pub use packets::{ToPacket, encoded, message, message_of, subscribe, subscription, will};
pub use peer::{End, Peer};
pub use report::{Finding, Outcome, Report, Tally};
pub use runner::{guarded, run};
pub use verdict::{Passed, Stop, Verdict, ensure, failed, passed, seen, skipped};
