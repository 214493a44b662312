//! Values of a file of rules, and the mistakes that were met while reading them.

use super::error::Place;
use super::{Mistake, Value};
use std::ops::Range;
use toml::de::DeValue;

/// Collects mistakes: tables come sorted by name, and the operator reads from the top.
#[derive(Default)]
pub(super) struct Reader {
    first: Option<Place>,
}

impl Reader {
    pub(super) fn wrong(&mut self, span: Range<usize>, mistake: Mistake) {
        let start = span.start;
        if self.first.as_ref().is_none_or(|first| start < first.start) {
            self.first = Some(Place { start, mistake });
        }
    }

    pub(super) fn first_mistake(self) -> Option<Place> {
        self.first
    }
}

/// A string and where it stands.
pub(super) struct Entry<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
}

/// The strings of a list; a string by itself is a list of one.
pub(super) fn strings<'a>(
    reader: &mut Reader,
    key: &'static str,
    value: &'a Value<'_>,
) -> Vec<Entry<'a>> {
    let expected = "a string, or a list of strings";
    let items = match value.get_ref() {
        DeValue::String(text) => return vec![Entry { text, span: value.span() }],
        DeValue::Array(items) => items,
        _ => {
            reader.wrong(value.span(), Mistake::Type { key, expected });
            return Vec::new();
        }
    };
    if items.is_empty() {
        reader.wrong(value.span(), Mistake::EmptyList(key));
    }
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        match item.get_ref() {
            DeValue::String(text) => entries.push(Entry { text, span: item.span() }),
            _ => reader.wrong(item.span(), Mistake::Type { key, expected }),
        }
    }
    entries
}

/// A whole number from 0.
pub(super) fn count(value: &Value<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    }
}

/// The longest payload that a PUBLISH can have, in bytes.
const SIZE_MAX: u64 = 268_435_455;

/// A number of bytes, as such or as text with a unit.
pub(super) fn size(value: &Value<'_>) -> Option<u32> {
    let bytes = match value.get_ref() {
        DeValue::String(text) => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = text.split_at(digits);
            let factor = match unit.trim_start() {
                "" | "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(factor)?
        }
        _ => count(value)?,
    };
    u32::try_from(bytes).ok().filter(|_| bytes <= SIZE_MAX)
}
