//! What MQTT 5 added, played with paho clients.

use std::collections::BTreeSet;

use super::stage::{Client, Options, Stage};
use crate::cell::Cell;
use crate::message::hex;

/// A message tells how long it has left.
pub(super) fn message_expiry(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    stage.subscribe(&client, "weather");
    stage.publish_with(&client, "weather", b"rain", &[("prop.MessageExpiryInterval", "1000")]);
    let message = stage.expect(&client, "weather", "rain");
    let left: u32 = message.property("MessageExpiryInterval").concat().parse().unwrap();
    assert!((1..=1000).contains(&left), "{left} seconds left of 1000");
}

/// What expired in the queue is not delivered, and what waited there has less time left.
pub(super) fn message_expiry_in_queue(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    stage.subscribe(&publisher, "status");
    let mortal = join_with_will(&mut stage, "3600", &[]);
    stage.subscribe(&mortal, "news");
    stage.lose(&mortal);
    // Only now it is sure that nothing is sent to the lost connection: what was, comes again, late
    // as it is.
    stage.expect(&publisher, "status", "gone");
    if cell.qos > 0 {
        let short = [("prop.MessageExpiryInterval", "1")];
        let long = [("prop.MessageExpiryInterval", "1000")];
        stage.publish_with(&publisher, "news", b"short", &short);
        stage.publish_with(&publisher, "news", b"long", &long);
        stage.publish(&publisher, "news", "for ever");
    }
    // Brokers count whole seconds, each in its own way: one more is surely over.
    stage.wait_for_expiry("2");
    let (subscriber, present) = stage.resume("mortal");
    assert!(present);
    if cell.qos > 0 {
        let long = stage.expect(&subscriber, "news", "long");
        let left: u32 = long.property("MessageExpiryInterval").concat().parse().unwrap();
        assert!((1..1000).contains(&left), "{left} seconds left of 1000 after one");
        let for_ever = stage.expect(&subscriber, "news", "for ever");
        assert!(for_ever.property("MessageExpiryInterval").is_empty());
    }
    stage.expect_nothing_before(&subscriber, &publisher, "news");
}

/// Connects `mortal` with a will on `status` and a session of this many seconds.
fn join_with_will(stage: &mut Stage, session_secs: &str, will: Options<'_>) -> Client {
    let (qos, payload) = (stage.cell.qos.to_string(), hex(b"gone"));
    let mut options = vec![
        ("prop.SessionExpiryInterval", session_secs),
        ("will_topic", "status"),
        ("will_payload", payload.as_str()),
        ("will_qos", qos.as_str()),
        ("will_retain", "0"),
    ];
    options.extend(will);
    stage.connect("mortal", false, &options).0
}

pub(super) fn will_delay_passes(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let mortal = join_with_will(&mut stage, "3600", &[("will_prop.WillDelayInterval", "1")]);
    stage.lose(&mortal);
    stage.expect(&watcher, "status", "gone");
}

/// Who comes back before the delay has passed was never gone.
pub(super) fn will_delay_cancelled(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let mortal = join_with_will(&mut stage, "3600", &[("will_prop.WillDelayInterval", "3600")]);
    stage.lose(&mortal);
    let (again, present) = stage.resume("mortal");
    assert!(present);
    stage.expect_nothing_before(&watcher, &again, "status");
}

/// The end of the session ends the delay too.
pub(super) fn will_at_session_end(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let mortal = join_with_will(&mut stage, "0", &[("will_prop.WillDelayInterval", "3600")]);
    stage.lose(&mortal);
    stage.expect(&watcher, "status", "gone");
}

pub(super) fn will_properties(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let will = [
        ("will_prop.ContentType", "text/plain"),
        ("will_prop.UserProperty", "cause=unknown"),
        ("will_prop.CorrelationData", "0001ff"),
    ];
    let mortal = join_with_will(&mut stage, "0", &will);
    stage.lose(&mortal);
    let message = stage.expect(&watcher, "status", "gone");
    assert_eq!(message.property("ContentType"), ["text/plain"]);
    assert_eq!(message.property("UserProperty"), ["cause=unknown"]);
    assert_eq!(message.property("CorrelationData"), ["0001ff"]);
    assert!(message.property("WillDelayInterval").is_empty());
}

/// Reason Code 0x04: a farewell that asks for the will.
pub(super) fn will_on_disconnect_with_will(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let mortal = join_with_will(&mut stage, "0", &[]);
    stage.disconnect_with(&mortal, &[("reason", "4")]);
    stage.expect(&watcher, "status", "gone");
}

/// A session ends its interval after the connection, and DISCONNECT may shorten the interval.
pub(super) fn session_expiry(cell: Cell) {
    let mut stage = Stage::new(cell);
    let short = [("prop.SessionExpiryInterval", "1")];
    let (client, _) = stage.connect("client", false, &short);
    stage.disconnect(&client);
    stage.wait_for_expiry("3");
    let (client, present) = stage.resume("client");
    assert!(!present, "the session outlived its interval");
    stage.disconnect(&client);
    let (_, present) = stage.resume("client");
    assert!(present, "the session ended before its interval");

    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status");
    let mortal = join_with_will(&mut stage, "3600", &[]);
    // The will tells when the broker has handled the DISCONNECT.
    let options = [("reason", "4"), ("prop.SessionExpiryInterval", "0")];
    stage.disconnect_with(&mortal, &options);
    stage.expect(&watcher, "status", "gone");
    let (_, present) = stage.resume("mortal");
    assert!(!present, "the session outlived the interval of its DISCONNECT");
}

/// Retained messages on each SUBSCRIBE (0), only on a new subscription (1), or never (2).
pub(super) fn retain_handling(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    stage.publish_retained(&publisher, "state", "open");
    for (handling, first, again) in [("0", true, true), ("1", true, false), ("2", false, false)] {
        let subscriber = stage.join(&format!("subscriber-{handling}"));
        stage.subscribe(&subscriber, "end");
        for expected in [first, again] {
            let options = [("retain_handling", handling)];
            stage.subscribe_with(&subscriber, "state", cell.qos, &options);
            if expected {
                assert!(stage.expect(&subscriber, "state", "open").retain);
            }
            stage.expect_nothing_before(&subscriber, &publisher, "end");
        }
    }
}

/// Whoever asks for No Local does not hear itself.
pub(super) fn no_local(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (client, other) = (stage.join("client"), stage.join("other"));
    stage.subscribe_with(&client, "chat", cell.qos, &[("no_local", "1")]);
    stage.publish(&client, "chat", "own words");
    stage.expect_nothing_before(&client, &other, "chat");
}

pub(super) fn retain_as_published(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    for (option, expected) in [("1", true), ("0", false)] {
        let subscriber = stage.join(&format!("subscriber-{option}"));
        let options = [("retain_as_published", option), ("retain_handling", "2")];
        stage.subscribe_with(&subscriber, "state", cell.qos, &options);
        stage.publish_retained(&publisher, "state", "open");
        assert_eq!(stage.expect(&subscriber, "state", "open").retain, expected);
        stage.publish(&publisher, "state", "shut");
        assert!(!stage.expect(&subscriber, "state", "shut").retain);
    }
}

/// A message names every subscription that it matched, in one copy or several.
pub(super) fn subscription_identifier(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    for (topic_filter, identifier) in [("a/#", "1"), ("a/+", "268435455"), ("+", "7")] {
        let options = [("prop.SubscriptionIdentifier", identifier)];
        stage.subscribe_with(&client, topic_filter, cell.qos, &options);
    }
    stage.subscribe(&client, "plain/#");
    stage.publish(&client, "a/b", "x");
    stage.publish(&client, "plain/end", "x");
    let mut seen = BTreeSet::new();
    loop {
        let message = stage.expect_message(&client);
        let identifiers = message.property("SubscriptionIdentifier");
        if message.topic_name == "plain/end" {
            assert!(identifiers.is_empty(), "{identifiers:?} for a subscription without one");
            break;
        }
        seen.extend(identifiers.into_iter().map(str::to_owned));
    }
    assert_eq!(seen, BTreeSet::from(["1".to_owned(), "268435455".to_owned()]));
}

/// User Properties arrive unchanged, repeated names and their order included.
pub(super) fn user_properties(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    stage.subscribe(&client, "news");
    let properties = ["k=2", "k=1", "größe=x=y", "empty="];
    let options = properties.map(|property| ("prop.UserProperty", property));
    stage.publish_with(&client, "news", b"x", &options);
    assert_eq!(stage.expect(&client, "news", "x").property("UserProperty"), properties);
}

/// A request says where its answer goes, and the answer to which request it belongs.
pub(super) fn request_response(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (requester, responder) = (stage.join("requester"), stage.join("responder"));
    stage.subscribe(&responder, "add");
    stage.subscribe(&requester, "answers/requester");
    let options = [("prop.ResponseTopic", "answers/requester"), ("prop.CorrelationData", "00ff10")];
    stage.publish_with(&requester, "add", b"1+2", &options);
    let request = stage.expect(&responder, "add", "1+2");
    let answer_to = request.property("ResponseTopic").concat();
    let correlation = request.property("CorrelationData").concat();
    let options = [("prop.CorrelationData", correlation.as_str())];
    stage.publish_with(&responder, &answer_to, b"3", &options);
    let answer = stage.expect(&requester, "answers/requester", "3");
    assert_eq!(answer.property("CorrelationData"), ["00ff10"]);
}

pub(super) fn content_description(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    stage.subscribe(&client, "news");
    let options = [("prop.ContentType", "text/plain"), ("prop.PayloadFormatIndicator", "1")];
    stage.publish_with(&client, "news", "größe".as_bytes(), &options);
    let message = stage.expect(&client, "news", "größe");
    assert_eq!(message.property("ContentType"), ["text/plain"]);
    assert_eq!(message.property("PayloadFormatIndicator"), ["1"]);
}

/// A publisher may name a topic once and then send its number, and give the number anew.
pub(super) fn topic_alias_from_client(cell: Cell) {
    let mut stage = Stage::new(cell);
    let subscriber = stage.join("subscriber");
    let (publisher, connected) = stage.connect("publisher", true, &[]);
    assert!(connected.number("prop.TopicAliasMaximum") >= 1, "{connected:?}");
    stage.subscribe(&subscriber, "#");
    let alias = [("prop.TopicAlias", "1")];
    for (sent, meant) in [("a", "a"), ("", "a"), ("b", "b"), ("", "b"), ("a", "a"), ("", "a")] {
        stage.publish_with(&publisher, sent, b"x", &alias);
        let message = stage.expect(&subscriber, meant, "x");
        assert!(message.property("TopicAlias").is_empty(), "a publisher's alias is its own");
    }
}

/// Whatever aliases the broker chooses, within the bound, name the right topics.
pub(super) fn topic_alias_to_client(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let options = [("prop.TopicAliasMaximum", "2")];
    let (subscriber, _) = stage.connect("subscriber", true, &options);
    stage.subscribe(&subscriber, "#");
    for number in 0..12 {
        let topic_name = ["a", "b/b", "c/c/c", "a"][number % 4];
        stage.publish(&publisher, topic_name, &number.to_string());
        let message = stage.expect(&subscriber, topic_name, &number.to_string());
        let alias = message.property("TopicAlias").concat();
        assert!(["", "1", "2"].contains(&alias.as_str()), "alias {alias} of at most 2");
    }
}

/// A message that is too large for a subscriber is left out, and the next one comes.
pub(super) fn maximum_packet_size(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let options = [("prop.MaximumPacketSize", "200")];
    let (subscriber, _) = stage.connect("subscriber", true, &options);
    stage.subscribe(&subscriber, "news");
    stage.publish(&publisher, "news", &"x".repeat(1000));
    stage.expect_nothing_before(&subscriber, &publisher, "news");
}

/// No more unconfirmed messages are under way than the subscriber allows.
pub(super) fn receive_maximum(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let options = [("manual_ack", "1"), ("prop.ReceiveMaximum", "2")];
    let (subscriber, _) = stage.connect("subscriber", true, &options);
    stage.subscribe(&subscriber, "news");
    for number in 0..6 {
        stage.publish(&publisher, "news", &number.to_string());
    }
    stage.expect(&subscriber, "news", "0");
    stage.expect(&subscriber, "news", "1");
    for number in 2..6 {
        assert_eq!(stage.unread(&subscriber), 0, "more than the Receive Maximum under way");
        stage.acknowledge(&subscriber);
        stage.expect(&subscriber, "news", &number.to_string());
    }
}
