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
//!    back-pressure. After `accept`, `auth` and `acknowledge` call it again as well: input may
//!    have waited for them.
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
//!
//! # Example
//!
//! Both ends in one program, joined by a buffer:
//!
//! ```
//! use bytes::BytesMut;
//! use dunlin_protocol::codec::{Connect, ProtocolVersion, Text, TransmitBuf};
//! use dunlin_protocol::*;
//! use std::{sync::Arc, time::Duration};
//!
//! // The part of a socket: what one end has to say becomes the other's input.
//! fn carry(out: &mut TransmitBuf, input: &mut BytesMut) {
//!     let mut pieces = [&[][..]; 8];
//!     let filled = out.pieces(&mut pieces);
//!     let before = input.len();
//!     pieces[..filled].iter().for_each(|piece| input.extend_from_slice(piece));
//!     out.advance(input.len() - before);
//! }
//!
//! let now = Instant::ZERO;
//! let connect = Connect {
//!     protocol_version: ProtocolVersion::V5,
//!     bridge: false,
//!     clean_start: true,
//!     keep_alive: 60,
//!     client_identifier: Text::from_static("lamp-7"),
//!     will: None,
//!     user_name: None,
//!     password: None,
//!     properties: Default::default(),
//! };
//! let config = ClientConfig {
//!     connect,
//!     connect_timeout: Duration::from_secs(10),
//!     in_flight_max: 100,
//!     topic_alias_outbound_max: 0,
//! };
//! let (mut out, mut input) = (TransmitBuf::new(), BytesMut::new());
//! let mut client = ClientConnection::new(now, config, Session::new(), &mut out)?;
//! let mut server = ServerConnection::new(now, Arc::new(ServerConfig::default()));
//!
//! carry(&mut out, &mut input);
//! match server.handle_input(now, &mut input, &mut out) {
//!     Progress::Event(ServerEvent::Connect(connect)) => {
//!         assert_eq!(connect.client_identifier, "lamp-7");
//!         server.accept(now, Session::new(), false, Default::default(), &mut out)?;
//!     }
//!     progress => panic!("{progress:?}"),
//! }
//! carry(&mut out, &mut input);
//! let progress = client.handle_input(now, &mut input, &mut out);
//! assert!(matches!(progress, Progress::Event(ClientEvent::Connected { .. })));
//! assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(60)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
