//! Drives Mosquitto's command-line clients: subscribers that keep running and are read line by
//! line, and publishers that run once.
//!
//! A message counts as published when a witness, subscribed to `#`, has seen it: the publisher's
//! exit alone says nothing about QoS 0.

use std::collections::VecDeque;
use std::process::Command;

use crate::broker_under_test::BrokerUnderTest;
use crate::cell::{Cell, Version};
use crate::message::{Message, from_hex};
use crate::process::Process;

/// What mosquitto_sub prints for a message. The topic comes last but for what may hold anything.
const FORMAT: &str = "message|%q|%r|%x|%S|%E|%F|%C|%R|%D|%t|%P";

/// The fields of [`FORMAT`] after its first four, by the standard's names.
const PROPERTIES: [&str; 6] = [
    "SubscriptionIdentifier",
    "MessageExpiryInterval",
    "PayloadFormatIndicator",
    "ContentType",
    "ResponseTopic",
    "CorrelationData",
];

/// A broker, and a witness that sees all that is published.
pub(super) struct Stage {
    pub(super) cell: Cell,
    witness: Subscriber,
    broker: BrokerUnderTest,
}

/// A running mosquitto_sub; dropping it kills it, which its broker sees as a lost connection.
pub(super) struct Subscriber {
    process: Process,
    messages: VecDeque<Message>,
    /// The Quality of Service granted to each of its filters.
    pub(super) granted: Vec<u8>,
}

impl Stage {
    pub(super) fn new(cell: Cell) -> Self {
        let broker = BrokerUnderTest::start();
        let mut command = client("mosquitto_sub", &broker, Version::V3_1_1);
        command.args(["-i", "witness", "-q", "2", "-t", "#"]);
        let witness = Subscriber::start("witness", command);
        Self { cell, witness, broker }
    }

    /// A command for one of the clients with where and how to connect.
    pub(super) fn client(&self, program: &str) -> Command {
        client(program, &self.broker, self.cell.version)
    }

    /// Starts mosquitto_sub at the cell's Quality of Service and waits for its SUBACK.
    #[track_caller]
    pub(super) fn subscribe(
        &self,
        client_identifier: &str,
        topic_filters: &[&str],
        options: &[&str],
    ) -> Subscriber {
        let qos = self.cell.qos.to_string();
        let mut command = self.client("mosquitto_sub");
        if !client_identifier.is_empty() {
            command.args(["-i", client_identifier]);
        }
        if !options.contains(&"-q") {
            command.args(["-q", &qos]);
        }
        for topic_filter in topic_filters {
            command.args(["-t", topic_filter]);
        }
        command.args(options);
        Subscriber::start(client_identifier, command)
    }

    /// Publishes at the cell's Quality of Service and waits until the witness has seen it.
    #[track_caller]
    pub(super) fn publish(&mut self, topic_name: &str, payload: &str, options: &[&str]) {
        let mut command = self.publisher(topic_name, options);
        if payload.is_empty() {
            command.arg("-n");
        } else {
            command.args(["-m", payload]);
        }
        run(command);
        self.witness.expect(topic_name, payload);
    }

    /// Publishes one line after the other over one connection.
    #[track_caller]
    pub(super) fn publish_lines(&mut self, topic_name: &str, lines: &[String], options: &[&str]) {
        let mut command = self.publisher(topic_name, options);
        command.arg("-l");
        let mut process = Process::spawn("mosquitto_pub -l", &mut command);
        for line in lines {
            process.write_line(line);
        }
        process.end_input();
        assert!(process.wait_success(), "{}", process.history());
        for line in lines {
            self.witness.expect(topic_name, line);
        }
    }

    /// mosquitto_pub with what every use of it has.
    pub(super) fn publisher(&self, topic_name: &str, options: &[&str]) -> Command {
        let qos = self.cell.qos.to_string();
        let mut command = self.client("mosquitto_pub");
        command.args(["-t", topic_name, "-q", &qos]).args(options);
        command
    }

    /// Waits for something that was not published through [`Stage::publish`]: a will, or a file.
    #[track_caller]
    pub(super) fn witnessed(&mut self) -> Message {
        self.witness.expect_message()
    }

    /// Publishes one more message that the subscriber is owed: when it is the next to arrive,
    /// nothing else was sent before it.
    #[track_caller]
    pub(super) fn expect_nothing_before(&mut self, subscriber: &mut Subscriber, topic_name: &str) {
        self.publish(topic_name, "sentinel", &[]);
        subscriber.expect(topic_name, "sentinel");
    }
}

impl Subscriber {
    #[track_caller]
    fn start(name: &str, mut command: Command) -> Self {
        let process = Process::spawn(name, command.args(["-d", "-F", FORMAT]));
        let mut subscriber = Self { process, messages: VecDeque::new(), granted: Vec::new() };
        while subscriber.granted.is_empty() {
            subscriber.read_line();
        }
        subscriber
    }

    /// Reads one line of output: a message, the answer to SUBSCRIBE, or talk.
    #[track_caller]
    fn read_line(&mut self) {
        let Some(line) = self.process.next_line() else {
            panic!("mosquitto_sub ended\n{}", self.process.history());
        };
        if let Some(message) = parse_message(&line) {
            self.messages.push_back(message);
        } else if let Some((_, granted)) =
            line.strip_prefix("Subscribed (mid: ").and_then(|rest| rest.split_once("): "))
        {
            self.granted = granted.split(", ").map(|qos| qos.parse().unwrap()).collect();
        }
    }

    /// Waits for the answer to its UNSUBSCRIBE.
    #[track_caller]
    pub(super) fn wait_for_unsubscribed(&mut self) {
        self.process
            .wait_for("it unsubscribed", |line| line.contains("received UNSUBACK").then_some(()));
    }

    /// The next message, whatever it is.
    #[track_caller]
    pub(super) fn expect_message(&mut self) -> Message {
        while self.messages.is_empty() {
            self.read_line();
        }
        self.messages.pop_front().expect("is not empty")
    }

    /// The next message must have this Topic Name and payload.
    #[track_caller]
    pub(super) fn expect(&mut self, topic_name: &str, payload: &str) -> Message {
        let message = self.expect_message();
        assert_eq!((message.topic_name.as_str(), message.text()), (topic_name, payload));
        message
    }

    /// Ends the connection without a DISCONNECT.
    pub(super) fn kill(mut self) {
        self.process.kill();
    }
}

/// Runs a client to its end, which must be a success.
#[track_caller]
pub(super) fn run(mut command: Command) {
    let mut process = Process::spawn("mosquitto client", &mut command);
    process.end_input();
    assert!(process.wait_success(), "{}", process.history());
}

fn client(program: &str, broker: &BrokerUnderTest, version: Version) -> Command {
    let version = match version {
        Version::V3_1 => "mqttv31",
        Version::V3_1_1 => "mqttv311",
        Version::V5 => "mqttv5",
    };
    // Without a terminal the clients would keep their lines back until they end.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program, "-h", "127.0.0.1", "-V", version]);
    command.args(["-p", &broker.port.to_string()]);
    command
}

fn parse_message(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix("message|")?.splitn(10, '|');
    let mut next = || fields.next();
    let (qos, retain, payload) = (next()?, next()?, next()?);
    let mut properties = Vec::new();
    for name in PROPERTIES {
        let value = next()?;
        if !value.is_empty() {
            properties.push((name.to_owned(), value.to_owned()));
        }
    }
    let (topic_name, user_properties) = next()?.split_once('|')?;
    // Printed as `name:value`, with a space between one and the next.
    for property in user_properties.split_whitespace() {
        properties.push(("UserProperty".to_owned(), property.to_owned()));
    }
    Some(Message {
        topic_name: topic_name.to_owned(),
        payload: from_hex(payload),
        qos: qos.parse().ok()?,
        retain: retain == "1",
        properties,
    })
}
