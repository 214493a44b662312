//! Histories that are right in a tricky way, and histories that are wrong, told packet by packet.

mod content;
mod delivery;
mod ends;
mod retained;
mod rights;
mod room;
mod shared;
mod wires;

use super::{Judge, Promise, Rules};
use crate::history::{ConnectionId, DeviceId, Event};
use bytes::Bytes;
use dunlin_broker::{Limits, QueuePolicy};
use dunlin_codec::{
    Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery, Disconnect, Packet,
    PacketIdentifier, ProtocolVersion, Publish, PublishTopic, QoS, ReasonCode, SubAck,
    SubAckProperties, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, TopicName,
    UnsubAck, Unsubscribe, UnsubscribeProperties, Will, WillProperties,
};
use dunlin_protocol::{Instant, Message};

/// A history in the making.
struct Story {
    judge: Judge,
    micros: u64,
}

fn id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("not zero")
}

fn connect(name: &str) -> Connect {
    Connect {
        protocol_version: ProtocolVersion::V5,
        bridge: false,
        clean_start: false,
        keep_alive: 0,
        client_identifier: name.parse().expect("a name"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: Some(60),
            ..ConnectProperties::default()
        },
    }
}

fn will(number: u64, delay_secs: u32) -> Will {
    Will {
        topic_name: TopicName::from_static("will"),
        payload: number.to_string().into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties {
            will_delay_interval: Some(delay_secs),
            ..WillProperties::default()
        },
    }
}

/// A PUBLISH of the message with this number to the topic `a`; packet identifier 0 is QoS 0.
fn publish(number: u64, qos: QoS, packet_identifier: u16) -> Publish {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => {
            Delivery::AtLeastOnce { packet_identifier: id(packet_identifier), dup: false }
        }
        QoS::ExactlyOnce => {
            Delivery::ExactlyOnce { packet_identifier: id(packet_identifier), dup: false }
        }
    };
    Publish {
        delivery,
        retain: false,
        topic: PublishTopic::Name(TopicName::from_static("a")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: Bytes::from(number.to_string()),
    }
}

/// The same PUBLISH once more.
fn again(mut publish: Publish) -> Publish {
    publish.delivery = match publish.delivery {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { packet_identifier, .. } => {
            Delivery::AtLeastOnce { packet_identifier, dup: true }
        }
        Delivery::ExactlyOnce { packet_identifier, .. } => {
            Delivery::ExactlyOnce { packet_identifier, dup: true }
        }
    };
    publish
}

fn retained(mut publish: Publish) -> Publish {
    publish.retain = true;
    publish
}

fn connack(session_present: bool) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties::default(),
    }))
}

fn ack(packet_identifier: u16) -> Ack {
    Ack::new(id(packet_identifier), ReasonCode::Success)
}

fn subscribe(topic_filter: &str, qos: QoS) -> Subscribe {
    Subscribe {
        packet_identifier: id(1),
        properties: SubscribeProperties::default(),
        subscriptions: vec![Subscription {
            topic_filter: topic_filter.parse().expect("a Topic Filter"),
            options: SubscriptionOptions { maximum_qos: qos, ..SubscriptionOptions::default() },
        }],
    }
}

impl Story {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules::new(Limits::default());
        rules.stores = true;
        change(&mut rules);
        Self { judge: Judge::new(rules), micros: 1_000_000 }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.micros += 1;
        self.judge.tell(Instant::from_micros(self.micros), event);
    }

    fn pass(&mut self, millis: u64) {
        self.micros += millis * 1000;
    }

    fn take(&mut self, connection: u32, packet: &Packet) {
        self.tell(Event::Taken { connection: ConnectionId(connection), packet, len: 20 });
    }

    fn write(&mut self, connection: u32, packet: &Packet) {
        self.tell(Event::Written { connection: ConnectionId(connection), packet, len: 20 });
    }

    /// A device connects, and is answered.
    fn join(&mut self, connection: u32, device: u32, connect: Connect, session_present: bool) {
        self.ask(connection, device, connect);
        self.accept(connection, session_present);
    }

    fn ask(&mut self, connection: u32, device: u32, connect: Connect) {
        let device = DeviceId(device);
        self.tell(Event::Opened { connection: ConnectionId(connection), device });
        self.take(connection, &Packet::Connect(Box::new(connect)));
    }

    fn accept(&mut self, connection: u32, session_present: bool) {
        self.write(connection, &connack(session_present));
    }

    /// A device subscribes, and is answered.
    fn subscribe(&mut self, connection: u32, topic_filter: &str, qos: QoS) {
        self.subscribe_as(connection, subscribe(topic_filter, qos));
    }

    fn subscribe_as(&mut self, connection: u32, subscribe: Subscribe) {
        let reason_codes = subscribe
            .subscriptions
            .iter()
            .map(|asked| ReasonCode::new(asked.options.maximum_qos.value()).expect("a QoS"))
            .collect();
        let packet_identifier = subscribe.packet_identifier;
        self.take(connection, &Packet::Subscribe(Box::new(subscribe)));
        self.suback(connection, packet_identifier, reason_codes);
    }

    fn suback(
        &mut self,
        connection: u32,
        packet_identifier: PacketIdentifier,
        reason_codes: Vec<ReasonCode>,
    ) {
        let properties = SubAckProperties::default();
        let suback = SubAck { packet_identifier, properties, reason_codes };
        self.write(connection, &Packet::SubAck(Box::new(suback)));
    }

    fn take_unsubscribe(&mut self, connection: u32, topic_filter: &str) {
        let unsubscribe = Unsubscribe {
            packet_identifier: id(2),
            properties: UnsubscribeProperties::default(),
            topic_filters: vec![topic_filter.parse().expect("a Topic Filter")],
        };
        self.take(connection, &Packet::Unsubscribe(Box::new(unsubscribe)));
    }

    fn write_unsuback(&mut self, connection: u32) {
        let unsuback = UnsubAck {
            packet_identifier: id(2),
            properties: SubAckProperties::default(),
            reason_codes: vec![ReasonCode::Success],
        };
        self.write(connection, &Packet::UnsubAck(Box::new(unsuback)));
    }

    fn take_publish(&mut self, connection: u32, publish: Publish) {
        self.take(connection, &Packet::Publish(publish));
    }

    fn write_publish(&mut self, connection: u32, publish: Publish) {
        self.write(connection, &Packet::Publish(publish));
    }

    /// A QoS 1 message is published and acknowledged.
    fn publish(&mut self, connection: u32, number: u64) {
        self.take_publish(connection, publish(number, QoS::AtLeastOnce, 1));
        self.write(connection, &Packet::PubAck(ack(1)));
    }

    /// The application at the other end is given what was written.
    fn deliver(&mut self, connection: u32, device: u32, publish: &Publish) {
        let name = publish.topic.name().expect("a Topic Name").clone();
        let message = Message {
            qos: publish.delivery.qos(),
            retain: publish.retain,
            ..Message::new(name, publish.payload.clone())
        };
        self.tell(Event::Delivered {
            device: DeviceId(device),
            connection: ConnectionId(connection),
            message: &message,
        });
    }

    fn arrive(&mut self, connection: u32, packet: &Packet) {
        self.tell(Event::Arrived { connection: ConnectionId(connection), packet });
    }

    /// A message goes to a subscriber, who acknowledges it.
    fn pass_on(&mut self, connection: u32, device: u32, publish: Publish) {
        let delivery = publish.delivery;
        self.deliver_written(connection, device, publish);
        if let Delivery::AtLeastOnce { packet_identifier, .. } = delivery {
            self.take(connection, &Packet::PubAck(ack(packet_identifier.value())));
        }
    }

    fn deliver_written(&mut self, connection: u32, device: u32, publish: Publish) {
        let packet = Packet::Publish(publish);
        self.write(connection, &packet);
        if let Packet::Publish(publish) = &packet {
            self.deliver(connection, device, publish);
        }
    }

    fn bye(&mut self, connection: u32, reason_code: ReasonCode) {
        self.take(connection, &Packet::Disconnect(Box::new(Disconnect::new(reason_code))));
        self.close(connection);
    }

    fn close(&mut self, connection: u32) {
        self.tell(Event::Closed { connection: ConnectionId(connection) });
    }

    /// The end: exactly these promises were broken.
    #[track_caller]
    fn ends(mut self, expected: &[Promise]) {
        self.pass(1);
        self.judge.finish(Instant::from_micros(self.micros));
        let broken: Vec<Promise> =
            self.judge.breaches().iter().map(|breach| breach.promise).collect();
        assert_eq!(broken, expected, "{:#?}", self.judge.breaches());
    }
}

/// A publisher (connection 1) and a subscriber (connection 2) of `a` at this QoS.
fn pair(qos: QoS) -> Story {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.subscribe(2, "a", qos);
    story
}
