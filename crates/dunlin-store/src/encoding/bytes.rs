//! Numbers and strings of stored values: big-endian, lengths in front, and nothing trusted on the
//! way back.

use bytes::Bytes;
use dunlin_protocol::codec::{QoS, Text, TopicName};

/// Why a stored value means nothing: it was damaged, or another program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The value ends before what its beginning promises.
    #[error("ends too early")]
    TooShort,
    /// The value goes on where it should end.
    #[error("goes on after its end")]
    TooLong,
    /// The value was written by a newer version, or its first byte is damaged.
    #[error("unknown layout")]
    UnknownLayout,
    /// A part of the value is none of the values that exist.
    #[error("holds an impossible value")]
    Impossible,
    /// A string of the value breaks the rules of strings in MQTT.
    #[error("holds an illegal string")]
    IllegalString,
    /// The row's key has not the form of keys in its table.
    #[error("has an impossible key")]
    Key,
    /// The message that the row refers to is not there.
    #[error("refers to a message that is missing")]
    MissingMessage,
}

/// The layout that this version writes, and the first byte of each value.
pub(crate) const LAYOUT: u8 = 1;

/// Appends the parts of a value.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A value that will have about so many bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(LAYOUT);
        Self(bytes)
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// A string of at most 65,535 bytes, as all strings of MQTT are.
    pub(crate) fn short(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= usize::from(u16::MAX), "longer than any string of MQTT");
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(len);
        self.0.extend_from_slice(&bytes[..usize::from(len)]);
    }

    /// A text of any length that memory has room for.
    pub(crate) fn long(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(len);
        self.0.extend_from_slice(&bytes[..len as usize]);
    }

    /// The last part, whose length is that of the value.
    pub(crate) fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes the parts of a value.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    /// Checks the layout, and begins after it.
    pub(crate) fn new(mut value: Bytes) -> Result<Self, Damage> {
        match value.first() {
            None => Err(Damage::TooShort),
            Some(&LAYOUT) => {
                let _ = value.split_to(1);
                Ok(Self(value))
            }
            Some(_) => Err(Damage::UnknownLayout),
        }
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Damage> {
        if len > self.0.len() {
            return Err(Damage::TooShort);
        }
        Ok(self.0.split_to(len))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (first, _) = self.0.split_first_chunk::<N>().ok_or(Damage::TooShort)?;
        let first = *first;
        let _ = self.0.split_to(N);
        Ok(first)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Damage> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn short(&mut self) -> Result<Bytes, Damage> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    pub(crate) fn long(&mut self) -> Result<Bytes, Damage> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(crate) fn text(&mut self) -> Result<Text, Damage> {
        Text::from_bytes(self.short()?).map_err(|_| Damage::IllegalString)
    }

    pub(crate) fn topic_name(&mut self) -> Result<TopicName, Damage> {
        TopicName::from_bytes(self.short()?).map_err(|_| Damage::IllegalString)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), Damage> {
        if self.0.is_empty() { Ok(()) } else { Err(Damage::TooLong) }
    }
}

/// Flags of which all must be known: a damaged byte is noticed, and so is a newer writer.
pub(crate) fn known_flags(flags: u8, known: u8) -> Result<u8, Damage> {
    if flags & !known == 0 { Ok(flags) } else { Err(Damage::Impossible) }
}

/// The QoS in the two lowest bits of flags.
pub(crate) fn qos_of(flags: u8) -> Result<QoS, Damage> {
    QoS::new(flags & 0b11).ok_or(Damage::Impossible)
}
