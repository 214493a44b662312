//! The image of what is stored: it is what its records say, and gives pages of queues.

use super::*;
use crate::core::{Fetch, Image, Record, SessionKey};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{Packet, QoS, Text, TopicName};
use std::sync::Arc;

fn text(text: &str) -> Text {
    Text::try_from(text.to_owned()).expect("a legal text")
}

fn message(topic_name: &str, payload: &str) -> Message {
    let topic_name = TopicName::try_from(topic_name.to_owned()).expect("a legal Topic Name");
    Message::new(topic_name, payload.to_owned())
}

/// A broker with what records can be about: sessions, queues, exchanges, groups, Wills, retained
/// messages.
fn busy_broker() -> Broker {
    let mut broker = Broker::with_store(2);
    let (link, _) = broker.join(connect("away").resume().expiry(600));
    broker.send(link, subscribe(&["a", "$share/g/b"], QoS::ExactlyOnce));
    broker.cut(link);
    let (slow, _) = broker.join(connect("slow").resume().expiry(600).receive_maximum(2));
    broker.send(slow, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(slow);
    let publisher = broker.client("pub");
    for at in 1..=8 {
        let qos = if at % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let topic_name = if at % 4 == 3 { "b" } else { "a" };
        broker.send(publisher, Packet::Publish(publish(topic_name, &at.to_string(), qos, at)));
        let packets = broker.receive(publisher);
        packets.iter().filter_map(answer).for_each(|packet| broker.send(publisher, packet));
        broker.receive(publisher);
    }
    broker.send(publisher, Packet::Publish(publish("r", "x", QoS::AtLeastOnce, 20).retained()));
    broker
}

fn image_of(records: impl IntoIterator<Item = Record>) -> Image {
    let mut image = Image::new();
    records.into_iter().for_each(|record| image.apply(record));
    image
}

#[test]
fn an_image_gives_back_records_that_add_up_to_it() {
    let broker = busy_broker();
    let first = image_of(broker.log().cloned());
    let records = first.records();
    assert!(records.len() < broker.log().count());
    for kind in ["Session", "Subscribed", "Owed", "Retained"] {
        let is_there = records.iter().any(|record| format!("{record:?}").starts_with(kind));
        assert!(is_there, "no {kind} in {records:#?}");
    }
    assert_eq!(image_of(records.iter().cloned()).records(), records);
}

#[test]
fn a_long_queue_is_told_of_by_one_record_and_given_in_pages() {
    let broker = busy_broker();
    let image = image_of(broker.log().cloned());
    let records = image.recover_records(3);
    let waiting: Vec<&Record> =
        records.iter().filter(|record| matches!(record, Record::Waiting { .. })).collect();
    // Of eight messages, two came by a Shared Subscription; of "slow", two are in flight.
    let [Record::Waiting { first: 1, last: 8, len: 6, bytes: 12, .. }, ..] = waiting[..] else {
        panic!("{waiting:?}");
    };
    let mut after = 0;
    let mut seen = Vec::new();
    loop {
        let fetched = image.fetch(&Fetch {
            session: (SessionKey(0), 0),
            client_identifier: text("away"),
            after,
            messages_max: 4,
            bytes_max: 5,
        });
        for record in &fetched.messages {
            let Record::Owed { number, message, group: None, .. } = record else {
                panic!("{record:?}");
            };
            assert!(*number > after);
            after = *number;
            seen.push(String::from_utf8_lossy(&message.payload).into_owned());
        }
        assert!(fetched.messages.len() <= 3, "two bytes each");
        if !fetched.more {
            break;
        }
    }
    assert_eq!(seen, ["1", "2", "4", "5", "6", "8"]);
}

#[test]
fn what_is_tentative_and_what_ended_is_gone() {
    let owed = |number, tentative| Record::Owed {
        client_identifier: text("c"),
        number,
        message: Arc::new(message("a", "x")),
        qos: QoS::ExactlyOnce,
        retain: false,
        subscription_identifiers: Vec::new(),
        group: None,
        packet_identifier: None,
        tentative,
    };
    let mut image = image_of([owed(1, true), owed(2, true), owed(3, false)]);
    image.apply(Record::Confirmed { client_identifier: text("c"), number: 2 });
    image.settle_tentative();
    assert_eq!(image.records(), [owed(2, false), owed(3, false)]);
    image.apply(Record::SessionEnded { client_identifier: text("c") });
    assert!(image.records().is_empty());
}

#[test]
fn the_highest_change_of_a_retained_message_counts() {
    let retained = |change, payload: Option<&str>| Record::Retained {
        topic_name: message("t", "").topic_name,
        message: payload.map(|payload| Arc::new(message("t", payload))),
        change,
        publisher: None,
    };
    let image = image_of([retained(2, Some("new")), retained(1, Some("old"))]);
    assert_eq!(image.records(), [retained(2, Some("new"))]);
    let image = image_of([retained(2, None), retained(1, Some("old"))]);
    assert!(image.records().is_empty());
}
