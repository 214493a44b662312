//! One setting: its key, what it may hold, how it is read, set and shown.

use super::{Auth, Config, Http, Jwt, Limits, Listener, Memory, QueuePolicy, Rights};
use crate::core::Durability;
use dunlin_protocol::codec::TopicFilter;
use std::fmt;
use toml::de::DeValue;

/// One thing that an operator can set.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the configuration file, such as `limits.packet_size_max`.
    pub key: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) kind: Kind,
    /// What the reference shows where the default is "unset".
    pub(super) example: Option<&'static str>,
    /// The value, also the default, that leaves the choice to the machine.
    pub(super) automatic: Option<Value>,
    pub(super) read: fn(&Config) -> Option<Value>,
    pub(super) write: fn(&mut Config, Value),
}

impl Setting {
    /// What it does, in a sentence or two.
    pub fn documentation(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// The environment variable that sets it: `DUNLIN_LIMITS_PACKET_SIZE_MAX`.
    pub fn environment_variable(&self) -> String {
        match self.kind {
            Kind::Listeners => "DUNLIN_LISTEN".to_owned(),
            _ => format!("DUNLIN_{}", self.key.replace('.', "_").to_ascii_uppercase()),
        }
    }

    /// The key without its table.
    pub(super) fn name(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or(self.key)
    }
}

/// The values that a setting takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Number {
        min: u64,
        max: u64,
    },
    Bytes {
        min: u64,
        max: u64,
    },
    Switch,
    Choice(&'static [&'static str]),
    Text,
    Folder,
    File,
    Listeners,
    TopicDurability,
    /// Strings, each of which passes a check.
    List {
        of: &'static str,
        check: fn(&str) -> Result<(), String>,
    },
}

/// A value that is right for its setting's [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Bytes(u64),
    Switch(bool),
    Text(String),
    Listeners(Vec<Listener>),
    TopicDurability(Vec<(TopicFilter, Durability)>),
    List(Vec<String>),
}

/// Prints as TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => {
                let unit = UNITS.iter().filter(|(_, size)| size.is_power_of_two() && *size > 1);
                match unit.rev().find(|(_, size)| *bytes >= *size && bytes.is_multiple_of(*size)) {
                    Some((name, size)) => write!(f, "\"{}{name}\"", bytes / size),
                    None => write!(f, "{bytes}"),
                }
            }
            Self::Switch(on) => write!(f, "{on}"),
            Self::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::Listeners(listeners) => {
                f.write_str("[")?;
                for (nth, listener) in listeners.iter().enumerate() {
                    let separator = if nth == 0 { "" } else { ", " };
                    write!(f, "{separator}{{ url = \"{listener}\" }}")?;
                }
                f.write_str("]")
            }
            Self::List(items) => {
                write!(f, "{}", toml::Value::from(items.clone()))
            }
            Self::TopicDurability(rules) => {
                f.write_str("[")?;
                for (nth, (topic_filter, durability)) in rules.iter().enumerate() {
                    let separator = if nth == 0 { "" } else { ", " };
                    let topic_filter = toml::Value::from(topic_filter.as_str());
                    let level = durability.name();
                    write!(
                        f,
                        "{separator}{{ topic_filter = {topic_filter}, durability = \"{level}\" }}"
                    )?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Units of sizes, each with its bytes.
const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl Kind {
    /// Reads a value from a variable or flag; the error is the reason, with the mend.
    pub(super) fn read_text(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        match self {
            Self::Number { .. } => match text.replace('_', "").parse() {
                Ok(number) => self.check_number(number),
                Err(_) => Err(self.mismatch(&format!("{text:?}"))),
            },
            Self::Bytes { .. } => match parse_bytes(text) {
                Some(bytes) => self.check_number(bytes),
                None => Err(self.mismatch(&format!("{text:?}"))),
            },
            Self::Switch => match text {
                "true" | "yes" | "on" | "1" => Ok(Value::Switch(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Switch(false)),
                _ => Err(self.mismatch(&format!("{text:?}"))),
            },
            Self::Choice(names) if names.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(_) => Err(self.mismatch(&format!("{text:?}"))),
            Self::Folder | Self::File if text.is_empty() => Err(self.mismatch("nothing")),
            Self::Text | Self::Folder | Self::File => Ok(Value::Text(text.to_owned())),
            Self::Listeners => {
                let listeners: Result<Vec<Listener>, _> = items(text).map(str::parse).collect();
                self.check_listeners(listeners.map_err(|error| error.to_string())?)
            }
            Self::List { .. } => self.check_list(items(text).map(str::to_owned).collect()),
            Self::TopicDurability => {
                let rules: Result<_, _> = items(text)
                    .map(|rule| match rule.rsplit_once('=') {
                        Some((topic_filter, level)) => topic_rule(topic_filter, level),
                        None => Err(format!(
                            "expected rules like telemetry/#=memory,orders/#=fsync, found {rule:?}"
                        )),
                    })
                    .collect();
                Ok(Value::TopicDurability(rules?))
            }
        }
    }

    /// Reads a value from the file, but for listeners, whose parts have places of their own.
    pub(super) fn read_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        match (self, value) {
            (Self::Number { .. } | Self::Bytes { .. }, DeValue::Integer(integer)) => {
                match u64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => self.check_number(number),
                    Err(_) => Err(self.mismatch(&integer.to_string())),
                }
            }
            (Self::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
            (
                Self::Bytes { .. } | Self::Choice(_) | Self::Text | Self::Folder | Self::File,
                DeValue::String(text),
            ) => self.read_text(text),
            (Self::List { .. }, DeValue::Array(items)) => {
                let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(self.mismatch(&format!("a value of type {}", other.type_str()))),
                };
                self.check_list(items.iter().map(text).collect::<Result<_, _>>()?)
            }
            (_, other) => Err(self.mismatch(&format!("a value of type {}", other.type_str()))),
        }
    }

    pub(super) fn check_listeners(self, listeners: Vec<Listener>) -> Result<Value, String> {
        if listeners.is_empty() {
            Err("at least one is needed, such as \"mqtt://127.0.0.1:1883\"".to_owned())
        } else {
            Ok(Value::Listeners(listeners))
        }
    }

    fn check_list(self, items: Vec<String>) -> Result<Value, String> {
        if let Self::List { check, .. } = self {
            items.iter().try_for_each(|item| check(item))?;
        }
        Ok(Value::List(items))
    }

    fn check_number(self, number: u64) -> Result<Value, String> {
        match self {
            Self::Bytes { min, max } if (min..=max).contains(&number) => Ok(Value::Bytes(number)),
            Self::Number { min, max } if (min..=max).contains(&number) => Ok(Value::Number(number)),
            _ => Err(self.mismatch(&number.to_string())),
        }
    }

    fn mismatch(self, found: &str) -> String {
        format!("expected {self}, found {found}")
    }
}

/// The items of a list in a variable or flag, with commas between them. `[]` is none, as in the file:
/// a variable that is empty counts as not set.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "[]")
}

/// Prints what is expected: "a number from 1 to 65535".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bytes { min, max } => {
                let (min, max) = (Value::Bytes(*min), Value::Bytes(*max));
                write!(f, "bytes from {min} to {max}, as a number or with a unit like \"64KiB\"")
            }
            Self::Switch => f.write_str("true or false"),
            Self::Choice(names) => write!(f, "one of \"{}\"", names.join("\", \"")),
            Self::Text => f.write_str("a string"),
            Self::Folder => f.write_str("the path of a folder"),
            Self::File => f.write_str("the path of a file"),
            Self::Listeners => f.write_str("URLs like mqtt://127.0.0.1:1883"),
            Self::List { of, .. } => f.write_str(of),
            Self::TopicDurability => {
                f.write_str("a list of { topic_filter = \"a/#\", durability = \"written\" }")
            }
        }
    }
}

/// A rule that says what the acknowledgement of messages with matching Topic Names means.
pub(super) fn topic_rule(
    topic_filter: &str,
    level: &str,
) -> Result<(TopicFilter, Durability), String> {
    let parsed = TopicFilter::try_from(topic_filter);
    let parsed = parsed.map_err(|error| format!("{topic_filter:?} is no Topic Filter: {error}"))?;
    if parsed.share_name().is_some() {
        return Err(format!("{topic_filter:?} is a Shared Subscription, not a Topic Filter"));
    }
    match Durability::from_name(level) {
        Some(durability) => Ok((parsed, durability)),
        None => Err(format!("{level:?} is no durability; there are memory, written and fsync")),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim_start();
    let size = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(size)
}

/// A type that a limit can have.
pub(super) trait Limit: Sized {
    fn to_value(&self, kind: Kind) -> Value;
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! limit_numbers {
    ($($type:ty)+) => {$(
        impl Limit for $type {
            fn to_value(&self, kind: Kind) -> Value {
                let number = u64::try_from(*self).unwrap_or(u64::MAX);
                match kind {
                    Kind::Bytes { .. } => Value::Bytes(number),
                    _ => Value::Number(number),
                }
            }
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    // The table's range fits, save for sizes on machines with small addresses.
                    Value::Number(number) | Value::Bytes(number) => {
                        Some(Self::try_from(*number).unwrap_or(Self::MAX))
                    }
                    _ => None,
                }
            }
        }
    )+};
}
limit_numbers! { u16 u32 usize }

impl Limit for bool {
    fn to_value(&self, _: Kind) -> Value {
        Value::Switch(*self)
    }
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Switch(on) = value { Some(*on) } else { None }
    }
}

impl Limit for QueuePolicy {
    fn to_value(&self, _: Kind) -> Value {
        Value::Text(self.name().to_owned())
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(name) => Self::ALL.into_iter().find(|policy| policy.name() == name),
            _ => None,
        }
    }
}

/// Every setting, in the order in which they are shown.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    let parts = [
        BROKER,
        Auth::SETTINGS,
        Jwt::SETTINGS,
        Http::SETTINGS,
        Rights::SETTINGS,
        Memory::SETTINGS,
        Limits::SETTINGS,
    ];
    parts.into_iter().flatten()
}

const BROKER: &[Setting] = &[
    Setting {
        key: "listeners",
        doc: &[
            "Where clients connect: a list of URLs whose scheme names the transport (mqtt, mqtts, ws, \
             wss, quic, unix). One with TLS has certificate = \"FILE\" and key = \"FILE\" beside its url, or in it: \
             mqtts://0.0.0.0:8883?certificate=server.pem&key=server.key, or several with | between them, \
             of which a client is shown one for the name that it asks for (SNI), by that very name \
             rather than by a wildcard, or else the first that it can verify; with client_ca = \"FILE\" \
             it lets in who shows a certificate of that authority, or others as well if \
             client_certificate = \"optional\", and none that client_crl = \"FILE\" lists; a list that \
             is past its nextUpdate lets nobody in, unless old_crl = \"accept\". The user of such a client \
             is the Common Name of its certificate, or what certificate_user says: \"dns\", \"uri\" or \
             \"email\" among its alternative names, or \"subject\". One with \
             proxy_from = \"10.0.0.0/8 192.0.2.1\" serves proxies at these addresses alone, which say by \
             a PROXY header (version 1 or 2) for whom they connect. unix:///run/dunlin.sock is a socket in \
             the file system, whose mode = \"0660\" says who may connect, by default its owner. One for \
             WebSocket serves the path of its URL, or path = \"PATH\", or else /mqtt and /; web pages \
             may connect if origins = \"https://example.org http://localhost:3000\" has theirs, or \
             is \"*\". One for QUIC, whose ports are those of UDP, has the options of TLS.",
        ],
        kind: Kind::Listeners,
        example: None,
        automatic: None,
        read: |config| Some(Value::Listeners(config.listeners.clone())),
        write: |config, value| {
            if let Value::Listeners(listeners) = value {
                config.listeners = listeners;
            }
        },
    },
    Setting {
        key: "allow_anonymous",
        doc: &["Whether clients may connect without credentials. Unset, they may if there is no \
             auth.password_file, there are no keys for tokens (auth.jwt) and no auth.http.url, and \
             then a listener that other machines can reach must ask for certificates."],
        kind: Kind::Switch,
        example: Some("true"),
        automatic: None,
        read: |config| config.allow_anonymous.map(Value::Switch),
        write: |config, value| config.allow_anonymous = bool::from_value(&value),
    },
    Setting {
        key: "workers",
        doc: &["Worker threads; 0 is one for each core."],
        kind: Kind::Number { min: 0, max: 255 },
        example: None,
        automatic: Some(Value::Number(0)),
        read: |config| Some(config.workers.to_value(Kind::Number { min: 0, max: 255 })),
        write: |config, value| match usize::from_value(&value) {
            Some(workers) if workers > 0 => config.workers = workers,
            _ => config.workers = super::available_workers(),
        },
    },
    Setting {
        key: "data",
        doc: &["The folder for what must survive the process: sessions, subscriptions, messages, \
             Wills. Unset, everything lives in memory and is lost when the broker stops."],
        kind: Kind::Folder,
        example: Some("\"/var/lib/dunlin\""),
        automatic: None,
        read: |config| Some(Value::Text(config.data.as_ref()?.display().to_string())),
        write: |config, value| {
            if let Value::Text(path) = value {
                config.data = Some(path.into());
            }
        },
    },
    Setting {
        key: "durability",
        doc: &[
            "What an acknowledgement means when there is a data folder: that the message, session \
             or subscription is in memory, that it was written (it survives a crash of the \
             broker), or that it is on the disk (it survives a power cut). A listener can have \
             its own: mqtt://127.0.0.1:1883?durability=written.",
        ],
        kind: Kind::Choice(&["memory", "written", "fsync"]),
        example: None,
        automatic: None,
        read: |config| Some(Value::Text(config.durability.default.name().to_owned())),
        write: |config, value| {
            if let Value::Text(name) = value {
                config.durability.default = Durability::from_name(&name).unwrap_or_default();
            }
        },
    },
    Setting {
        key: "durability_by_topic",
        doc: &[
            "What an acknowledgement of messages with matching Topic Names means, whatever the \
             listener says; the first rule that matches decides. In a variable or flag: \
             telemetry/#=memory,orders/#=fsync; a flag that is repeated adds rules.",
        ],
        kind: Kind::TopicDurability,
        example: None,
        automatic: None,
        read: |config| Some(Value::TopicDurability(config.durability.topics.clone())),
        write: |config, value| {
            if let Value::TopicDurability(rules) = value {
                config.durability.topics = rules;
            }
        },
    },
    Setting {
        key: "watch_files_secs",
        doc: &["Seconds between two looks at the files of certificates, keys, authorities and \
             revocation lists. Those of a listener are taken up together when they have changed, for \
             connections that come then; what is of no use changes nothing. 0: only on SIGHUP."],
        kind: Kind::Number { min: 0, max: 86_400 },
        example: None,
        automatic: None,
        read: |config| Some(config.watch_files_secs.to_value(Kind::Number { min: 0, max: 86_400 })),
        write: |config, value| {
            if let Some(secs) = u32::from_value(&value) {
                config.watch_files_secs = secs;
            }
        },
    },
    Setting {
        key: "log",
        doc: &["What is logged to standard error: `warn`, `info`, `info,dunlin_broker=debug`, ..."],
        kind: Kind::Text,
        example: None,
        automatic: None,
        read: |config| Some(Value::Text(config.log.clone())),
        write: |config, value| {
            if let Value::Text(filter) = value {
                config.log = filter;
            }
        },
    },
];
