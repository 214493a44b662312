//! How much a peer may use within one packet.

use crate::DecodeError;

/// How much a peer may use within one packet, whatever the packet's size. It is checked while the
/// packet is read, so that nothing is kept of one that goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a Topic Name: of a message, of a Will, and of where an answer is expected.
    pub topic_name_len_max: u16,
    /// User Properties of a packet; a Will has as many of its own.
    pub user_properties_max: u32,
    /// Bytes of their names and values together.
    pub user_property_bytes_max: u32,
}

impl Limits {
    /// As much as fits in a packet.
    pub const NONE: Self = Self {
        topic_name_len_max: u16::MAX,
        user_properties_max: u32::MAX,
        user_property_bytes_max: u32::MAX,
    };

    /// Checks the length of a Topic Name.
    #[inline]
    pub(crate) const fn check_topic_name(&self, len: usize) -> Result<(), DecodeError> {
        if len > self.topic_name_len_max as usize {
            return Err(DecodeError::TopicNameTooLong {
                len: len as u16,
                max: self.topic_name_len_max,
            });
        }
        Ok(())
    }

    /// Checks User Properties of which so many, with so many bytes, were read.
    pub(crate) const fn check_user_properties(
        &self,
        count: u32,
        bytes: u32,
    ) -> Result<(), DecodeError> {
        if count > self.user_properties_max {
            return Err(DecodeError::TooManyUserProperties { max: self.user_properties_max });
        }
        if bytes > self.user_property_bytes_max {
            return Err(DecodeError::UserPropertiesTooLong { max: self.user_property_bytes_max });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}
