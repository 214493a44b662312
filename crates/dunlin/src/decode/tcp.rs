//! From captured frames to what TCP carried: headers off, segments in order.

use super::capture::Frame;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One direction of a TCP connection.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The bytes in order, up to the first gap.
    pub(super) bytes: Vec<u8>,
    /// Whether bytes are missing after them.
    pub(super) has_gap: bool,
    /// For each run of bytes its end, and the number of the frame that brought it.
    arrivals: Vec<(usize, usize)>,
}

impl Flow {
    /// The number of the frame, from 1, that brought the last of the first `end` bytes.
    pub(super) fn frame_of(&self, end: usize) -> usize {
        let run = self.arrivals.partition_point(|(run_end, _)| *run_end < end);
        self.arrivals.get(run).map_or(0, |(_, frame)| *frame)
    }
}

/// The directions of each connection with this port at one end: to the port, then from it, in the
/// order of their first frames.
pub(super) fn connections(frames: &[Frame<'_>], port: u16) -> Vec<(Flow, Flow)> {
    let mut connections: Vec<(Direction<'_>, Direction<'_>)> = Vec::new();
    let mut open: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
    for (number, frame) in frames.iter().enumerate() {
        let Some(segment) = Segment::read(frame) else { continue };
        let to_server = segment.to.port() == port;
        if !to_server && segment.from.port() != port {
            continue;
        }
        let (client, server) =
            if to_server { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let is_new = segment.syn && to_server;
        let known = open.get(&(client, server)).copied().filter(|nth| {
            // The port is used again: a connection of its own, unless the SYN was sent twice.
            !is_new || connections[*nth].0.base == Some(segment.sequence.wrapping_add(1))
        });
        let nth = known.unwrap_or_else(|| {
            let directions = (Direction::new(client, server), Direction::new(server, client));
            connections.push(directions);
            open.insert((client, server), connections.len() - 1);
            connections.len() - 1
        });
        let (upward, downward) = &mut connections[nth];
        if to_server { upward } else { downward }.add(number + 1, &segment);
    }
    connections.into_iter().map(|(up, down)| (up.assemble(), down.assemble())).collect()
}

struct Direction<'a> {
    from: SocketAddr,
    to: SocketAddr,
    /// The sequence number of the first byte.
    base: Option<u32>,
    /// Sequence number, frame number, bytes.
    segments: Vec<(u32, usize, &'a [u8])>,
}

impl<'a> Direction<'a> {
    const fn new(from: SocketAddr, to: SocketAddr) -> Self {
        Self { from, to, base: None, segments: Vec::new() }
    }

    fn add(&mut self, frame: usize, segment: &Segment<'a>) {
        // SYN takes a sequence number of its own.
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.syn || (self.base.is_none() && !segment.payload.is_empty()) {
            self.base = Some(first);
        }
        if !segment.payload.is_empty() {
            self.segments.push((first, frame, segment.payload));
        }
    }

    fn assemble(self) -> Flow {
        let base = self.base.unwrap_or(0);
        // Sequence numbers wrap, so each is read as the number nearest to the highest so far. A
        // capture that begins within a connection may bring bytes from before the first ones.
        let mut highest: i64 = 0;
        let mut segments = Vec::with_capacity(self.segments.len());
        for (sequence, frame, payload) in self.segments {
            let ahead = sequence.wrapping_sub(base.wrapping_add(highest as u32)).cast_signed();
            let at = highest + i64::from(ahead);
            highest = highest.max(at);
            segments.push((at, frame, payload));
        }
        segments.sort_by_key(|(at, frame, _)| (*at, *frame));
        let (mut bytes, mut arrivals, mut has_gap) = (Vec::new(), Vec::new(), false);
        for (at, frame, payload) in segments {
            let missing = at - bytes.len() as i64;
            if missing > 0 {
                has_gap = true;
                break;
            }
            // What was sent before is sent again.
            let known = usize::try_from(-missing).unwrap_or(usize::MAX);
            if let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) {
                bytes.extend_from_slice(new);
                arrivals.push((bytes.len(), frame));
            }
        }
        Flow { from: self.from, to: self.to, bytes, has_gap, arrivals }
    }
}

struct Segment<'a> {
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    syn: bool,
    payload: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl<'a> Segment<'a> {
    /// Takes the headers off; `None` for what isn't TCP over IP, or is a fragment.
    fn read(frame: &Frame<'a>) -> Option<Self> {
        let packet = network_packet(frame)?;
        let (source, destination, tcp) = match packet.first()? >> 4 {
            4 => ipv4(packet)?,
            6 => ipv6(packet)?,
            _ => return None,
        };
        let header_len = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: SocketAddr::new(source, u16_at(tcp, 0)?),
            to: SocketAddr::new(destination, u16_at(tcp, 2)?),
            sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            syn: tcp.get(13)? & 0x02 != 0,
            payload: tcp.get(header_len..)?,
        })
    }
}

/// The IP packet in a frame.
fn network_packet<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    const ETHERNET: u32 = 1;
    const NULL: u32 = 0;
    const LOOP: u32 = 108;
    const RAW: [u32; 5] = [12, 14, 101, 228, 229];
    const LINUX_COOKED: u32 = 113;
    const LINUX_COOKED_2: u32 = 276;
    match frame.link_type {
        ETHERNET => {
            let mut at = 12;
            // VLAN tags stand before the type.
            while matches!(u16_at(frame.bytes, at)?, 0x8100 | 0x88A8) {
                at += 4;
            }
            frame.bytes.get(at + 2..)
        }
        NULL | LOOP => frame.bytes.get(4..),
        LINUX_COOKED => frame.bytes.get(16..),
        LINUX_COOKED_2 => frame.bytes.get(20..),
        link_type if RAW.contains(&link_type) => Some(frame.bytes),
        _ => None,
    }
}

const TCP: u8 = 6;

fn ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header_len = usize::from(packet.first()? & 0x0F) * 4;
    let is_fragment = u16_at(packet, 6)? & 0x3FFF != 0;
    if *packet.get(9)? != TCP || is_fragment {
        return None;
    }
    // The frame may be padded; a length of 0 is what segmentation offload leaves.
    let total_len = match usize::from(u16_at(packet, 2)?) {
        0 => packet.len(),
        len => len.min(packet.len()),
    };
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    Some((address(12)?, address(16)?, packet.get(header_len..total_len)?))
}

fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    const HEADER_LEN: usize = 40;
    let end = match usize::from(u16_at(packet, 4)?) {
        0 => packet.len(),
        len => (HEADER_LEN + len).min(packet.len()),
    };
    let (mut next_header, mut at) = (*packet.get(6)?, HEADER_LEN);
    // Hop-by-hop, routing and destination options.
    while matches!(next_header, 0 | 43 | 60) {
        next_header = *packet.get(at)?;
        at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
    }
    if next_header != TCP {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    Some((address(8)?, address(24)?, packet.get(at..end)?))
}
