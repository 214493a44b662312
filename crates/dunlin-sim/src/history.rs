//! What happened, as the world tells it and the judge hears it: the one thing that both know.
//!
//! The judge sees the wire where it enters and leaves the broker, and what the applications at the
//! clients see. It never asks a state machine.

use dunlin_broker::core::Rules;
use dunlin_codec::{Packet, ReasonCode};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

/// A client program with its Session, across its Network Connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

/// A Network Connection; counted up over the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// One thing that happened. Events come in the order in which they happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The broker accepted a Network Connection.
    Opened {
        /// The connection.
        connection: ConnectionId,
        /// Who opened it.
        device: DeviceId,
    },
    /// The broker took a packet off the connection's input.
    Taken {
        /// The connection.
        connection: ConnectionId,
        /// The packet. A CONNECT that another worker than the one that read it decides about is
        /// taken when that one has it.
        packet: &'a Packet,
        /// Its length in bytes.
        len: usize,
    },
    /// The broker took a part of a packet: its peer isn't silent.
    Heard {
        /// The connection.
        connection: ConnectionId,
    },
    /// The broker took bytes that are no packet: it must end the connection.
    TakenMalformed {
        /// The connection.
        connection: ConnectionId,
    },
    /// The broker wrote a packet to the socket. What it had to say and never wrote is not told.
    Written {
        /// The connection.
        connection: ConnectionId,
        /// The packet.
        packet: &'a Packet,
        /// Its length in bytes.
        len: usize,
    },
    /// The broker was told that the peer has closed its side while nothing was taken of its input.
    PeerGone {
        /// The connection.
        connection: ConnectionId,
    },
    /// The socket took less than the broker had to write: what is written from now on may have
    /// been said long before.
    Blocked {
        /// The connection.
        connection: ConnectionId,
    },
    /// All that the broker had to say is written.
    Drained {
        /// The connection.
        connection: ConnectionId,
    },
    /// The socket failed: all that the broker had to say and had not written is gone.
    OutputLost {
        /// The connection.
        connection: ConnectionId,
    },
    /// The broker ended the connection: nothing is taken after, and its session is away or over.
    /// What it still had to say may be written until `Closed`.
    Ended {
        /// The connection.
        connection: ConnectionId,
    },
    /// The broker knows that the connection is over; nothing is taken or written after.
    Closed {
        /// The connection.
        connection: ConnectionId,
    },
    /// The client took a packet that the broker wrote.
    Arrived {
        /// The connection.
        connection: ConnectionId,
        /// The packet.
        packet: &'a Packet,
    },
    /// An application was given a message. A QoS 2 message is given once for each exchange.
    Delivered {
        /// Whose application.
        device: DeviceId,
        /// On this connection.
        connection: ConnectionId,
        /// The message, as the client's connection gave it.
        message: &'a Message,
    },
    /// An application was told that its publish is acknowledged without an error, by PUBACK or by
    /// PUBREC: the message with this number is the broker's now.
    Acknowledged {
        /// Whose application.
        device: DeviceId,
        /// The number of the message, see [`message_number`].
        number: u64,
    },
    /// A device lost its Session: it was reset, or it begins anew with Clean Start.
    SessionForgotten {
        /// Which device.
        device: DeviceId,
    },
    /// At the end, when all is at rest, the broker says how many messages it has dropped for a Client,
    /// for whatever causes, since its session began or the broker was started.
    DropsCounted {
        /// The Client.
        client_identifier: &'a str,
        /// So many.
        count: u64,
    },
    /// The broker's process ended without warning; every connection is closed. What its store had
    /// not made safe may be lost.
    Crashed,
    /// The broker begins to stop as it should; its connections end.
    Stopping,
    /// The broker's process is up again, has recovered, and takes connections.
    Restarted,
    /// The store fails from here on: nothing more becomes safe until the next restart.
    StoreFailed,
    /// The store works again: what it was given while it failed becomes safe as well.
    StoreMended,
    /// The broker has asked who is at the other end.
    LoginAsked {
        /// The connection.
        connection: ConnectionId,
    },
    /// The broker was told what a login has come to, the first one or a later one.
    LoginAnswered {
        /// The connection.
        connection: ConnectionId,
        /// What it has come to.
        answer: LoginAnswer<'a>,
    },
    /// The broker is told of new rules, which had this many before them: from here on a worker may
    /// go by them.
    RulesChanged {
        /// How many there were before.
        number: u64,
        /// The rules.
        rules: &'a Arc<Rules>,
    },
    /// Every worker goes by these rules.
    RulesInForce {
        /// Which.
        number: u64,
    },
    /// No more faults are made: from here on all devices connect, read and answer, and what is
    /// owed must arrive.
    FaultsEnded,
}

/// What a login has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAnswer<'a> {
    /// The Client is let in.
    Allowed {
        /// As whom; `None` is nobody in particular.
        user: Option<&'a str>,
        /// For how long, if there is an end.
        until: Option<Instant>,
    },
    /// The Client is turned away.
    Denied(ReasonCode),
}

/// The number of an Application Message: its payload starts with it in decimal digits, ended by a
/// space or by the end. Publishes of the world have numbers that are used once; a Will's number is
/// used by one connection. `None` is a message that the world did not publish ($SYS, or one that
/// removes a retained message).
pub fn message_number(payload: &[u8]) -> Option<u64> {
    let digits = payload.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&payload[..digits]).ok()?.parse().ok()
}
