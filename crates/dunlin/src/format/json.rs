//! A message as JSON, with the names that `mosquitto_sub -F %j` gives its parts.

use super::{Arrival, strftime};
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// The message as one JSON object; the payload as a string, or in its own structure when it is
/// itself JSON.
pub(super) fn print(
    arrival: &Arrival<'_>,
    payload_is_json: bool,
    pretty: bool,
) -> Result<String, String> {
    let mut object = Object::new();
    object.text("tst", &strftime("%Y-%m-%dT%H:%M:%S.%6f%z", arrival.time)?);
    object.text("topic", arrival.topic_name);
    object.raw("qos", arrival.qos);
    object.raw("retain", u8::from(arrival.retain));
    object.raw("payloadlen", arrival.payload.len());
    if arrival.qos > 0 {
        object.raw("mid", arrival.packet_identifier);
    }
    let properties = properties(arrival);
    if properties != Object::new().end() {
        object.raw("properties", properties);
    }
    if payload_is_json {
        let payload: &RawValue = serde_json::from_slice(arrival.payload)
            .map_err(|_| format!("the payload on topic {} is no JSON", arrival.topic_name))?;
        object.raw("payload", payload.get().trim());
    } else {
        object.text("payload", &String::from_utf8_lossy(arrival.payload));
    }
    let line = object.end();
    if !pretty {
        return Ok(line);
    }
    let value: serde_json::Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
    serde_json::to_string_pretty(&value).map_err(|e| e.to_string())
}

fn properties(arrival: &Arrival<'_>) -> String {
    let mut object = Object::new();
    if let Some(identifier) = arrival.subscription_identifiers.first() {
        object.raw("subscription-identifier", identifier.value());
    }
    if let Some(properties) = arrival.properties {
        if !properties.user_properties.is_empty() {
            let mut pairs = Object::new();
            for (name, value) in &properties.user_properties {
                pairs.text(name, value);
            }
            object.raw("user-properties", pairs.end());
        }
        if let Some(content_type) = &properties.content_type {
            object.text("content-type", content_type);
        }
        if let Some(is_text) = properties.payload_format_indicator {
            object.raw("payload-format-indicator", u8::from(is_text));
        }
        if let Some(response_topic) = &properties.response_topic {
            object.text("response-topic", response_topic);
        }
        if let Some(data) = &properties.correlation_data {
            object.text("correlation-data", &String::from_utf8_lossy(data));
        }
    }
    if let Some(secs) = arrival.message_expiry_interval {
        object.raw("message-expiry-interval", secs);
    }
    object.end()
}

/// A JSON object under construction; it keeps the order of its members and takes a name twice.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, serde_json::Value::from(value));
    }

    /// Adds what is JSON already.
    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        let separator = if self.0.len() > 1 { "," } else { "" };
        let name = serde_json::Value::from(name);
        let _ = write!(self.0, "{separator}{name}:{value}");
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
