//! What a scenario is written in: one broker, and paho clients known by name that connect,
//! subscribe, publish and expect.

use std::collections::HashMap;
use std::time::Instant;

use super::driver::{Event, Paho};
use crate::broker_under_test::BrokerUnderTest;
use crate::cell::{Cell, Version};
use crate::message::{Message, hex};
use crate::process::deadline;

/// The Reason Code that paho reports for an UNSUBACK, a PUBACK or a PUBCOMP without fault.
const SUCCESS: u8 = 0;

/// A broker and its clients; the clients end first.
pub(super) struct Stage {
    pub(super) cell: Cell,
    paho: Paho,
    broker: BrokerUnderTest,
    /// How often each Client Identifier was given out, to tell the connections apart.
    connections: HashMap<String, usize>,
}

/// A client's connection; its name is the Client Identifier and which connection of it this is.
#[derive(Clone, Debug)]
pub(super) struct Client(String);

/// How to connect, subscribe or publish beyond the plain case: fields of the script's commands.
pub(super) type Options<'a> = &'a [(&'a str, &'a str)];

impl Stage {
    pub(super) fn new(cell: Cell) -> Self {
        let broker = BrokerUnderTest::start();
        Self { cell, paho: Paho::start(), broker, connections: HashMap::new() }
    }

    /// Connects with a clean session.
    #[track_caller]
    pub(super) fn join(&mut self, client_identifier: &str) -> Client {
        self.connect(client_identifier, true, &[]).0
    }

    /// Connects to a session that outlives the connection, and tells whether it was present.
    #[track_caller]
    pub(super) fn resume(&mut self, client_identifier: &str) -> (Client, bool) {
        let expiry = [("prop.SessionExpiryInterval", "3600")];
        let options: Options<'_> = if self.is_v5() { &expiry } else { &[] };
        let (client, connected) = self.connect(client_identifier, false, options);
        (client, connected.number("session_present") == 1)
    }

    /// Connects and gives the CONNACK, which must accept.
    #[track_caller]
    pub(super) fn connect(
        &mut self,
        client_identifier: &str,
        clean: bool,
        options: Options<'_>,
    ) -> (Client, Event) {
        let count = self.connections.entry(client_identifier.to_owned()).or_default();
        *count += 1;
        let name = if client_identifier.is_empty() { "anonymous" } else { client_identifier };
        let client = Client(format!("{name}.{count}"));
        let version = match self.cell.version {
            Version::V3_1 => "3.1",
            Version::V3_1_1 => "3.1.1",
            Version::V5 => "5",
        };
        let port = self.broker.port.to_string();
        let clean = if clean { "1" } else { "0" };
        let mut fields =
            vec![("port", port.as_str()), ("version", version), ("id", client_identifier)];
        fields.push(("clean", clean));
        fields.extend(options);
        self.paho.command(&client.0, "connect", &fields);
        let connected = self.paho.expect(&client.0, "connected");
        assert_eq!(connected.number("reason"), SUCCESS, "{connected:?}");
        (client, connected)
    }

    /// Subscribes at the cell's Quality of Service, which must be granted.
    #[track_caller]
    pub(super) fn subscribe(&mut self, client: &Client, topic_filter: &str) {
        self.subscribe_with(client, topic_filter, self.cell.qos, &[]);
    }

    #[track_caller]
    pub(super) fn subscribe_with(
        &mut self,
        client: &Client,
        topic_filter: &str,
        qos: u8,
        options: Options<'_>,
    ) {
        let text = qos.to_string();
        let mut fields = vec![("filter", topic_filter), ("qos", text.as_str())];
        fields.extend(options);
        self.paho.command(&client.0, "subscribe", &fields);
        let subscribed = self.paho.expect(&client.0, "subscribed");
        assert_eq!(subscribed.number("reason"), qos, "the granted QoS of {topic_filter}");
    }

    #[track_caller]
    pub(super) fn unsubscribe(&mut self, client: &Client, topic_filter: &str) {
        self.paho.command(&client.0, "unsubscribe", &[("filter", topic_filter)]);
        self.paho.expect(&client.0, "unsubscribed");
    }

    /// Publishes at the cell's Quality of Service and waits until the broker has the message.
    #[track_caller]
    pub(super) fn publish(&mut self, client: &Client, topic_name: &str, payload: &str) {
        self.publish_with(client, topic_name, payload.as_bytes(), &[]);
    }

    #[track_caller]
    pub(super) fn publish_retained(&mut self, client: &Client, topic_name: &str, payload: &str) {
        self.publish_with(client, topic_name, payload.as_bytes(), &[("retain", "1")]);
    }

    /// Publishes with options; `("qos", …)` and `("retain", …)` win over the plain case.
    #[track_caller]
    pub(super) fn publish_with(
        &mut self,
        client: &Client,
        topic_name: &str,
        payload: &[u8],
        options: Options<'_>,
    ) {
        let qos = self.cell.qos.to_string();
        let payload = hex(payload);
        let mut fields = vec![("topic", topic_name), ("payload", &payload), ("qos", &qos)];
        fields.push(("retain", "0"));
        fields.extend(options);
        self.paho.command(&client.0, "publish", &fields);
        let published = self.paho.expect(&client.0, "published");
        // 0x10 says that there was no matching subscriber.
        assert!([SUCCESS, 0x10].contains(&published.number("reason")), "{published:?}");
        let qos = fields.iter().rev().find(|(key, _)| *key == "qos");
        if qos.is_some_and(|(_, qos)| *qos == "0") {
            // Nothing answers QoS 0; packets are handled in order, so an answer to the next one
            // says that the message was handled too.
            self.unsubscribe(client, "never/subscribed");
        }
    }

    /// The client's next message, whatever it is.
    #[track_caller]
    pub(super) fn expect_message(&mut self, client: &Client) -> Message {
        self.paho.expect(&client.0, "message").message()
    }

    /// The client's next message must have this Topic Name and payload.
    #[track_caller]
    pub(super) fn expect(&mut self, client: &Client, topic_name: &str, payload: &str) -> Message {
        let message = self.expect_message(client);
        let seen = (message.topic_name.as_str(), message.text());
        assert_eq!(seen, (topic_name, payload), "the next message of {client:?}");
        message
    }

    /// Publishes one more message that `client` is owed: when it is the next to arrive, nothing
    /// else was sent before it.
    #[track_caller]
    pub(super) fn expect_nothing_before(&mut self, client: &Client, by: &Client, topic_name: &str) {
        self.publish(by, topic_name, "sentinel");
        self.expect(client, topic_name, "sentinel");
    }

    /// Confirms the oldest message of a client that was connected with `manual_ack`.
    pub(super) fn acknowledge(&mut self, client: &Client) {
        self.paho.command(&client.0, "acknowledge", &[]);
    }

    /// How many messages came for a client that no one has looked at, once the broker has sent it
    /// all that it may send by now.
    #[track_caller]
    pub(super) fn unread(&mut self, client: &Client) -> usize {
        // One exchange for the messages themselves, a second one for the PUBREL of QoS 2.
        self.unsubscribe(client, "never/subscribed");
        self.unsubscribe(client, "never/subscribed");
        self.paho.waiting_count(&client.0, "message")
    }

    /// Waits until a retained message that is published now has expired after this many seconds:
    /// then so has all that was due to expire before it.
    #[track_caller]
    pub(super) fn wait_for_expiry(&mut self, seconds: &str) {
        let observer = self.join("observer");
        self.subscribe_with(&observer, "answer", 1, &[]);
        let probe = [("qos", "1"), ("retain", "1"), ("prop.MessageExpiryInterval", seconds)];
        self.publish_with(&observer, "probe", b"alive", &probe);
        let started = Instant::now();
        loop {
            self.subscribe_with(&observer, "probe", 1, &[]);
            self.publish_with(&observer, "answer", b"", &[("qos", "1")]);
            if self.expect_message(&observer).topic_name == "answer" {
                break;
            }
            self.expect(&observer, "answer", "");
            self.unsubscribe(&observer, "probe");
            assert!(started.elapsed() < deadline(), "the retained message does not expire");
        }
    }

    /// Sends DISCONNECT with a Reason Code or properties and waits for the end of the connection.
    #[track_caller]
    pub(super) fn disconnect_with(&mut self, client: &Client, options: Options<'_>) {
        self.paho.command(&client.0, "disconnect", options);
        self.expect_end(client);
    }

    /// Sends DISCONNECT and waits for the end of the connection.
    #[track_caller]
    pub(super) fn disconnect(&mut self, client: &Client) {
        self.disconnect_with(client, &[]);
    }

    /// Ends the Network Connection without DISCONNECT.
    #[track_caller]
    pub(super) fn lose(&mut self, client: &Client) {
        self.paho.command(&client.0, "drop", &[]);
        self.expect_end(client);
    }

    /// Waits until the connection has ended, from whichever side.
    #[track_caller]
    pub(super) fn expect_end(&mut self, client: &Client) -> Event {
        self.paho.expect(&client.0, "disconnected")
    }

    pub(super) fn is_v5(&self) -> bool {
        self.cell.version == Version::V5
    }
}
