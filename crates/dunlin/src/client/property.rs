//! `-D COMMAND IDENTIFIER [NAME] VALUE`: MQTT 5.0 properties on the command line.

use bytes::Bytes;
use dunlin_codec::{
    ConnectProperties, DisconnectProperties, MessageProperties, SubscribeProperties,
    SubscriptionIdentifier, Text, TopicName, UnsubscribeProperties, UserProperties, WillProperties,
};
use std::ffi::{OsStr, OsString};
use std::str::FromStr;

/// Separates the words of a `-D` that were joined into one.
const SEPARATOR: char = '\u{1f}';

/// Joins the words after each `-D` into one argument, for a parser of options whose number of
/// values is fixed; `-D` takes three or four, as its second says.
pub(crate) fn join_properties(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined = Vec::new();
    let mut args = args.peekable();
    let mut is_tool = false;
    while let Some(arg) = args.next() {
        is_tool |= joined.len() == 1 && (arg == "pub" || arg == "sub");
        if !is_tool || (arg != "-D" && arg != "--property") {
            joined.push(arg);
            continue;
        }
        let words: Vec<OsString> = args.by_ref().take(2).collect();
        let is_pair = words.get(1).is_some_and(|identifier| identifier == "user-property");
        let values = args.by_ref().take(if is_pair { 2 } else { 1 });
        let words: Vec<OsString> = words.into_iter().chain(values).collect();
        let mut property = OsString::from("--property=");
        property.push(words.join(OsStr::new(SEPARATOR.to_string().as_str())));
        joined.push(property);
    }
    joined
}

/// The properties of all packets that a tool sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) connect: ConnectProperties,
    pub(super) will: WillProperties,
    pub(super) publish: MessageProperties,
    pub(super) publish_expiry_interval: Option<u32>,
    pub(super) subscribe: SubscribeProperties,
    pub(super) unsubscribe: UnsubscribeProperties,
    pub(super) disconnect: DisconnectProperties,
}

impl Properties {
    /// Reads the joined words of every `-D`.
    pub(super) fn parse(given: &[String]) -> Result<Self, String> {
        let mut properties = Self::default();
        for joined in given {
            let words: Vec<&str> = joined.split(SEPARATOR).collect();
            let shown = || format!("-D {}", words.join(" "));
            match words.as_slice() {
                [command, identifier @ "user-property", name, value] => {
                    let pair = text(name).and_then(|name| Ok((name, text(value)?)));
                    let pair = pair.map_err(|reason| format!("{}: {reason}", shown()))?;
                    let list = properties
                        .user_properties(command)
                        .ok_or_else(|| unknown(&shown(), command, identifier))?;
                    list.push(pair);
                }
                [command, identifier, value] if *identifier != "user-property" => {
                    match properties.set(command, identifier, value) {
                        None => return Err(unknown(&shown(), command, identifier)),
                        Some(set) => set.map_err(|reason| format!("{}: {reason}", shown()))?,
                    }
                }
                _ => {
                    return Err(format!(
                        "{}: write -D COMMAND IDENTIFIER VALUE, or -D COMMAND user-property NAME \
                         VALUE",
                        shown()
                    ));
                }
            }
        }
        Ok(properties)
    }

    fn user_properties(&mut self, command: &str) -> Option<&mut UserProperties> {
        Some(match command.to_ascii_lowercase().as_str() {
            "connect" => &mut self.connect.user_properties,
            "will" => &mut self.will.message.user_properties,
            "publish" => &mut self.publish.user_properties,
            "subscribe" => &mut self.subscribe.user_properties,
            "unsubscribe" => &mut self.unsubscribe.user_properties,
            "disconnect" => &mut self.disconnect.user_properties,
            _ => return None,
        })
    }

    /// Sets one; `None` when the packet has no such property.
    fn set(&mut self, command: &str, identifier: &str, value: &str) -> Option<Result<(), String>> {
        let command = command.to_ascii_lowercase();
        let connect = &mut self.connect;
        let message = if command == "will" { &mut self.will.message } else { &mut self.publish };
        Some(match (command.as_str(), identifier) {
            ("connect", "session-expiry-interval") => {
                put(&mut connect.session_expiry_interval, number(value))
            }
            ("connect", "receive-maximum") => put(&mut connect.receive_maximum, above_zero(value)),
            ("connect", "maximum-packet-size") => {
                put(&mut connect.maximum_packet_size, above_zero(value))
            }
            ("connect", "topic-alias-maximum") => {
                put(&mut connect.topic_alias_maximum, number(value))
            }
            ("connect", "request-problem-information") => {
                put(&mut connect.request_problem_information, switch(value))
            }
            ("connect", "request-response-information") => {
                put(&mut connect.request_response_information, switch(value))
            }
            ("connect", "authentication-method") => {
                put(&mut connect.authentication_method, text(value))
            }
            ("connect", "authentication-data") => {
                put(&mut connect.authentication_data, Ok(Bytes::copy_from_slice(value.as_bytes())))
            }
            ("will", "will-delay-interval") => {
                put(&mut self.will.will_delay_interval, number(value))
            }
            ("will", "message-expiry-interval") => {
                put(&mut self.will.message_expiry_interval, number(value))
            }
            ("publish", "message-expiry-interval") => {
                put(&mut self.publish_expiry_interval, number(value))
            }
            ("publish", "topic-alias") => {
                Err("topic aliases are chosen for you; leave this out".to_owned())
            }
            ("will" | "publish", "payload-format-indicator") => {
                put(&mut message.payload_format_indicator, switch(value))
            }
            ("will" | "publish", "content-type") => put(&mut message.content_type, text(value)),
            ("will" | "publish", "response-topic") => {
                let topic_name = TopicName::from_str(value).map_err(|error| error.to_string());
                put(&mut message.response_topic, topic_name)
            }
            ("will" | "publish", "correlation-data") => {
                put(&mut message.correlation_data, Ok(Bytes::copy_from_slice(value.as_bytes())))
            }
            ("subscribe", "subscription-identifier") => {
                let identifier = number(value).and_then(|number| {
                    SubscriptionIdentifier::new(number)
                        .ok_or_else(|| "a number from 1 to 268435455 is expected".to_owned())
                });
                put(&mut self.subscribe.subscription_identifier, identifier)
            }
            ("disconnect", "session-expiry-interval") => {
                put(&mut self.disconnect.session_expiry_interval, number(value))
            }
            _ => return None,
        })
    }
}

fn unknown(shown: &str, command: &str, identifier: &str) -> String {
    format!(
        "{shown}: {command} has no property {identifier}; the standard's names are written like \
         content-type"
    )
}

fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value:?} is no number that fits"))
}

fn above_zero<T: FromStr + Default + PartialEq>(value: &str) -> Result<T, String> {
    let number = number(value)?;
    if number == T::default() { Err("it can't be 0".to_owned()) } else { Ok(number) }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("0 or 1 is expected".to_owned()),
    }
}

fn text(value: &str) -> Result<Text, String> {
    Text::from_str(value).map_err(|error| error.to_string())
}
