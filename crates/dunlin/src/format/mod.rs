//! How `dunlin sub` prints a message: the format strings that users of `mosquitto_sub -F` know.

mod json;
#[cfg(test)]
mod tests;

use dunlin_codec::{MessageProperties, SubscriptionIdentifier};
use jiff::Zoned;
use jiff::fmt::strtime;
use std::fmt::Write as _;

/// A message as it arrived, with what the formats can show of it.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) time: &'a Zoned,
    pub(crate) topic_name: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// 0 at QoS 0.
    pub(crate) packet_identifier: u16,
    pub(crate) message_expiry_interval: Option<u32>,
    pub(crate) subscription_identifiers: &'a [SubscriptionIdentifier],
    pub(crate) properties: Option<&'a MessageProperties>,
}

/// A format string, read once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Field {
        field: Field,
        padding: Padding,
        width: usize,
        width_max: Option<usize>,
    },
    /// A conversion of strftime.
    Time(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Left,
    Right,
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ContentType,
    CorrelationData,
    ExpiryInterval,
    FormatIndicator,
    IsoTime,
    Json,
    JsonPayload,
    PayloadLen,
    PacketIdentifier,
    UserProperties,
    Payload,
    QoS,
    ResponseTopic,
    Retain,
    SubscriptionIdentifier,
    TopicName,
    TopicAlias,
    UnixTime,
    HexLower,
    HexUpper,
}

impl Field {
    const fn of(character: char) -> Option<Self> {
        Some(match character {
            'A' => Self::TopicAlias,
            'C' => Self::ContentType,
            'D' => Self::CorrelationData,
            'E' => Self::ExpiryInterval,
            'F' => Self::FormatIndicator,
            'I' => Self::IsoTime,
            'j' => Self::Json,
            'J' => Self::JsonPayload,
            'l' => Self::PayloadLen,
            'm' => Self::PacketIdentifier,
            'P' => Self::UserProperties,
            'p' => Self::Payload,
            'q' => Self::QoS,
            'R' => Self::ResponseTopic,
            'r' => Self::Retain,
            'S' => Self::SubscriptionIdentifier,
            't' => Self::TopicName,
            'U' => Self::UnixTime,
            'x' => Self::HexLower,
            'X' => Self::HexUpper,
            _ => return None,
        })
    }
}

impl Format {
    /// Only the payload.
    pub(crate) fn payload() -> Self {
        Self(vec![Piece::field(Field::Payload)])
    }

    /// Topic Name and payload, with a space between.
    pub(crate) fn verbose() -> Self {
        let space = Piece::Literal(b" ".to_vec());
        Self(vec![Piece::field(Field::TopicName), space, Piece::field(Field::Payload)])
    }

    /// Reads a format string; the error says which sequence is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let piece = match character {
                '%' => Self::parse_field(&mut rest)?,
                '@' => match rest.next() {
                    Some('@') => Piece::literal('@'),
                    Some('N') => Piece::Time("%9f".to_owned()),
                    Some(conversion) => Piece::time(conversion)?,
                    None => return Err("a format can't end with a single @; @@ is one".to_owned()),
                },
                '\\' => Piece::literal(escape(rest.next())?),
                plain => Piece::literal(plain),
            };
            match piece {
                Piece::Literal(bytes) => literal.push_str(&String::from_utf8_lossy(&bytes)),
                piece => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal).into_bytes()));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into_bytes()));
        }
        Ok(Self(pieces))
    }

    fn parse_field(rest: &mut std::str::Chars<'_>) -> Result<Piece, String> {
        let mut padding = Padding::Left;
        let mut next = rest.next();
        while let Some(flag @ ('0' | '-')) = next {
            match flag {
                '-' => padding = Padding::Right,
                _ if padding == Padding::Left => padding = Padding::Zero,
                _ => {}
            }
            next = rest.next();
        }
        let mut number = |first: Option<char>| {
            let (mut value, mut next) = (None, first);
            while let Some(digit) = next.and_then(|c| c.to_digit(10)) {
                // Nobody's terminal is wider.
                value = Some((value.unwrap_or(0) * 10 + digit as usize).min(10_000));
                next = rest.next();
            }
            (value, next)
        };
        let (width, mut next) = number(next);
        let mut width_max = None;
        if next == Some('.') {
            // A zero in front changes no number.
            let (value, after) = number(Some('0'));
            (width_max, next) = (value, after);
        }
        let width = width.unwrap_or(0);
        match next {
            Some('%') => Ok(Piece::literal('%')),
            Some(character) => match Field::of(character) {
                Some(field) => Ok(Piece::Field { field, padding, width, width_max }),
                None => Err(format!("%{character} is no sequence of a format; %% is a %")),
            },
            None => Err("a format can't end with a single %; %% is one".to_owned()),
        }
    }

    /// Appends the message; the error says why it can't be shown.
    pub(crate) fn print(
        &self,
        arrival: &Arrival<'_>,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Time(conversion) => out.extend(strftime(conversion, arrival.time)?.bytes()),
                // The one that may be large is not copied twice.
                Piece::Field { field: Field::Payload, width: 0, width_max: None, .. } => {
                    out.extend_from_slice(arrival.payload);
                }
                Piece::Field { field, padding, width, width_max } => {
                    let value = arrival.field(*field, pretty)?;
                    pad(&value, *field, *padding, *width, *width_max, out);
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    fn literal(character: char) -> Self {
        Self::Literal(character.to_string().into_bytes())
    }

    const fn field(field: Field) -> Self {
        Self::Field { field, padding: Padding::Left, width: 0, width_max: None }
    }

    fn time(conversion: char) -> Result<Self, String> {
        let text = format!("%{conversion}");
        // Tried once, so that a mistake is told before the first message.
        match strftime(&text, &Zoned::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC)) {
            Ok(_) => Ok(Self::Time(text)),
            Err(_) => Err(format!("@{conversion} is no conversion of dates; @@ is an @")),
        }
    }
}

fn escape(character: Option<char>) -> Result<char, String> {
    Ok(match character {
        Some('\\') => '\\',
        Some('0') => '\0',
        Some('a') => '\x07',
        Some('e') => '\x1b',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\x0b',
        Some(other) => return Err(format!("\\{other} is no escape of a format; \\\\ is a \\")),
        None => return Err("a format can't end with a single \\; \\\\ is one".to_owned()),
    })
}

fn strftime(format: &str, time: &Zoned) -> Result<String, String> {
    strtime::format(format, time).map_err(|error| error.to_string())
}

fn pad(
    value: &[u8],
    field: Field,
    padding: Padding,
    width: usize,
    width_max: Option<usize>,
    out: &mut Vec<u8>,
) {
    let is_text = matches!(field, Field::ContentType | Field::ResponseTopic | Field::TopicName);
    let mut value = value;
    let mut columns = value.len();
    if let (true, Ok(text)) = (is_text, std::str::from_utf8(value)) {
        let kept = width_max.and_then(|max| text.char_indices().nth(max)).map(|(end, _)| end);
        value = &value[..kept.unwrap_or(value.len())];
        columns = text.chars().count().min(width_max.unwrap_or(usize::MAX));
    }
    let zeros = padding == Padding::Zero && !is_text;
    let filling = vec![if zeros { b'0' } else { b' ' }; width.saturating_sub(columns)];
    if padding == Padding::Right {
        out.extend_from_slice(value);
        out.extend_from_slice(&filling);
    } else {
        out.extend_from_slice(&filling);
        out.extend_from_slice(value);
    }
}

impl Arrival<'_> {
    fn field(&self, field: Field, pretty: bool) -> Result<Vec<u8>, String> {
        let properties = self.properties;
        let text = match field {
            Field::Payload => return Ok(self.payload.to_vec()),
            Field::CorrelationData => {
                let data = properties.and_then(|properties| properties.correlation_data.as_ref());
                return Ok(data.map_or_else(Vec::new, |data| data.to_vec()));
            }
            Field::ContentType => properties
                .and_then(|properties| properties.content_type.as_deref())
                .unwrap_or_default()
                .to_owned(),
            Field::ResponseTopic => properties
                .and_then(|properties| properties.response_topic.as_deref())
                .unwrap_or_default()
                .to_owned(),
            Field::FormatIndicator => properties
                .and_then(|properties| properties.payload_format_indicator)
                .map_or_else(String::new, |is_text| u8::from(is_text).to_string()),
            Field::UserProperties => {
                let pairs = properties.map_or(&[][..], |properties| &properties.user_properties);
                let pairs = pairs.iter().map(|(name, value)| format!("{name}:{value}"));
                pairs.collect::<Vec<_>>().join(" ")
            }
            Field::ExpiryInterval => {
                self.message_expiry_interval.map_or_else(String::new, |secs| secs.to_string())
            }
            Field::SubscriptionIdentifier => {
                let numbers = self.subscription_identifiers.iter().map(|id| id.value().to_string());
                numbers.collect::<Vec<_>>().join(" ")
            }
            // An alias is resolved before a message gets here.
            Field::TopicAlias => String::new(),
            Field::TopicName => self.topic_name.to_owned(),
            Field::PayloadLen => self.payload.len().to_string(),
            Field::PacketIdentifier => self.packet_identifier.to_string(),
            Field::QoS => self.qos.to_string(),
            Field::Retain => u8::from(self.retain).to_string(),
            Field::IsoTime => strftime("%Y-%m-%dT%H:%M:%S%z", self.time)?,
            Field::UnixTime => strftime("%s.%9f", self.time)?,
            Field::HexLower => hex(self.payload, |text, byte| write!(text, "{byte:02x}")),
            Field::HexUpper => hex(self.payload, |text, byte| write!(text, "{byte:02X}")),
            Field::Json => json::print(self, false, pretty)?,
            Field::JsonPayload => json::print(self, true, pretty)?,
        };
        Ok(text.into_bytes())
    }
}

fn hex(bytes: &[u8], digits: impl Fn(&mut String, u8) -> std::fmt::Result) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String can't fail.
        let _ = digits(&mut text, *byte);
    }
    text
}
