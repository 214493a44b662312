//! Drives paho-mqtt, the Python client, through `paho_peer.py`.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;

use crate::message::{Message, from_hex};
use crate::process::{Process, environment_python};

/// The running script with its clients.
pub(crate) struct Paho {
    process: Process,
    /// Events that came while another one was waited for.
    waiting: VecDeque<Event>,
}

/// Something that happened to one of the clients.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    client: String,
    kind: String,
    fields: Vec<(String, String)>,
}

impl Paho {
    /// Starts the script in the Python environment that the set-up step makes.
    pub(crate) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/paho_peer.py");
        let process =
            Process::spawn("paho", Command::new(environment_python()).arg("-B").arg(script));
        Self { process, waiting: VecDeque::new() }
    }

    /// Sends a command to one client, in the script's line protocol.
    pub(crate) fn command(&mut self, client: &str, verb: &str, fields: &[(&str, &str)]) {
        let words = fields.iter().map(|(key, value)| format!(" {key}={}", encoded(value)));
        self.process.write_line(&format!("{client} {verb}{}", words.collect::<String>()));
    }

    /// How many events of a kind came for a client while others were waited for.
    pub(crate) fn waiting_count(&self, client: &str, kind: &str) -> usize {
        let wanted = |event: &&Event| event.client == client && event.kind == kind;
        self.waiting.iter().filter(wanted).count()
    }

    /// The client's next event of a kind; events of other kinds and clients are kept.
    ///
    /// A client that loses its connection meanwhile fails the test at once.
    #[track_caller]
    pub(crate) fn expect(&mut self, client: &str, kind: &str) -> Event {
        let wanted = |event: &Event| event.client == client && event.kind == kind;
        if let Some(at) = self.waiting.iter().position(wanted) {
            return self.waiting.remove(at).expect("is at its position");
        }
        loop {
            let Some(line) = self.process.next_line() else {
                panic!("the script ended\n{}", self.process.history());
            };
            // What Python itself prints is no event; it is shown when the test fails.
            let Some(event) = Event::parse(&line) else { continue };
            if wanted(&event) {
                return event;
            }
            let lost = event.client == client && event.kind == "disconnected";
            if lost || event.kind == "error" {
                panic!("waiting for {client} {kind}: {event:?}\n{}", self.process.history());
            }
            self.waiting.push_back(event);
        }
    }
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim().split(' ');
        let (client, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
        let fields = words.map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), decoded(value)))
        });
        Some(Self { client, kind, fields: fields.collect::<Option<_>>()? })
    }

    /// A field's value, if the event has it.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == key).map(|(_, value)| value.as_str())
    }

    /// A field that the event always has, as a number.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u8 {
        let value = self.field(key).unwrap_or_else(|| panic!("no `{key}` in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("`{key}` of {self:?} is no small number"))
    }

    /// The Application Message that the event tells of.
    #[track_caller]
    pub(crate) fn message(&self) -> Message {
        let text = |key| self.field(key).unwrap_or_default();
        let properties = self.fields.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("prop.")?.to_owned(), value.clone()))
        });
        Message {
            topic_name: text("topic").to_owned(),
            payload: from_hex(text("payload")),
            qos: self.number("qos"),
            retain: self.number("retain") == 1,
            properties: properties.collect(),
        }
    }
}

/// Percent-encoding of all but letters and digits.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend(plain.bytes());
        let (digits, after) = escaped.split_at(2);
        bytes.extend(from_hex(digits));
        rest = after;
    }
    bytes.extend(rest.bytes());
    String::from_utf8(bytes).expect("the script writes UTF-8")
}
