//! Bytes as the standard's examples write them: hexadecimal digits with texts in between.

/// The bytes that a check says: hexadecimal digits; `"text"` as it is; `'text'` with its two-byte
/// length in front.
///
/// ```
/// # use dunlin_conformance::bytes;
/// assert_eq!(bytes(r#"30 "a" 0102"#), b"\x30a\x01\x02");
/// assert_eq!(bytes("'MQTT' 05"), b"\x00\x04MQTT\x05");
/// ```
///
/// # Panics
/// On anything else: the text is part of a check.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' | '\'' => {
                let (quoted, after) = rest[1..].split_once(first).expect("a quote ends");
                if first == '\'' {
                    let len = u16::try_from(quoted.len()).expect("a length of two bytes");
                    bytes.extend(len.to_be_bytes());
                }
                bytes.extend_from_slice(quoted.as_bytes());
                after
            }
            space if space.is_whitespace() => &rest[1..],
            _ => {
                let byte = rest.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                bytes.push(byte.unwrap_or_else(|| panic!("hexadecimal digits at {rest:?}")));
                &rest[2..]
            }
        };
    }
    bytes
}

/// A whole packet: its first byte, its Remaining Length, and what [`bytes()`] makes of `body`.
///
/// # Panics
/// When [`bytes()`] does.
pub fn frame(first_byte: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    let mut packet = vec![first_byte];
    let mut len = body.len();
    while len >= 0x80 {
        packet.push((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    packet.push(len as u8);
    packet.extend(body);
    packet
}

/// The first bytes as digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&format!("{byte:02X}"));
    }
    if bytes.len() > SHOWN {
        text.push_str(&format!(" … {} bytes", bytes.len()));
    }
    text
}
