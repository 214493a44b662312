//! What MQTT 5 added, played with Mosquitto's command-line clients.

use super::driver::{Stage, run};
use crate::cell::Cell;

/// A message tells how long it has left.
pub(super) fn message_expiry(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["weather"], &[]);
    let options = ["-D", "publish", "message-expiry-interval", "1000"];
    stage.publish("weather", "rain", &options);
    let message = subscriber.expect("weather", "rain");
    let left: u32 = message.property("MessageExpiryInterval").concat().parse().unwrap();
    assert!((1..=1000).contains(&left), "{left} seconds left of 1000");
}

pub(super) fn will_delay_passes(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut watcher = stage.subscribe("watcher", &["status"], &[]);
    let will = ["--will-topic", "status", "--will-payload", "gone"];
    let delay = ["-x", "3600", "-D", "will", "will-delay-interval", "1"];
    stage.subscribe("mortal", &["unused"], &[&will[..], &delay].concat()).kill();
    watcher.expect("status", "gone");
    assert_eq!(stage.witnessed().topic_name, "status");
}

pub(super) fn retain_as_published(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut asking = stage.subscribe("asking", &["state"], &["--retain-as-published"]);
    let mut plain = stage.subscribe("plain", &["state"], &[]);
    stage.publish("state", "open", &["-r"]);
    assert!(asking.expect("state", "open").retain);
    assert!(!plain.expect("state", "open").retain);
    stage.publish("state", "shut", &[]);
    assert!(!asking.expect("state", "shut").retain);
}

pub(super) fn subscription_identifier(cell: Cell) {
    let mut stage = Stage::new(cell);
    let options = ["-D", "subscribe", "subscription-identifier", "268435455"];
    let mut subscriber = stage.subscribe("subscriber", &["news/#"], &options);
    stage.publish("news/a", "x", &[]);
    let message = subscriber.expect("news/a", "x");
    assert_eq!(message.property("SubscriptionIdentifier"), ["268435455"]);
}

/// User Properties arrive unchanged, repeated names and their order included.
pub(super) fn user_properties(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["news"], &[]);
    let mut options = Vec::new();
    for (name, value) in [("k", "2"), ("k", "1"), ("größe", "=")] {
        options.extend(["-D", "publish", "user-property", name, value]);
    }
    stage.publish("news", "x", &options);
    let message = subscriber.expect("news", "x");
    assert_eq!(message.property("UserProperty"), ["k:2", "k:1", "größe:="]);
}

/// mosquitto_rr asks, and ends well only if its own answer comes back.
pub(super) fn request_response(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut responder = stage.subscribe("responder", &["add"], &[]);
    let qos = cell.qos.to_string();
    let mut request = stage.client("mosquitto_rr");
    request.args(["-i", "requester", "-t", "add", "-e", "answers", "-m", "1+2", "-q", &qos]);
    request.args(["-D", "publish", "correlation-data", "42", "-F", "answer %p"]);
    let mut requester = crate::process::Process::spawn("mosquitto_rr", &mut request);
    let request = responder.expect("add", "1+2");
    assert_eq!(request.property("ResponseTopic"), ["answers"]);
    assert_eq!(request.property("CorrelationData"), ["42"]);
    stage.witnessed();
    stage.publish("answers", "3", &["-D", "publish", "correlation-data", "42"]);
    requester.wait_for("the answer came", |line| (line == "answer 3").then_some(()));
    assert!(requester.wait_success(), "{}", requester.history());
}

pub(super) fn content_description(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["news"], &[]);
    let content = ["-D", "publish", "content-type", "text/plain"];
    let payload = ["-D", "publish", "payload-format-indicator", "1"];
    stage.publish("news", "x", &[content, payload].concat());
    let message = subscriber.expect("news", "x");
    assert_eq!(message.property("ContentType"), ["text/plain"]);
    assert_eq!(message.property("PayloadFormatIndicator"), ["1"]);
}

/// After the first message mosquitto_pub sends the alias alone.
pub(super) fn topic_alias_from_client(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["long/topic/name"], &[]);
    let lines = ["one", "two", "three"].map(str::to_owned);
    stage.publish_lines("long/topic/name", &lines, &["-D", "publish", "topic-alias", "5"]);
    for line in &lines {
        subscriber.expect("long/topic/name", line);
    }
}

/// A message that is too large for a subscriber is left out, and the next one comes.
pub(super) fn maximum_packet_size(cell: Cell) {
    let mut stage = Stage::new(cell);
    let options = ["-D", "connect", "maximum-packet-size", "200"];
    let mut subscriber = stage.subscribe("subscriber", &["news"], &options);
    stage.publish("news", &"x".repeat(1000), &[]);
    stage.expect_nothing_before(&mut subscriber, "news");
}

/// With one message under way at a time, all arrive and in order.
pub(super) fn receive_maximum(cell: Cell) {
    let mut stage = Stage::new(cell);
    let options = ["-D", "connect", "receive-maximum", "1"];
    let mut subscriber = stage.subscribe("subscriber", &["counter"], &options);
    let lines: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    stage.publish_lines("counter", &lines, &[]);
    for line in &lines {
        subscriber.expect("counter", line);
    }
}

/// A session of no seconds ends with its connection; one of an hour is there for the next.
pub(super) fn session_expiry(cell: Cell) {
    let mut stage = Stage::new(cell);
    for (client_identifier, expiry, survives) in [("short", "0", false), ("long", "3600", true)] {
        let mut command = stage.client("mosquitto_sub");
        command.args(["-c", "-x", expiry, "-i", client_identifier, "-t", "news", "-E"]);
        run(command);
        let options = ["-c", "-x", "3600"];
        let mut subscriber = stage.subscribe(client_identifier, &["end"], &options);
        stage.publish("news", "x", &[]);
        if survives {
            subscriber.expect("news", "x");
        }
        stage.expect_nothing_before(&mut subscriber, "end");
    }
}
