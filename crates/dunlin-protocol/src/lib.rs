//! The two ends of an MQTT connection, and the Session that outlives it, as state machines
//! without IO.
//!
//! [`ClientConnection`] and [`ServerConnection`] take bytes, time and commands, and give events
//! and bytes. They never read a clock, open a socket, start a timer or draw a random number: the
//! caller brings `now` with each call, owns the input and the output buffer, and asks
//! `poll_timeout` when to come back.
//!
//! # The loop
//!
//! After every call, do what it asks for, then wait for input, for the deadline, or for a command:
//!
//! 1. `handle_input` takes one packet off the input and gives what it means. Call it again until
//!    it says [`Progress::NeedInput`] or [`Progress::Closed`]. Not calling it again is
//!    back-pressure.
//! 2. Commands (`publish`, `acknowledge`, `disconnect`, …) append bytes to the output they are
//!    given.
//! 3. `poll_transmit` appends what was owed from before (the resend of a resumed Session), as far
//!    as the peer's Receive Maximum and the room in the output allow.
//! 4. Write the output. Once [`Progress::Closed`] was seen and the output is written, close the
//!    Network Connection.
//!
//! An acknowledgement leaves when the caller says so, with `acknowledge`; the engine keeps
//! acknowledgements in the order that the standard demands. A broker can store first, a client can
//! process first.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod client;
mod connection;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod server;
mod session;
mod time;

pub use client::{ClientConfig, ClientConnection};
pub use dunlin_codec as codec;
pub use error::{AckError, CommandError, ConnectionEnd, PublishError, Violation};
pub use event::{AckToken, Acknowledged, ClientEvent, Progress, PublishEvent, ServerEvent};
pub use message::Message;
pub use server::{ServerConfig, ServerConnection};
pub use session::{InFlight, InFlightState, Session};
pub use time::Instant;
