//! Every limit that the core has, one row each: what reaches it is fine, one more is refused and
//! counted, and ten times as much costs no more memory than what is allowed, and nobody else
//! anything.

use super::*;
use crate::Limits;
use crate::core::{DropCause, LimitCause};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{
    Connect, MessageProperties, Packet, ProtocolVersion, PublishTopic, QoS, ReasonCode, Text,
    TopicAlias,
};
use std::sync::Arc;
use std::time::Duration;

/// Where each limit is set.
const N: usize = 3;

/// One limit: how it is set to so much, and the attempt to use so much of it, or one thing more
/// for the so-manieth time; whether that was granted.
struct Row {
    cause: LimitCause,
    set: fn(&mut Limits, usize),
    attempt: fn(&mut Bed, usize) -> bool,
}

/// A broker, one Client that meets the limits, and one that does not.
struct Bed {
    broker: Broker,
    client: Link,
    bystander: Link,
    attempts: usize,
}

impl Bed {
    fn new(row: &Row) -> Self {
        let mut limits = Limits { sys_interval_secs: 0, ..Limits::default() };
        (row.set)(&mut limits, N);
        let mut broker = Broker::with(1, limits);
        let client = broker.client("client");
        let bystander = broker.client("bystander");
        broker.send(bystander, subscribe(&["by/stander"], QoS::AtLeastOnce));
        assert!(matches!(broker.receive_one(bystander), Packet::SubAck(_)));
        Self { broker, client, bystander, attempts: 0 }
    }

    /// Whoever met no limit is served as ever.
    fn check_bystander(&mut self) {
        let message = publish("by/stander", "x", QoS::AtMostOnce, 1);
        self.broker.send(self.bystander, Packet::Publish(message));
        assert_eq!(self.broker.payloads(self.bystander), ["x"]);
    }

    /// What the broker has in memory for Clients.
    fn holdings(&self) -> [u64; 4] {
        let counters = self.broker.counters();
        let retained = self.broker.retained.len() as u64;
        [counters.clients_connected, counters.sessions, counters.subscriptions, retained]
    }

    /// The answer to a packet of the Client that meets the limits.
    fn answer(&mut self, packet: Packet) -> Packet {
        self.broker.send(self.client, packet);
        self.broker.receive_one(self.client)
    }

    /// Whether all that a new Client sends is taken at once.
    fn is_read(&mut self, bytes: &[u8]) -> bool {
        self.attempts += 1;
        let link = self.broker.client(&format!("hasty-{}", self.attempts));
        self.broker.send_bytes(link, bytes);
        let is_read = !self.broker.is_paused(link);
        self.broker.cut(link);
        is_read
    }

    /// Whether a new Client is let in, which then goes.
    fn lets_in(&mut self, connect: Connect) -> bool {
        let link = self.broker.connect(connect);
        let packets = self.broker.receive(link);
        self.broker.cut(link);
        match &packets[..] {
            [Packet::ConnAck(connack)] => connack.reason_code == ReasonCode::Success,
            // What could not be read to its end has no answer.
            [] => false,
            packets => panic!("no CONNACK but {packets:?}"),
        }
    }

    /// Whether a new Client is still connected after it has sent this.
    fn survives(&mut self, bytes: &[u8]) -> bool {
        let link = self.broker.client("short-lived");
        self.broker.send_bytes(link, bytes);
        let is_open = !self.broker.is_closed(link);
        self.broker.cut(link);
        is_open
    }
}

/// A message of a byte, to a topic of one.
fn small() -> Packet {
    Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1))
}

/// So many User Properties, each with so many bytes of its name and of its value.
fn user_properties(count: usize, len: usize) -> Vec<(Text, Text)> {
    let text: Text = "u".repeat(len).parse().expect("text");
    vec![(text.clone(), text); count]
}

fn with_user_properties(count: usize, len: usize) -> Packet {
    let mut message = publish("a", "x", QoS::AtMostOnce, 1);
    let user_properties = user_properties(count, len);
    let properties = MessageProperties { user_properties, ..MessageProperties::default() };
    message.properties = Some(Arc::new(properties));
    Packet::Publish(message)
}

fn v5(packet: &Packet) -> Vec<u8> {
    bytes_of(packet, ProtocolVersion::V5)
}

/// So many levels.
fn levels(count: usize) -> String {
    vec!["l"; count].join("/")
}

/// Bytes of the packets that are too large by one: large enough that each length exists.
const SIZE: usize = 200;

/// A packet of exactly so many bytes.
fn sized(len: usize, make: impl Fn(&str) -> Packet) -> Vec<u8> {
    let short = v5(&make(&"x".repeat(SIZE)));
    let bytes = v5(&make(&"x".repeat(SIZE + len - short.len())));
    assert_eq!(bytes.len(), len);
    bytes
}

const ROWS: &[Row] = &[
    Row {
        cause: LimitCause::PacketSize,
        set: |limits, n| limits.packet_size_max = (2 * SIZE + n) as u32,
        attempt: |bed, k| {
            let packet = |text: &str| Packet::Publish(publish("a", text, QoS::AtMostOnce, 1));
            bed.survives(&sized(2 * SIZE + k, packet))
        },
    },
    Row {
        cause: LimitCause::ConnectPacketSize,
        set: |limits, n| limits.connect_packet_size_max = (2 * SIZE + n) as u32,
        attempt: |bed, k| {
            let packet = |text: &str| Packet::Connect(Box::new(connect(text)));
            let link = bed.broker.open();
            bed.broker.send_bytes(link, &sized(2 * SIZE + k, packet));
            let is_open = !bed.broker.is_closed(link);
            bed.broker.cut(link);
            is_open
        },
    },
    Row {
        cause: LimitCause::ReceiveMaximum,
        set: |limits, n| limits.receive_maximum = n as u16,
        attempt: |bed, k| {
            let message = |at| publish("a", "x", QoS::ExactlyOnce, at);
            let packets = (1..=k as u16).map(|at| v5(&Packet::Publish(message(at))));
            bed.survives(&packets.collect::<Vec<_>>().concat())
        },
    },
    Row {
        cause: LimitCause::TopicAlias,
        set: |limits, n| limits.topic_alias_maximum = n as u16,
        attempt: |bed, k| {
            let mut message = publish("a", "x", QoS::AtMostOnce, 1);
            let alias = TopicAlias::new(k as u16).expect("not zero");
            message.topic = PublishTopic::NameAndAlias("a".parse().expect("legal"), alias);
            bed.survives(&v5(&Packet::Publish(message)))
        },
    },
    Row {
        cause: LimitCause::ConnectTimeout,
        set: |limits, n| limits.connect_timeout_secs = n as u32,
        attempt: |bed, k| {
            let link = bed.broker.open();
            bed.broker.advance(Duration::from_secs(k as u64) - Duration::from_millis(1));
            bed.broker.send(link, Packet::Connect(Box::new(connect("late"))));
            let is_open = !bed.broker.is_closed(link);
            bed.broker.cut(link);
            is_open
        },
    },
    Row {
        cause: LimitCause::PublishRate,
        set: |limits, n| limits.publish_rate_max = n as u32,
        attempt: |bed, k| bed.is_read(&v5(&small()).repeat(k)),
    },
    Row {
        cause: LimitCause::BytesRate,
        set: |limits, n| limits.bytes_rate_max = n * 1_000,
        attempt: |bed, k| {
            let message = publish("a", &"x".repeat(999), QoS::AtMostOnce, 1);
            bed.is_read(&v5(&Packet::Publish(message)).repeat(k))
        },
    },
    Row {
        cause: LimitCause::Sessions,
        set: |limits, n| limits.sessions_max = 2 + n,
        attempt: |bed, k| {
            let link = bed.broker.connect(connect(&format!("session-{k}")));
            match bed.broker.receive_one(link) {
                Packet::ConnAck(connack) => connack.reason_code == ReasonCode::Success,
                packet => panic!("no CONNACK but {packet:?}"),
            }
        },
    },
    Row {
        cause: LimitCause::OutputBytes,
        set: |limits, n| limits.output_bytes_max = 2 * 512 * n + 1,
        attempt: |bed, k| {
            let link = bed.broker.client("deaf");
            bed.broker.block(link, true);
            bed.broker.send_bytes(link, &v5(&Packet::PingReq).repeat(512 * k));
            let is_read = !bed.broker.is_paused(link);
            if k == N + 1 {
                bed.broker.block(link, false);
                let answers = bed.broker.receive(link).len();
                assert_eq!(answers, 512 * k, "every PINGREQ is answered");
            }
            bed.broker.cut(link);
            is_read
        },
    },
    Row {
        cause: LimitCause::Subscriptions,
        set: |limits, n| limits.subscriptions_per_session_max = n,
        attempt: |bed, k| {
            let filter = format!("filter/{k}");
            is_granted(&bed.answer(subscribe(&[&filter], QoS::AtMostOnce)))
        },
    },
    Row {
        cause: LimitCause::TopicLevels,
        set: |limits, n| limits.topic_levels_max = n,
        attempt: |bed, k| {
            let message = publish(&levels(k), "x", QoS::AtLeastOnce, 1);
            is_taken(&bed.answer(Packet::Publish(message)), ReasonCode::TopicNameInvalid)
        },
    },
    Row {
        cause: LimitCause::TopicLevels,
        set: |limits, n| limits.topic_levels_max = n,
        attempt: |bed, k| is_granted(&bed.answer(subscribe(&[&levels(k)], QoS::AtMostOnce))),
    },
    Row {
        cause: LimitCause::TopicLevels,
        set: |limits, n| limits.topic_levels_max = n,
        attempt: |bed, k| bed.lets_in(connect("willing").will(will(&levels(k), "x", 0))),
    },
    Row {
        cause: LimitCause::TopicLen,
        set: |limits, n| limits.topic_len_max = (SIZE + n) as u16,
        attempt: |bed, k| {
            let message = publish(&"l".repeat(SIZE + k), "x", QoS::AtMostOnce, 1);
            bed.survives(&v5(&Packet::Publish(message)))
        },
    },
    Row {
        cause: LimitCause::TopicLen,
        set: |limits, n| limits.topic_len_max = (SIZE + n) as u16,
        attempt: |bed, k| {
            is_granted(&bed.answer(subscribe(&[&"l".repeat(SIZE + k)], QoS::AtMostOnce)))
        },
    },
    Row {
        cause: LimitCause::TopicLen,
        set: |limits, n| limits.topic_len_max = (SIZE + n) as u16,
        attempt: |bed, k| bed.lets_in(connect("w").will(will(&"l".repeat(SIZE + k), "x", 0))),
    },
    Row {
        cause: LimitCause::UserProperties,
        set: |limits, n| limits.user_properties_max = n as u32,
        attempt: |bed, k| bed.survives(&v5(&with_user_properties(k, 1))),
    },
    Row {
        cause: LimitCause::UserProperties,
        set: |limits, n| limits.user_properties_max = n as u32,
        attempt: |bed, k| {
            let mut packet = connect("u");
            packet.properties.user_properties = user_properties(k, 1);
            bed.lets_in(packet)
        },
    },
    Row {
        cause: LimitCause::UserPropertyBytes,
        set: |limits, n| limits.user_property_bytes_max = 2 * n as u32,
        attempt: |bed, k| bed.survives(&v5(&with_user_properties(1, k))),
    },
    Row {
        cause: LimitCause::UserPropertyBytes,
        set: |limits, n| limits.user_property_bytes_max = 2 * n as u32,
        attempt: |bed, k| bed.survives(&v5(&with_user_properties(k, 1))),
    },
    Row {
        cause: LimitCause::PartialRate,
        set: |limits, n| limits.partial_rate_min = 1_000 / n as u32,
        attempt: |bed, k| {
            // A packet of a mebibyte, of which a kilobyte comes each so many seconds.
            let link = bed.broker.client("slow");
            bed.broker.send_bytes(link, &[0x30, 0x80, 0x80, 0x40]);
            for _ in 0..=100 / k {
                bed.broker.advance_secs(k as u64);
                if bed.broker.is_closed(link) {
                    return false;
                }
                bed.broker.send_bytes(link, &[b'a'; 1_000]);
            }
            bed.broker.cut(link);
            true
        },
    },
    Row {
        cause: LimitCause::RetainedLen,
        set: |limits, n| limits.retained_len_max = n,
        attempt: retain,
    },
    Row {
        cause: LimitCause::RetainedBytes,
        set: |limits, n| {
            let topic_name = retained_name(1).parse().expect("legal");
            limits.retained_bytes_max = n * Message::new(topic_name, "x").size();
        },
        attempt: retain,
    },
];

fn retained_name(at: usize) -> String {
    format!("retained/{at:03}")
}

fn retain(bed: &mut Bed, k: usize) -> bool {
    let message = publish(&retained_name(k), "x", QoS::AtLeastOnce, 1).retained();
    is_taken(&bed.answer(Packet::Publish(message)), ReasonCode::QuotaExceeded)
}

/// Whether a PUBACK says that the message was taken, and not that it was refused for this reason.
fn is_taken(packet: &Packet, refusal: ReasonCode) -> bool {
    let Packet::PubAck(ack) = packet else { panic!("no PUBACK but {packet:?}") };
    assert!(!ack.reason_code.is_error() || ack.reason_code == refusal, "{ack:?}");
    !ack.reason_code.is_error()
}

/// Whether a SUBACK grants the one subscription.
fn is_granted(packet: &Packet) -> bool {
    let Packet::SubAck(suback) = packet else { panic!("no SUBACK but {packet:?}") };
    !suback.reason_codes[0].is_error()
}

#[test]
fn every_limit_holds_at_n_and_counts_what_is_beyond() {
    for (at, row) in ROWS.iter().enumerate() {
        let case = format!("row {at}, {}", row.cause.name());
        let mut bed = Bed::new(row);
        let count = |bed: &Bed| bed.broker.counters().limited_by(row.cause);
        for k in 1..=N {
            assert!((row.attempt)(&mut bed, k), "{case}: {k} of {N}");
        }
        assert_eq!(count(&bed), 0, "{case}");
        bed.check_bystander();
        assert!(!(row.attempt)(&mut bed, N + 1), "{case}: one more");
        assert_eq!(count(&bed), 1, "{case}");
        bed.check_bystander();
        let holdings = bed.holdings();
        for k in N + 2..=10 * N {
            assert!(!(row.attempt)(&mut bed, k), "{case}: {k} of {N}");
        }
        assert_eq!(count(&bed), 9 * N as u64, "{case}");
        assert_eq!(bed.holdings(), holdings, "{case}: nothing is kept of what is refused");
        bed.check_bystander();
        let others: u64 = bed.broker.counters().limited.iter().sum();
        assert_eq!(others, count(&bed), "{case}: no other limit is blamed");
    }
}

#[test]
fn tens_of_thousands_of_subscriptions_in_one_packet_or_many_come_to_the_same() {
    const ASKED: usize = 65_535;
    let limits =
        || Limits { sys_interval_secs: 0, subscriptions_per_session_max: 10, ..Limits::default() };
    let names: Vec<_> = (0..ASKED).map(|at| format!("f/{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for filters_per_packet in [ASKED, 1] {
        let mut broker = Broker::with(1, limits());
        let link = broker.client("greedy");
        let mut granted = 0;
        for filters in names.chunks(filters_per_packet) {
            broker.send(link, subscribe(filters, QoS::AtMostOnce));
            let Packet::SubAck(suback) = broker.receive_one(link) else { panic!("no SUBACK") };
            let is_granted = |code: &&ReasonCode| !code.is_error();
            granted += suback.reason_codes.iter().filter(is_granted).count();
        }
        assert_eq!((granted, broker.counters().subscriptions), (10, 10));
        let refused = broker.counters().limited_by(LimitCause::Subscriptions);
        assert_eq!(refused, ASKED as u64 - 10);
    }
}

#[test]
fn each_limit_is_shown_under_sys_and_explained() {
    let mut broker = Broker::with(1, Limits { topic_levels_max: 5, ..Limits::default() });
    let link = broker.client("one");
    for deep in [levels(6), levels(60)] {
        broker.send(link, Packet::Publish(publish(&deep, "x", QoS::AtLeastOnce, 1)));
    }
    broker.receive(link);
    broker.advance_secs(10);
    let reader = broker.client("reader");
    broker.send(reader, subscribe(&["$SYS/broker/limits/#"], QoS::AtMostOnce));
    let told = broker.receive(reader).split_off(1).messages();
    assert_eq!(told.len(), LimitCause::ALL.len());
    let guide = include_str!("../../../../../docs/limits.md");
    for cause in LimitCause::ALL {
        let topic_name = format!("$SYS/broker/limits/{}", cause.name());
        let found = told.iter().find(|publish| publish.topic_name() == topic_name);
        let expected = if cause == LimitCause::TopicLevels { "2" } else { "0" };
        assert_eq!(found.expect("shown").payload, expected, "{topic_name}");
        assert!(
            guide.contains(&format!("| `{}` |", cause.name())),
            "{} in the guide",
            cause.name()
        );
    }
}

#[test]
fn so_much_is_under_way_to_a_client_and_no_more() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let limits = Limits { sys_interval_secs: 0, send_in_flight_max: 3, ..Limits::default() };
        let mut broker = Broker::with(1, limits);
        let (link, _) = broker.join(Connect { protocol_version: version, ..connect("one") });
        broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
        assert!(matches!(broker.receive_one(link), Packet::SubAck(_)));
        let publisher = broker.client("publisher");
        let payloads: Vec<_> = (1..=30).map(|at| at.to_string()).collect();
        for (at, payload) in (1..).zip(&payloads) {
            broker.send(publisher, Packet::Publish(publish("a", payload, QoS::AtLeastOnce, at)));
        }
        let first = broker.receive(link);
        assert_eq!(first.len(), 3);
        first.iter().filter_map(answer).for_each(|answer| broker.send(link, answer));
        assert_eq!(broker.drain(link), payloads[3..]);
    }
}

/// Limits with a rate of ten messages a second.
fn ten_a_second() -> Limits {
    Limits { sys_interval_secs: 0, publish_rate_max: 10, ..Limits::default() }
}

/// A broker, and a Client that has subscribed to `a`.
fn with_subscriber(limits: Limits) -> (Broker, Link) {
    let mut broker = Broker::with(1, limits);
    let subscriber = broker.client("subscriber");
    broker.send(subscriber, subscribe(&["a"], QoS::AtMostOnce));
    assert!(matches!(broker.receive_one(subscriber), Packet::SubAck(_)));
    (broker, subscriber)
}

#[test]
fn who_publishes_too_fast_is_read_later_and_loses_nothing() {
    for qos in QOS {
        let (mut broker, subscriber) = with_subscriber(ten_a_second());
        let link = broker.join(connect("hasty").keep_alive(2)).0;
        let payloads: Vec<_> = (1..=100).map(|at| at.to_string()).collect();
        let packets = (1..).zip(&payloads).map(|(at, payload)| publish("a", payload, qos, at));
        let bytes: Vec<_> = packets.map(|packet| v5(&Packet::Publish(packet))).collect();
        broker.send_bytes(link, &bytes.concat());
        let mut came = broker.payloads(subscriber);
        assert_eq!(came.len(), 11, "those of a second, and the one that was too much");
        for _ in 0..9 {
            broker.advance_secs(1);
            let more = broker.payloads(subscriber);
            assert!((9..=11).contains(&more.len()), "{}", more.len());
            came.extend(more);
        }
        assert_eq!(came, payloads);
        // Nobody who is not read is blamed for silence; who is read again, is.
        assert!(!broker.is_closed(link));
        broker.advance_secs(4);
        assert!(broker.is_closed(link));
    }
}

#[test]
fn who_comes_again_is_as_far_ahead_of_its_rate_as_it_was() {
    let (mut broker, subscriber) = with_subscriber(ten_a_second());
    let burst = v5(&small()).repeat(30);
    let count = |broker: &mut Broker| broker.payloads(subscriber).len();
    let mut link = broker.client("hasty");
    broker.send_bytes(link, &burst);
    assert_eq!(count(&mut broker), 11);
    // By leaving, by being cut off, and by taking over from itself.
    for leave in [true, false, false] {
        if leave {
            broker.cut(link);
        }
        link = broker.client("hasty");
        broker.send_bytes(link, &burst);
        assert_eq!(count(&mut broker), 0, "it is not read");
    }
    let other = broker.client("other");
    broker.send_bytes(other, &burst);
    assert_eq!(count(&mut broker), 11, "another client is not to blame");
    broker.advance_secs(1);
    assert_eq!(count(&mut broker), 20);

    // Of those who are back within their rates nothing is kept.
    for link in [link, other] {
        broker.cut(link);
    }
    assert_eq!(broker.core(0).rates.away_len(), 2);
    broker.advance_secs(60);
    let link = broker.client("third");
    broker.send_bytes(link, &burst);
    broker.cut(link);
    assert_eq!(broker.core(0).rates.away_len(), 1);
}

#[test]
fn a_client_that_leaves_in_a_hurry_is_heard_at_its_rate() {
    let (mut broker, subscriber) = with_subscriber(ten_a_second());
    let link = broker.client("hasty");
    broker.send_bytes(link, &v5(&small()).repeat(30));
    broker.send(link, disconnect(ReasonCode::Success));
    broker.close_half(link);
    assert_eq!(broker.payloads(subscriber).len(), 11);
    broker.advance_secs(3);
    assert_eq!(broker.payloads(subscriber).len(), 19);
    assert!(broker.is_closed(link));
}

#[test]
fn whatever_a_client_has_sent_it_is_read_again_within_a_minute() {
    let limits = Limits { sys_interval_secs: 0, bytes_rate_max: 100, ..Limits::default() };
    let (mut broker, subscriber) = with_subscriber(limits);
    let link = broker.client("hasty");
    // Worth a quarter of an hour.
    broker.send(link, Packet::Publish(publish("a", &"x".repeat(90_000), QoS::AtMostOnce, 1)));
    assert_eq!(broker.messages(subscriber).len(), 1);
    broker.cut(link);
    let link = broker.client("hasty");
    broker.send(link, Packet::Publish(publish("a", "y", QoS::AtMostOnce, 1)));
    broker.advance_secs(58);
    assert!(broker.is_paused(link));
    broker.advance_secs(2);
    assert!(!broker.is_paused(link));
    assert_eq!(broker.payloads(subscriber), ["y"]);
}

#[test]
fn nobody_waits_for_more_than_a_minute_to_learn_that_a_client_is_gone() {
    for qos in QOS {
        let (mut broker, subscriber) = with_subscriber(ten_a_second());
        let link = broker.client("hasty");
        let packets = (1..=900).map(|at| v5(&Packet::Publish(publish("a", "x", qos, at))));
        let bytes: Vec<_> = packets.collect();
        broker.send_bytes(link, &bytes.concat());
        broker.send(link, disconnect(ReasonCode::Success));
        broker.close_half(link);
        let mut came = broker.messages(subscriber).len();
        for _ in 0..59 {
            broker.advance_secs(1);
            assert!(!broker.is_closed(link));
            came += broker.messages(subscriber).len();
        }
        broker.advance_secs(2);
        assert!(broker.is_closed(link));
        came += broker.messages(subscriber).len();
        assert!((600..=620).contains(&came), "{came} at its rate");
        let dropped = broker.counters().dropped_for(DropCause::NotAllowed);
        let is_lost = qos == QoS::AtMostOnce;
        assert_eq!(
            dropped,
            if is_lost { 900 - came as u64 } else { 0 },
            "else it sends them again"
        );
    }
}
