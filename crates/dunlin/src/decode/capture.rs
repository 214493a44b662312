//! Capture files: the link-layer frames in pcap and pcapng, read by hand.

/// A frame as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The kind of its first header, as the registry of link types numbers them.
    pub(super) link_type: u32,
    pub(super) bytes: &'a [u8],
}

/// Whether the file begins like a capture.
pub(super) fn is_capture(file: &[u8]) -> bool {
    file.starts_with(&SECTION_HEADER.to_le_bytes()) || Order::of_pcap(file).is_some()
}

/// The frames of a pcap or pcapng file; one that was cut off gives the frames before the cut.
pub(super) fn frames(file: &[u8]) -> Vec<Frame<'_>> {
    match Order::of_pcap(file) {
        Some(order) => pcap(file, order),
        None => pcapng(file),
    }
}

const PCAP_MICROSECONDS: u32 = 0xA1B2_C3D4;
const PCAP_NANOSECONDS: u32 = 0xA1B2_3C4D;
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;

/// Byte order of a file's numbers.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of_pcap(file: &[u8]) -> Option<Self> {
        Self::by_magic(file, 0, &[PCAP_MICROSECONDS, PCAP_NANOSECONDS])
    }

    fn by_magic(file: &[u8], at: usize, magics: &[u32]) -> Option<Self> {
        let has = |order: &Self| order.u32(file, at).is_some_and(|found| magics.contains(&found));
        [Self::Little, Self::Big].into_iter().find(has)
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(four),
            Self::Big => u32::from_be_bytes(four),
        })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(two),
            Self::Big => u16::from_be_bytes(two),
        })
    }
}

fn pcap(file: &[u8], order: Order) -> Vec<Frame<'_>> {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    let mut frames = Vec::new();
    // The upper bits tell about frame check sequences.
    let Some(link_type) = order.u32(file, 20).map(|field| field & 0xFFFF) else { return frames };
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    while let Some(len) = order.u32(rest, 8) {
        let Some(bytes) = rest.get(RECORD_HEADER..).and_then(|rest| rest.get(..len as usize))
        else {
            break;
        };
        frames.push(Frame { link_type, bytes });
        rest = &rest[RECORD_HEADER + bytes.len()..];
    }
    frames
}

fn pcapng(file: &[u8]) -> Vec<Frame<'_>> {
    const INTERFACE: u32 = 1;
    const SIMPLE_PACKET: u32 = 3;
    const ENHANCED_PACKET: u32 = 6;
    let mut frames = Vec::new();
    let mut order = Order::Little;
    let mut link_types: Vec<u32> = Vec::new();
    let mut rest = file;
    loop {
        let block_type = order.u32(rest, 0);
        if block_type == Some(SECTION_HEADER) {
            // Each section has a byte order and interfaces of its own.
            let Some(section_order) = Order::by_magic(rest, 8, &[BYTE_ORDER]) else { break };
            order = section_order;
            link_types.clear();
        }
        let Some(len) = order.u32(rest, 4).map(|len| len as usize) else { break };
        let Some(block) = rest.get(..len).filter(|block| block.len() >= 12) else { break };
        let packet = match block_type {
            Some(INTERFACE) => {
                link_types.push(order.u16(block, 8).map_or(u32::MAX, u32::from));
                None
            }
            Some(ENHANCED_PACKET) => enhanced_packet(block, order, &link_types),
            Some(SIMPLE_PACKET) => simple_packet(block, order, &link_types),
            _ => None,
        };
        frames.extend(packet);
        rest = &rest[len..];
    }
    frames
}

fn enhanced_packet<'a>(block: &'a [u8], order: Order, link_types: &[u32]) -> Option<Frame<'a>> {
    let link_type = *link_types.get(order.u32(block, 8)? as usize)?;
    let bytes = block.get(28..)?.get(..order.u32(block, 20)? as usize)?;
    Some(Frame { link_type, bytes })
}

fn simple_packet<'a>(block: &'a [u8], order: Order, link_types: &[u32]) -> Option<Frame<'a>> {
    let link_type = *link_types.first()?;
    let captured = block.get(12..block.len() - 4)?;
    let len = (order.u32(block, 8)? as usize).min(captured.len());
    Some(Frame { link_type, bytes: &captured[..len] })
}
