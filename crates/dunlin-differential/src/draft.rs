//! A packet as its fields, so that each of them can be made wrong before it becomes bytes.

/// A packet that may break any rule.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Packet type and flags.
    pub(crate) first: u8,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(crate) enum Field {
    U8(u8),
    U16(u16),
    U32(u32),
    /// Bytes with their length in two bytes before them: a string, or binary data.
    Text(Vec<u8>),
    /// Bytes without a length: a payload, a Variable Byte Integer.
    Raw(Vec<u8>),
    /// Properties with their length before them.
    Properties(Vec<Property>),
}

#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub(crate) identifier: u8,
    pub(crate) value: Vec<Field>,
}

impl Field {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(value) => out.push(*value),
            Self::U16(value) => out.extend(value.to_be_bytes()),
            Self::U32(value) => out.extend(value.to_be_bytes()),
            Self::Text(text) => {
                out.extend((text.len() as u16).to_be_bytes());
                out.extend(text);
            }
            Self::Raw(bytes) => out.extend(bytes),
            Self::Properties(properties) => {
                let mut body = Vec::new();
                for property in properties {
                    body.push(property.identifier);
                    property.value.iter().for_each(|field| field.encode(&mut body));
                }
                out.extend(variable_byte_integer(body.len()));
                out.extend(body);
            }
        }
    }
}

impl Property {
    pub(crate) fn new(identifier: u8, value: Field) -> Self {
        Self { identifier, value: vec![value] }
    }
}

impl Draft {
    pub(crate) fn new(first: u8, fields: Vec<Field>) -> Self {
        Self { first, fields }
    }

    /// Everything after the fixed header.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.fields.iter().for_each(|field| field.encode(&mut body));
        body
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        frame(self.first, &self.body())
    }
}

/// A fixed header and what follows it.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(variable_byte_integer(body.len()));
    bytes.extend(body);
    bytes
}

pub(crate) fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Whether a receiver that believes the lengths has whole packets and nothing more.
pub(crate) fn ends_with_a_packet(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let mut len = 0;
        let mut at = 1;
        loop {
            let Some(byte) = bytes.get(at) else { return false };
            len += usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if at > 4 {
                return false;
            }
        }
        let Some(rest) = bytes.get(at + len..) else { return false };
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_packet_is_found() {
        let ping = frame(0xC0, &[]);
        let long = frame(0x30, &[0; 300]);
        assert!(ends_with_a_packet(&[ping.clone(), long.clone()].concat()));
        assert!(!ends_with_a_packet(&[ping, long[..200].to_vec()].concat()));
        assert!(!ends_with_a_packet(&[0x30]));
        assert!(!ends_with_a_packet(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]));
    }
}
