//! Reads the fields of one packet, in place.

use super::Limits;
use super::frame::read_variable_byte_integer;
use crate::types::text;
use crate::{DecodeError, InvalidTopicName, PacketIdentifier, Text, TopicFilter, TopicName};
use bytes::Bytes;

/// What is left of a packet, or of its properties.
pub(crate) struct Reader<'a> {
    /// The packet, if long texts and binary data are to be slices of it; else they are copied,
    /// which for the few that most packets have is cheaper than a reference to the buffer.
    frame: Option<&'a Bytes>,
    rest: &'a [u8],
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// Reads the bytes, and copies what is kept of them.
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self { frame: None, rest: bytes, limits }
    }

    /// Reads the bytes of `frame` from `from` on; nothing if there are none. What is kept of them
    /// is a reference to `frame` unless it is a short text.
    #[inline]
    pub(crate) fn sharing(frame: &'a Bytes, from: usize, limits: &'a Limits) -> Self {
        Self { frame: Some(frame), rest: frame.get(from..).unwrap_or_default(), limits }
    }

    /// How much the peer may use.
    pub(crate) const fn limits(&self) -> &'a Limits {
        self.limits
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Skips the next byte if it is zero, and says whether it was.
    #[inline]
    pub(crate) fn skip_zero(&mut self) -> bool {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// All bytes that are left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Splits off the next `len` bytes, after checking that they are there.
    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer. Spec: §1.5.5, [MQTT-1.5.5-1].
    #[inline]
    pub(crate) fn variable_byte_integer(&mut self) -> Result<u32, DecodeError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u32::from(byte));
        }
        let (value, len) = read_variable_byte_integer(self.rest)?.ok_or(DecodeError::Truncated)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    /// The bytes behind a two-byte length.
    #[inline]
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// The fields that follow in the next `len` bytes; `None` when there are fewer.
    #[inline]
    pub(crate) fn section(&mut self, len: u32) -> Option<Self> {
        let (section, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(Self { frame: self.frame, rest: section, limits: self.limits })
    }

    /// Binary Data. Spec: §1.5.6.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.prefixed()?;
        Ok(self.frame.map_or_else(|| Bytes::copy_from_slice(bytes), |it| it.slice_ref(bytes)))
    }

    /// A UTF-8 Encoded String. Spec: §1.5.4.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text, DecodeError> {
        let bytes = self.prefixed()?;
        text::check(bytes)?;
        Ok(self.keep(bytes))
    }

    /// A Topic Name; `invalid` makes the error of one that is not legal.
    pub(crate) fn topic_name(
        &mut self,
        invalid: fn(InvalidTopicName) -> DecodeError,
    ) -> Result<TopicName, DecodeError> {
        let bytes = self.prefixed()?;
        self.limits.check_topic_name(bytes.len())?;
        TopicName::check(bytes).map_err(invalid)?;
        Ok(TopicName::from_checked(self.keep(bytes)))
    }

    /// A Topic Filter.
    #[inline]
    pub(crate) fn topic_filter(&mut self) -> Result<TopicFilter, DecodeError> {
        let bytes = self.prefixed()?;
        TopicFilter::check(bytes)?;
        Ok(TopicFilter::from_checked(self.keep(bytes)))
    }

    /// The text that these bytes of the packet are, which were checked.
    #[inline]
    fn keep(&self, bytes: &[u8]) -> Text {
        match self.frame {
            Some(frame) => Text::in_place_checked(bytes)
                .unwrap_or_else(|| Text::from_checked(frame.slice_ref(bytes))),
            None => Text::copy_checked(bytes),
        }
    }

    /// A Packet Identifier, which is never zero [MQTT-2.2.1-3].
    #[inline]
    pub(crate) fn packet_identifier(&mut self) -> Result<PacketIdentifier, DecodeError> {
        PacketIdentifier::new(self.u16()?).ok_or(DecodeError::PacketIdentifierZero)
    }

    /// Says that the packet ends here.
    #[inline]
    pub(crate) const fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(DecodeError::TrailingBytes(more as u32)),
        }
    }
}
