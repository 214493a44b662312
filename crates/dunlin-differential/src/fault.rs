//! Faults that any packet can have, whatever it says.

use crate::draft::{Draft, Field, Property, frame, variable_byte_integer};
use dunlin_testkit::Random;

/// Strings that are not well-formed UTF-8 or that MQTT forbids, and, last, one that it only advises
/// against.
const BAD_TEXTS: [(&str, &[u8]); 5] = [
    ("text that is no UTF-8", &[0xC3, 0x28]),
    ("text with a surrogate", &[0xED, 0xA0, 0x80]),
    ("text with U+0000", &[0x00]),
    ("text in overlong UTF-8", &[0xC0, 0xAF]),
    ("text with a noncharacter", &[0xEF, 0xBF, 0xBF]),
];

/// Makes a packet wrong in one way, and names the way. Not every packet can have every fault; then
/// one bit is flipped.
pub(crate) fn spoil(random: &mut Random, mut draft: Draft) -> (Vec<u8>, &'static str) {
    let name = match random.below(12) {
        0 => {
            draft.first ^= 1 << random.below(4);
            return (draft.encode(), "other fixed header flags");
        }
        1 | 2 => spoil_text(random, &mut draft),
        3..=5 => spoil_properties(random, &mut draft),
        6 => spoil_number(random, &mut draft),
        7 => {
            let mut body = draft.body();
            let cut = 1 + random.index(4);
            body.truncate(body.len().saturating_sub(cut));
            return (frame(draft.first, &body), "too short");
        }
        8 => {
            let mut body = draft.body();
            let extra = 1 + random.index(3);
            body.extend(random.bytes(extra));
            return (frame(draft.first, &body), "too long");
        }
        9 => {
            let body = draft.body();
            let mut bytes = vec![draft.first];
            bytes.extend(variable_byte_integer(body.len() + 1 + random.index(1000)));
            bytes.extend(body);
            return (bytes, "an end in the middle of a packet");
        }
        10 => {
            let body = draft.body();
            if body.len() < 128 && random.chance(50) {
                let mut bytes = vec![draft.first, body.len() as u8 | 0x80, 0x00];
                bytes.extend(body);
                return (bytes, "a length in more bytes than needed");
            }
            return (vec![draft.first, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], "a length of five bytes");
        }
        _ => None,
    };
    if let Some(name) = name {
        return (draft.encode(), name);
    }
    let mut body = draft.body();
    if body.is_empty() {
        return (frame(draft.first, &random.bytes(2)), "too long");
    }
    let at = random.index(body.len());
    body[at] ^= 1 << random.below(8);
    (frame(draft.first, &body), "a flipped bit")
}

fn spoil_text(random: &mut Random, draft: &mut Draft) -> Option<&'static str> {
    let mut texts: Vec<&mut Vec<u8>> = Vec::new();
    for field in &mut draft.fields {
        match field {
            Field::Text(text) => texts.push(text),
            Field::Properties(properties) => {
                let fields = properties.iter_mut().flat_map(|property| &mut property.value);
                texts.extend(fields.filter_map(|field| match field {
                    Field::Text(text) => Some(text),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    if texts.is_empty() {
        return None;
    }
    let at = random.index(texts.len());
    let (name, bytes) = *random.pick(&BAD_TEXTS);
    texts[at].extend_from_slice(bytes);
    Some(name)
}

fn spoil_properties(random: &mut Random, draft: &mut Draft) -> Option<&'static str> {
    let mut lists: Vec<&mut Vec<Property>> = Vec::new();
    for field in &mut draft.fields {
        if let Field::Properties(properties) = field {
            lists.push(properties);
        }
    }
    if lists.is_empty() {
        return None;
    }
    let at = random.index(lists.len());
    let list = &mut lists[at];
    if random.chance(40) && !list.is_empty() {
        let twice = list[random.index(list.len())].clone();
        list.push(twice);
        return Some("a property twice");
    }
    if random.chance(30) {
        list.push(Property::new(*random.pick(&[0x00, 0x04, 0x7F]), Field::U8(0)));
        return Some("an unknown property");
    }
    let (identifier, value) = match random.below(6) {
        0 => (0x01, Field::U8(*random.pick(&[0, 1, 2]))),
        1 => (0x11, Field::U32(300)),
        2 => (0x13, Field::U16(10)),
        3 => (0x21, Field::U16(*random.pick(&[0, 5]))),
        4 => (0x25, Field::U8(*random.pick(&[0, 1, 2]))),
        _ => (0x0B, Field::Raw(variable_byte_integer(random.index(3)))),
    };
    list.push(Property::new(identifier, value));
    let is_publish = draft.first >> 4 == 3;
    Some(match identifier {
        0x0B if is_publish => "a Subscription Identifier in a PUBLISH of a client",
        _ => "one more property",
    })
}

fn spoil_number(random: &mut Random, draft: &mut Draft) -> Option<&'static str> {
    let mut numbers: Vec<&mut u16> = Vec::new();
    for field in &mut draft.fields {
        match field {
            Field::U16(number) => numbers.push(number),
            Field::Properties(properties) => {
                let fields = properties.iter_mut().flat_map(|property| &mut property.value);
                numbers.extend(fields.filter_map(|field| match field {
                    Field::U16(number) => Some(number),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    if numbers.is_empty() {
        return None;
    }
    let at = random.index(numbers.len());
    *numbers[at] = 0;
    Some("a number of zero")
}
