//! The values of properties: the type of a field decides how it is read and written.

use super::Property;
use crate::decode::Reader;
use crate::encode::{put_prefixed, put_variable_byte_integer, variable_byte_integer_len};
use crate::{DecodeError, QoS, SubscriptionIdentifier, Text, TopicAlias, TopicName, TransmitBuf};
use alloc::vec::Vec;
use bytes::Bytes;

/// The field of a property set.
pub(crate) trait PropertyField {
    /// Reads the value that follows the identifier of `property`.
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), DecodeError>;

    /// Bytes of the property, identifier included; 0 while it is absent.
    fn encoded_len(&self, property: Property) -> usize;

    /// Appends the property, if it is there.
    fn write(&self, property: Property, out: &mut TransmitBuf);
}

/// A value that comes behind the identifier of a property.
pub(crate) trait PropertyValue: Sized {
    fn read(property: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Bytes of the value, without the identifier.
    fn encoded_len(&self) -> usize;

    /// Appends the identifier and the value.
    fn write(&self, property: Property, out: &mut TransmitBuf);

    /// Whether the property can say this value. What it cannot say is left out: absence is the
    /// legal way to say "the most there can be".
    #[inline]
    fn is_sayable(&self, _: Property) -> bool {
        true
    }
}

/// A property that is there once at most.
impl<V: PropertyValue> PropertyField for Option<V> {
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if self.is_some() {
            return Err(DecodeError::PropertyDuplicate(property));
        }
        *self = Some(V::read(property, reader)?);
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, property: Property) -> usize {
        match self {
            Some(value) if value.is_sayable(property) => 1 + value.encoded_len(),
            _ => 0,
        }
    }

    #[inline]
    fn write(&self, property: Property, out: &mut TransmitBuf) {
        if let Some(value) = self
            && value.is_sayable(property)
        {
            value.write(property, out);
        }
    }
}

/// A property that may be there any number of times.
impl<V: PropertyValue> PropertyField for Vec<V> {
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.push(V::read(property, reader)?);
        Ok(())
    }

    #[inline]
    fn encoded_len(&self, _: Property) -> usize {
        self.iter().map(|value| 1 + value.encoded_len()).sum()
    }

    #[inline]
    fn write(&self, property: Property, out: &mut TransmitBuf) {
        for value in self {
            value.write(property, out);
        }
    }
}

/// Appends the identifier and a 16-bit integer.
#[inline]
fn put_two_byte_value(property: Property, value: u16, out: &mut TransmitBuf) {
    let [high, low] = value.to_be_bytes();
    out.put_slice(&[property.identifier(), high, low]);
}

/// Appends the identifier and bytes behind their two-byte length. There are at most 65,535.
#[inline]
fn put_prefixed_value(property: Property, bytes: &[u8], out: &mut TransmitBuf) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    put_two_byte_value(property, bytes.len() as u16, out);
    out.put_slice(bytes);
}

const fn not_zero(property: Property) -> bool {
    matches!(property, Property::ReceiveMaximum | Property::MaximumPacketSize)
}

impl PropertyValue for u32 {
    fn read(property: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u32()? {
            0 if not_zero(property) => Err(DecodeError::PropertyZero(property)),
            value => Ok(value),
        }
    }

    fn encoded_len(&self) -> usize {
        4
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        let [a, b, c, d] = self.to_be_bytes();
        out.put_slice(&[property.identifier(), a, b, c, d]);
    }

    #[inline]
    fn is_sayable(&self, property: Property) -> bool {
        *self != 0 || !not_zero(property)
    }
}

impl PropertyValue for u16 {
    fn read(property: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u16()? {
            0 if not_zero(property) => Err(DecodeError::PropertyZero(property)),
            value => Ok(value),
        }
    }

    fn encoded_len(&self) -> usize {
        2
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        put_two_byte_value(property, *self, out);
    }

    #[inline]
    fn is_sayable(&self, property: Property) -> bool {
        *self != 0 || !not_zero(property)
    }
}

impl PropertyValue for bool {
    fn read(property: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::PropertyNotBoolean(property, other)),
        }
    }

    fn encoded_len(&self) -> usize {
        1
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        out.put_slice(&[property.identifier(), u8::from(*self)]);
    }
}

/// Maximum QoS, the one property of this type: 0 or 1, since 2 is said by its absence.
impl PropertyValue for QoS {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            other => Err(DecodeError::MaximumQoS(other)),
        }
    }

    fn encoded_len(&self) -> usize {
        1
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        out.put_slice(&[property.identifier(), self.value()]);
    }

    #[inline]
    fn is_sayable(&self, _: Property) -> bool {
        *self != Self::ExactlyOnce
    }
}

impl PropertyValue for TopicAlias {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(reader.u16()?).ok_or(DecodeError::TopicAliasZero)
    }

    fn encoded_len(&self) -> usize {
        2
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        put_two_byte_value(property, self.value(), out);
    }
}

impl PropertyValue for SubscriptionIdentifier {
    fn read(property: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(reader.variable_byte_integer()?).ok_or(DecodeError::PropertyZero(property))
    }

    fn encoded_len(&self) -> usize {
        variable_byte_integer_len(self.value() as usize)
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        out.put_u8(property.identifier());
        put_variable_byte_integer(out, self.value() as usize);
    }
}

impl PropertyValue for Text {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.text()
    }

    fn encoded_len(&self) -> usize {
        2 + self.as_bytes().len()
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        put_prefixed_value(property, self.as_bytes(), out);
    }
}

/// Response Topic, the one property of this type.
impl PropertyValue for TopicName {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.topic_name(DecodeError::ResponseTopic)
    }

    fn encoded_len(&self) -> usize {
        self.as_text().encoded_len()
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        self.as_text().write(property, out);
    }
}

impl PropertyValue for Bytes {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn encoded_len(&self) -> usize {
        2 + self.len()
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        put_prefixed_value(property, self, out);
    }
}

/// The name and the value of a User Property [MQTT-1.5.7-1].
impl PropertyValue for (Text, Text) {
    fn read(_: Property, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((reader.text()?, reader.text()?))
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len() + self.1.encoded_len()
    }

    fn write(&self, property: Property, out: &mut TransmitBuf) {
        self.0.write(property, out);
        put_prefixed(out, self.1.as_bytes());
    }
}
