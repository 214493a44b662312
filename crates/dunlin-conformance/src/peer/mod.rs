//! One end of a connection, in the hands of a check: says anything, and records everything.

mod end;
mod expect;
mod flows;

pub use end::End;

use crate::exchange::Direction;
use crate::hex::digits;
use crate::{Exchange, Stop, ToPacket, encoded, failed};
use bytes::BytesMut;
use dunlin_codec::{Decoder, Packet, PacketIdentifier, ProtocolVersion};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// One end of a connection.
///
/// Sending never fails: whether the other end still reads is for the expectations to say. What
/// is received has to be legal, or the check fails.
///
/// Packets of one type come in their order. Those of another type than the one expected are set
/// aside and are found by a later expectation, because the standard lets the exchanges of a
/// connection run beside each other; only CONNACK, DISCONNECT and AUTH are never passed over.
#[derive(Debug)]
pub struct Peer {
    name: String,
    stream: TcpStream,
    version: ProtocolVersion,
    decoder: Decoder,
    input: BytesMut,
    aside: VecDeque<Packet>,
    packet_identifier: PacketIdentifier,
    patience: Duration,
    exchange: Exchange,
    has_ended: bool,
    /// Whether the other end still reads, as far as is known.
    is_read: bool,
}

/// What the other end did next.
#[derive(Debug)]
pub(crate) enum Incoming {
    Packet(Packet),
    /// It closed the connection.
    Closed,
    /// Nothing until the deadline.
    Nothing,
}

impl Peer {
    /// Takes over a connection. `name` stands for it in the record.
    ///
    /// # Errors
    /// As the socket says.
    pub fn new(
        stream: TcpStream,
        name: &str,
        version: ProtocolVersion,
        patience: Duration,
        exchange: Exchange,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            name: name.to_owned(),
            stream,
            version,
            decoder: Decoder::new(version, u32::MAX),
            input: BytesMut::new(),
            aside: VecDeque::new(),
            packet_identifier: PacketIdentifier::FIRST,
            patience,
            exchange,
            has_ended: false,
            is_read: true,
        })
    }

    /// The version that packets are written and read in.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Goes on in another version, once CONNECT has told which.
    pub(crate) const fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
        self.decoder.set_version(version);
    }

    /// A Packet Identifier that this end has not used before.
    pub const fn new_packet_identifier(&mut self) -> PacketIdentifier {
        let packet_identifier = self.packet_identifier;
        self.packet_identifier = packet_identifier.next();
        packet_identifier
    }

    /// Waits this much longer than usual from now on, for what comes only after a time.
    pub fn wait_longer(&mut self, time: Duration) {
        self.patience += time;
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: impl ToPacket) {
        self.send_bytes(&encoded(packet, self.version));
    }

    /// Sends what [`bytes`](crate::bytes) makes of the text.
    ///
    /// # Panics
    /// When that can't be read.
    pub fn send_hex(&mut self, text: &str) {
        self.send_bytes(&crate::bytes(text));
    }

    /// Sends any bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.exchange.bytes(&self.name, self.version, bytes);
        // Once is enough to wait for a peer that does not read, and half a packet leads nowhere.
        if self.is_read
            && let Err(error) = self.write_all(bytes)
        {
            self.is_read = false;
            self.note(format!("not sent: {error}"));
        }
    }

    /// Writes within the patience, also to a peer that reads byte by byte.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.patience;
        while !bytes.is_empty() {
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_write_timeout(Some(patience))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes the connection as a network does that fails: without DISCONNECT.
    pub fn abort(self) {
        self.note("closed by us without DISCONNECT");
        // Fails when the other end was quicker, which comes to the same.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Ends what this end sends, and goes on reading.
    pub fn finish_sending(&mut self) {
        self.note("we send no more");
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Puts a remark into the record.
    pub fn note(&self, text: impl Into<String>) {
        self.exchange.event(&self.name, text);
    }

    /// What comes next from the socket, within the patience.
    fn receive(&mut self) -> Result<Incoming, Stop> {
        self.receive_until(Instant::now() + self.patience)
    }

    pub(crate) fn receive_until(&mut self, deadline: Instant) -> Result<Incoming, Stop> {
        loop {
            self.exchange.go_on()?;
            // Enough to show, should it be no packet.
            let before = self.input[..self.input.len().min(64)].to_vec();
            match self.decoder.decode(&mut self.input) {
                Ok(Some(packet)) => {
                    self.exchange.packet(&self.name, Direction::Received, &packet);
                    return Ok(Incoming::Packet(packet));
                }
                Ok(None) if self.has_ended => return Ok(Incoming::Closed),
                Ok(None) => {}
                Err(error) => {
                    let statement = error.statement();
                    self.exchange.malformed(&self.name, &before, error);
                    if let Some(protocol) = other_protocol(&before) {
                        return failed(format!("a packet of MQTT expected; that is {protocol}"));
                    }
                    return failed(format!(
                        "a legal packet expected; what came is not: {error} [{statement}]"
                    ));
                }
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                return Ok(Incoming::Nothing);
            }
            match self.read(patience) {
                Ok(0) => self.end("closed by the peer"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(Incoming::Nothing);
                }
                Err(error) => self.end(&format!("closed by the peer: {error}")),
            }
        }
    }

    fn read(&mut self, patience: Duration) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(patience))?;
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.exchange.count_bytes(count);
        self.input.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn end(&mut self, how: &str) {
        self.has_ended = true;
        self.note(how);
        if !self.input.is_empty() {
            self.note(format!("within a packet: {}", digits(&self.input)));
        }
    }

    /// All bytes up to the end of the connection, whatever they are; for answers whose form is
    /// not known before. Nothing may have been expected before on this connection.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the connection stays open.
    pub fn expect_closed_raw(&mut self) -> Result<Vec<u8>, Stop> {
        let deadline = Instant::now() + self.patience;
        while !self.has_ended {
            self.exchange.go_on()?;
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            match self.read(patience) {
                Ok(0) => self.end("closed by the peer"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => self.end(&format!("closed by the peer: {error}")),
            }
        }
        let received = self.input.split().to_vec();
        self.exchange.add(&self.name, Direction::Received, digits(&received), None);
        if self.has_ended {
            return Ok(received);
        }
        failed(format!("the connection is to be closed, and is open after {:?}", self.patience))
    }
}

/// The protocol that an answer belongs to, where people often connect by mistake.
fn other_protocol(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', ..] => Some("HTTP"),
        // An alert, of whichever version.
        [0x15, 0x03, ..] => Some("TLS"),
        _ => None,
    }
}
