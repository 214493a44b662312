//! The engine that both ends of a connection share: exchanges, quotas, aliases and liveness.

mod alias;
mod inbound;
mod invariants;
mod outbound;

use alias::Aliases;
pub(crate) use outbound::PubRecOutcome;

use crate::event::AckKind;
use crate::{ConnectionEnd, Instant, Session, Violation};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::BytesMut;
use dunlin_codec::{
    Decoder, Limits, Packet, PacketIdentifier, PacketType, ProtocolVersion, ReasonCode,
};

/// The state of an established connection that does not depend on the role.
///
/// Kept small, since a Server holds one for every idle Client: what few connections use lies
/// behind a pointer and is made on demand.
#[derive(Debug)]
pub(crate) struct Engine {
    decoder: Decoder,
    pub(crate) session: Session,
    /// Acknowledgements that the owner of the connection owes, in the order they must leave
    /// [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    pending_acks: VecDeque<PendingAck>,
    aliases: Option<Box<Aliases>>,
    end: Option<Box<ConnectionEnd>>,
    last_received: Instant,
    last_sent: Instant,
    /// The largest packet that the peer accepts, in bytes.
    peer_packet_size_max: u32,
    /// The peer's Receive Maximum, and how much of it is in use.
    peer_receive_maximum: u16,
    sending: u16,
    /// Our own Receive Maximum, and how much of it the peer uses.
    receive_maximum: u16,
    receiving: u16,
    /// Whether the owner forgoes what is published, so that input need not wait for acknowledgements.
    pub(crate) forgoes: bool,
    /// PUBLISH packets of a resumed Session that were not yet sent again, and where to look for
    /// the first of them.
    resend_left: u16,
    resend_hint: u16,
    /// Whether the PUBREL packets of a resumed Session are still to be sent.
    resend_pubrels: bool,
    /// Whether the owner of the connection says when a PUBREL is sent.
    pub(crate) holds_releases: bool,
    /// Whether CONNACK has been sent or received.
    pub(crate) established: bool,
    /// Bytes of the incomplete packet that is being received, those that came too slowly left out.
    partial_len: u32,
    /// Whether a re-authentication is under way.
    pub(crate) reauthenticating: bool,
    /// Whether the peer wants to hear reasons beside Reason Codes [MQTT-3.1.2-29].
    pub(crate) problem_information: bool,
}

#[derive(Clone, Copy, Debug)]
struct PendingAck {
    packet_identifier: PacketIdentifier,
    kind: AckKind,
    /// The answer, once the owner has given it.
    ready: Option<ReasonCode>,
}

impl Engine {
    pub(crate) fn new(now: Instant, version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self {
            decoder: Decoder::new(version, packet_size_max),
            session: Session::new(),
            pending_acks: VecDeque::new(),
            aliases: None,
            end: None,
            last_received: now,
            last_sent: now,
            peer_packet_size_max: u32::MAX,
            peer_receive_maximum: u16::MAX,
            sending: 0,
            receive_maximum: u16::MAX,
            receiving: 0,
            forgoes: false,
            resend_left: 0,
            resend_hint: 0,
            resend_pubrels: false,
            holds_releases: false,
            established: false,
            partial_len: 0,
            reauthenticating: false,
            problem_information: true,
        }
    }

    pub(crate) const fn version(&self) -> ProtocolVersion {
        self.decoder.version()
    }

    pub(crate) const fn set_version(&mut self, version: ProtocolVersion) {
        self.decoder.set_version(version);
    }

    pub(crate) const fn set_packet_size_max(&mut self, packet_size_max: u32) {
        self.decoder.set_packet_size_max(packet_size_max);
    }

    pub(crate) const fn set_peer_packet_size_max(&mut self, packet_size_max: u32) {
        self.peer_packet_size_max = packet_size_max;
    }

    pub(crate) const fn peer_packet_size_max(&self) -> u32 {
        self.peer_packet_size_max
    }

    pub(crate) fn set_receive_maximum(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum.max(1);
    }

    pub(crate) fn set_peer_receive_maximum(&mut self, receive_maximum: u16) {
        self.peer_receive_maximum = receive_maximum.max(1);
    }

    pub(crate) fn set_aliases(&mut self, inbound_max: u16, outbound_max: u16) {
        self.aliases = (inbound_max > 0 || outbound_max > 0)
            .then(|| Box::new(Aliases::new(inbound_max, outbound_max)));
    }

    pub(crate) const fn last_received(&self) -> Instant {
        self.last_received
    }

    pub(crate) const fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Takes the first whole packet off the input. Without one [`Engine::on_partial`] follows.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Packet>, Violation> {
        let packet = self.decoder.decode_within(input, limits)?;
        if packet.is_some() {
            self.last_received = now;
            self.partial_len = 0;
        }
        Ok(packet)
    }

    /// A large packet that takes longer than the Keep Alive is no silence: its bytes count as well,
    /// once a peer was accepted. So many of them a second, from those that counted last: a packet that
    /// grows by a byte now and then would hold what has come of it for ever.
    pub(crate) fn on_partial(&mut self, now: Instant, len: usize, rate_min: u32) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let grown = u128::from(len.saturating_sub(self.partial_len));
        if grown == 0 {
            return;
        }
        let elapsed = now.saturating_since(self.last_received);
        let is_first = self.partial_len == 0;
        if !self.established {
            self.partial_len = len;
        } else if is_first || grown * 1_000_000 >= elapsed.as_micros() * u128::from(rate_min) {
            self.partial_len = len;
            self.last_received = now;
        }
    }

    /// Whether a part of a packet has arrived, and not all of it.
    pub(crate) const fn has_partial(&self) -> bool {
        self.partial_len > 0
    }

    /// Gives back memory that a burst needed and the present does not.
    pub(crate) fn shrink(&mut self) {
        self.session.outbound.shrink();
        if self.pending_acks.is_empty() {
            self.pending_acks = VecDeque::new();
        }
    }

    /// Ends the connection; the first reason stays.
    pub(crate) fn close(&mut self, end: ConnectionEnd) {
        if self.end.is_none() {
            self.end = Some(Box::new(end));
        }
    }

    pub(crate) fn end(&self) -> Option<&ConnectionEnd> {
        self.end.as_deref()
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.end.is_some()
    }
}

/// The Reason Code, or the most general one of the same outcome where the packet may not carry it
/// [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
/// [MQTT-3.14.2-1].
pub(crate) const fn allowed(reason_code: ReasonCode, packet_type: PacketType) -> ReasonCode {
    if reason_code.is_allowed_in(packet_type) {
        reason_code
    } else if reason_code.is_error() && ReasonCode::UnspecifiedError.is_allowed_in(packet_type) {
        ReasonCode::UnspecifiedError
    } else {
        ReasonCode::Success
    }
}
