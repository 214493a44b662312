//! An Application Message as a peer received it.

/// What a subscriber saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic_name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// MQTT 5 properties by the standard's names without spaces, in the order received.
    pub(crate) properties: Vec<(String, String)>,
}

impl Message {
    /// All values of one property.
    pub(crate) fn property(&self, name: &str) -> Vec<&str> {
        let matching = self.properties.iter().filter(|(property, _)| property == name);
        matching.map(|(_, value)| value.as_str()).collect()
    }

    /// The payload as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.payload).expect("the payload was sent as text")
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn from_hex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// A payload of a mebibyte in which every position can be told from its neighbours.
pub(crate) fn large_payload() -> Vec<u8> {
    (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
