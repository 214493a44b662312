//! Drives one state machine the way its documentation says: one packet, drain, repeat.

use bytes::BytesMut;
use core::fmt::Debug;
use dunlin_codec::{ReasonCode, TransmitBuf};
use dunlin_protocol::{
    AckError, AckToken, ClientConnection, ClientEvent, ConnectionEnd, InFlight, Instant, Progress,
    ServerConnection, ServerEvent, Session,
};
use std::collections::VecDeque;

/// What the two kinds of connection have in common. Each method is the one of the same name there.
#[allow(missing_docs)] // documented where they are
pub trait Connection {
    type Event: Debug;
    fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        out: &mut TransmitBuf,
    ) -> Progress<Self::Event>;
    fn handle_timeout(&mut self, now: Instant, out: &mut TransmitBuf);
    fn handle_network_closed(&mut self);
    fn acknowledge(
        &mut self,
        now: Instant,
        ack: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) -> Result<(), AckError>;
    fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf,
        dropped: &mut Vec<InFlight>,
    ) -> bool;
    fn poll_timeout(&self) -> Option<Instant>;
    fn end(&self) -> Option<&ConnectionEnd>;
    fn take_session(&mut self) -> Session;
    /// The acknowledgement that the owner owes after this event.
    fn owed(event: &Self::Event) -> Option<AckToken>;
}

macro_rules! connection {
    ($connection:ident, $event:ident) => {
        impl Connection for $connection {
            type Event = $event;
            fn handle_input(
                &mut self,
                now: Instant,
                input: &mut BytesMut,
                out: &mut TransmitBuf,
            ) -> Progress<$event> {
                self.handle_input(now, input, out)
            }
            fn handle_timeout(&mut self, now: Instant, out: &mut TransmitBuf) {
                self.handle_timeout(now, out);
            }
            fn handle_network_closed(&mut self) {
                self.handle_network_closed();
            }
            fn acknowledge(
                &mut self,
                now: Instant,
                ack: AckToken,
                reason_code: ReasonCode,
                out: &mut TransmitBuf,
            ) -> Result<(), AckError> {
                self.acknowledge(now, ack, reason_code, out)
            }
            fn poll_transmit(
                &mut self,
                now: Instant,
                out: &mut TransmitBuf,
                dropped: &mut Vec<InFlight>,
            ) -> bool {
                self.poll_transmit(now, out, dropped)
            }
            fn poll_timeout(&self) -> Option<Instant> {
                self.poll_timeout()
            }
            fn end(&self) -> Option<&ConnectionEnd> {
                self.end()
            }
            fn take_session(&mut self) -> Session {
                self.take_session()
            }
            fn owed(event: &$event) -> Option<AckToken> {
                match event {
                    $event::Publish(publish) => publish.ack,
                    $event::Released(token) => Some(*token),
                    _ => None,
                }
            }
        }
    };
}

connection!(ClientConnection, ClientEvent);
connection!(ServerConnection, ServerEvent);

/// A connection with its buffers and the owner's part of the loop.
#[derive(Debug)]
pub struct End<C: Connection> {
    /// The state machine.
    pub connection: C,
    /// Bytes that arrived and were not taken.
    pub input: BytesMut,
    /// Bytes that wait to be sent.
    pub out: TransmitBuf,
    /// What happened, until the test takes it.
    pub events: VecDeque<C::Event>,
    /// What a resend gave up.
    pub dropped: Vec<InFlight>,
    /// Acknowledgements that are owed, in the order of their events.
    pub owed: Vec<AckToken>,
    /// Whether acknowledgements are given as soon as they are owed; they stay in `owed` otherwise.
    pub acknowledges: bool,
}

impl<C: Connection> End<C> {
    /// An end with empty buffers, which acknowledges at once.
    pub fn new(connection: C, out: TransmitBuf) -> Self {
        Self {
            connection,
            input: BytesMut::new(),
            out,
            events: VecDeque::new(),
            dropped: Vec::new(),
            owed: Vec::new(),
            acknowledges: true,
        }
    }

    /// Does all that can be done now; `react` answers events where the protocol asks its owner to.
    pub fn run(
        &mut self,
        now: Instant,
        react: &mut dyn FnMut(&mut C, &C::Event, &mut TransmitBuf),
    ) {
        self.connection.handle_timeout(now, &mut self.out);
        loop {
            let progress = self.connection.handle_input(now, &mut self.input, &mut self.out);
            if let Progress::Event(event) = progress {
                react(&mut self.connection, &event, &mut self.out);
                self.owed.extend(C::owed(&event));
                if self.acknowledges {
                    self.acknowledge_all(now);
                }
                self.events.push_back(event);
            } else if !matches!(progress, Progress::Packet) {
                break;
            }
            self.transmit(now);
        }
        self.transmit(now);
    }

    /// Gives one of the acknowledgements that are owed.
    ///
    /// # Panics
    /// When the connection is up and doesn't know of it.
    pub fn acknowledge(&mut self, now: Instant, index: usize, reason_code: ReasonCode) {
        let token = self.owed.remove(index);
        let given = self.connection.acknowledge(now, token, reason_code, &mut self.out);
        assert_ne!(given, Err(AckError::Unknown), "{token:?}");
    }

    /// Gives all acknowledgements that are owed.
    pub fn acknowledge_all(&mut self, now: Instant) {
        while !self.owed.is_empty() {
            self.acknowledge(now, 0, ReasonCode::Success);
        }
    }

    fn transmit(&mut self, now: Instant) {
        self.connection.poll_transmit(now, &mut self.out, &mut self.dropped);
    }

    /// Takes the bytes that wait to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut output = Vec::with_capacity(self.out.len());
        while !self.out.is_empty() {
            let mut pieces = [&[][..]; 8];
            let filled = self.out.pieces(&mut pieces);
            let before = output.len();
            for piece in &pieces[..filled] {
                output.extend_from_slice(piece);
            }
            let taken = output.len() - before;
            self.out.advance(taken);
        }
        output
    }
}
