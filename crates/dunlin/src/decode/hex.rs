//! Bytes from hex digits as people copy them: with spaces, colons, `0x`, over several lines.

/// Reads hex digits; the error says what is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let separates = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-' | '_' | '\\');
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for group in text.split(separates) {
        let prefixes = ["0x", "0X", "x"];
        let digits = prefixes.iter().find_map(|prefix| group.strip_prefix(prefix)).unwrap_or(group);
        if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("{wrong:?} in {group:?} is no hex digit"));
        }
        // A digit that stands alone after its prefix, as in "0x5", is a byte.
        let is_byte = digits.len() == 1 && digits.len() < group.len();
        if !is_byte && !digits.len().is_multiple_of(2) {
            return Err(format!("{group:?} has an odd number of hex digits"));
        }
        let pairs = digits.as_bytes().chunks(2);
        bytes
            .extend(pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | value(*digit))));
    }
    Ok(bytes)
}

/// The value of a hex digit.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
