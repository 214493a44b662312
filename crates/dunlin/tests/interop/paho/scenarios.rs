//! What every version of the protocol promises, played with paho clients.

use super::stage::Stage;
use crate::cell::Cell;
use crate::message::large_payload;

pub(super) fn basic_delivery(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (subscriber, publisher) = (stage.join("subscriber"), stage.join("publisher"));
    stage.subscribe(&subscriber, "room/light");
    stage.publish(&publisher, "room/light", "on");
    let message = stage.expect(&subscriber, "room/light", "on");
    assert_eq!((message.qos, message.retain), (cell.qos, false));
    stage.expect_nothing_before(&subscriber, &publisher, "room/light");
}

pub(super) fn ordering(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (subscriber, publisher) = (stage.join("subscriber"), stage.join("publisher"));
    stage.subscribe(&subscriber, "counter");
    for number in 0..50 {
        stage.publish(&publisher, "counter", &number.to_string());
    }
    for number in 0..50 {
        stage.expect(&subscriber, "counter", &number.to_string());
    }
    stage.expect_nothing_before(&subscriber, &publisher, "counter");
}

pub(super) fn empty_payload(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    stage.subscribe(&client, "bell");
    stage.publish(&client, "bell", "");
    stage.expect(&client, "bell", "");
}

pub(super) fn large_payload_1_mib(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (subscriber, publisher) = (stage.join("subscriber"), stage.join("publisher"));
    stage.subscribe(&subscriber, "camera/image");
    stage.publish_with(&publisher, "camera/image", &large_payload(), &[]);
    let message = stage.expect_message(&subscriber);
    assert!(message.payload == large_payload(), "the payload came changed");
}

pub(super) fn unicode_topic_name(cell: Cell) {
    let mut stage = Stage::new(cell);
    let client = stage.join("client");
    let topic_name = "straße/温度/🌡 sensor";
    stage.subscribe(&client, "straße/+/🌡 sensor");
    stage.publish(&client, topic_name, "größe");
    stage.expect(&client, topic_name, "größe");
}

/// A message arrives with the lower of its own Quality of Service and the granted one.
pub(super) fn qos_downgrade(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    for granted in 0..=2 {
        let subscriber = stage.join(&format!("subscriber-{granted}"));
        stage.subscribe_with(&subscriber, "level", granted, &[]);
        stage.publish(&publisher, "level", "message");
        let message = stage.expect(&subscriber, "level", "message");
        assert_eq!(message.qos, granted.min(cell.qos));
    }
}

/// A new subscriber is sent what was retained, marked as such; one that was there is not told.
pub(super) fn retained(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (early, publisher) = (stage.join("early"), stage.join("publisher"));
    stage.subscribe(&early, "state/#");
    stage.publish_retained(&publisher, "state/door", "old");
    stage.publish_retained(&publisher, "state/door", "open");
    assert!(!stage.expect(&early, "state/door", "old").retain);
    assert!(!stage.expect(&early, "state/door", "open").retain);
    let late = stage.join("late");
    stage.subscribe(&late, "state/+");
    let message = stage.expect(&late, "state/door", "open");
    assert_eq!((message.qos, message.retain), (cell.qos, true));
    stage.expect_nothing_before(&late, &publisher, "state/other");
}

/// An empty retained message removes what was retained, and is itself an ordinary message.
pub(super) fn retained_cleared(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (early, publisher) = (stage.join("early"), stage.join("publisher"));
    stage.publish_retained(&publisher, "state/door", "open");
    stage.subscribe(&early, "state/door");
    stage.expect(&early, "state/door", "open");
    stage.publish_retained(&publisher, "state/door", "");
    assert!(!stage.expect(&early, "state/door", "").retain);
    let late = stage.join("late");
    stage.subscribe(&late, "state/door");
    stage.expect_nothing_before(&late, &publisher, "state/door");
}

pub(super) fn will_on_abrupt_loss(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status/#");
    let mortal = join_with_will(&mut stage, "0");
    stage.lose(&mortal);
    let message = stage.expect(&watcher, "status/mortal", "gone");
    assert_eq!((message.qos, message.retain), (cell.qos, false));
}

pub(super) fn retained_will(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status/#");
    let mortal = join_with_will(&mut stage, "1");
    stage.lose(&mortal);
    assert!(!stage.expect(&watcher, "status/mortal", "gone").retain);
    let late = stage.join("late");
    stage.subscribe(&late, "status/#");
    assert!(stage.expect(&late, "status/mortal", "gone").retain);
}

pub(super) fn no_will_on_disconnect(cell: Cell) {
    let mut stage = Stage::new(cell);
    let watcher = stage.join("watcher");
    stage.subscribe(&watcher, "status/#");
    let mortal = join_with_will(&mut stage, "0");
    stage.disconnect(&mortal);
    // Once the identifier is connected anew, the broker is done with the old connection.
    let again = stage.join("mortal");
    stage.expect_nothing_before(&watcher, &again, "status/mortal");
}

fn join_with_will(stage: &mut Stage, retain: &str) -> super::stage::Client {
    let qos = stage.cell.qos.to_string();
    let payload = crate::message::hex(b"gone");
    let will = [
        ("will_topic", "status/mortal"),
        ("will_payload", payload.as_str()),
        ("will_qos", qos.as_str()),
        ("will_retain", retain),
    ];
    stage.connect("mortal", true, &will).0
}

/// A session keeps its subscriptions, and what is published meanwhile above QoS 0, in order.
pub(super) fn persistent_session(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let (subscriber, present) = stage.resume("subscriber");
    assert!(!present, "nothing was there to resume");
    stage.subscribe(&subscriber, "news");
    stage.disconnect(&subscriber);
    if cell.qos > 0 {
        for number in 0..20 {
            stage.publish(&publisher, "news", &number.to_string());
        }
    }
    let (subscriber, present) = stage.resume("subscriber");
    // MQTT 3.1 has no bit for it in CONNACK.
    assert!(present || cell.version == crate::cell::Version::V3_1, "the session is lost");
    if cell.qos > 0 {
        for number in 0..20 {
            let message = stage.expect(&subscriber, "news", &number.to_string());
            assert_eq!(message.qos, cell.qos);
        }
    }
    stage.expect_nothing_before(&subscriber, &publisher, "news");
}

/// A message whose receipt was not confirmed when the connection was lost is sent again.
pub(super) fn resend_after_loss(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let expiry = [("manual_ack", "1"), ("prop.SessionExpiryInterval", "3600")];
    let options = if stage.is_v5() { &expiry[..] } else { &expiry[..1] };
    let (subscriber, _) = stage.connect("subscriber", false, options);
    stage.subscribe(&subscriber, "news");
    stage.publish(&publisher, "news", "one");
    stage.publish(&publisher, "news", "two");
    stage.expect(&subscriber, "news", "one");
    stage.lose(&subscriber);
    let (subscriber, _) = stage.resume("subscriber");
    stage.expect(&subscriber, "news", "one");
    stage.expect(&subscriber, "news", "two");
    stage.expect_nothing_before(&subscriber, &publisher, "news");
}

/// A clean session starts empty, and leaves nothing behind.
pub(super) fn clean_session(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let (subscriber, _) = stage.resume("subscriber");
    stage.subscribe(&subscriber, "news");
    stage.disconnect(&subscriber);
    stage.publish(&publisher, "news", "missed");
    let (subscriber, connected) = stage.connect("subscriber", true, &[]);
    assert_eq!(connected.number("session_present"), 0);
    stage.subscribe(&subscriber, "other");
    stage.publish(&publisher, "news", "not subscribed any more");
    stage.expect_nothing_before(&subscriber, &publisher, "other");
    stage.disconnect(&subscriber);
    let (subscriber, present) = stage.resume("subscriber");
    assert!(!present, "a clean session outlived its connection");
    stage.subscribe(&subscriber, "third");
    stage.publish(&publisher, "other", "not subscribed any more");
    stage.expect_nothing_before(&subscriber, &publisher, "third");
}

/// A second connection with the same Client Identifier ends the first and inherits the session.
pub(super) fn session_takeover(cell: Cell) {
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let (first, _) = stage.resume("twin");
    stage.subscribe(&first, "news");
    let (second, _) = stage.resume("twin");
    let ended = stage.expect_end(&first);
    if stage.is_v5() {
        assert_eq!(ended.number("by_server"), 1);
        assert_eq!(ended.number("reason"), 0x8e, "Session taken over");
    }
    stage.expect_nothing_before(&second, &publisher, "news");
}

/// Where several filters of a session match, the message comes once, at the highest granted QoS.
pub(super) fn overlapping_subscriptions(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (subscriber, publisher) = (stage.join("subscriber"), stage.join("publisher"));
    stage.subscribe_with(&subscriber, "a/#", 0, &[]);
    stage.subscribe(&subscriber, "a/+");
    stage.subscribe_with(&subscriber, "a/b", 0, &[]);
    stage.publish(&publisher, "a/b", "once");
    assert_eq!(stage.expect(&subscriber, "a/b", "once").qos, cell.qos);
    stage.expect_nothing_before(&subscriber, &publisher, "a/b");
}

/// Which Topic Names `+` and `#` match, empty levels included.
pub(super) fn wildcard_rules(cell: Cell) {
    const TOPIC_NAMES: [&str; 9] = ["a", "a/", "/a", "a/b", "a/b/c", "a//c", "/", "//", "b/b"];
    const RULES: [(&str, &[&str]); 9] = [
        ("#", &TOPIC_NAMES),
        ("+", &["a"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
        ("a/+", &["a/", "a/b"]),
        ("+/+", &["a/", "/a", "a/b", "/", "b/b"]),
        ("/+", &["/a", "/"]),
        ("+/b", &["a/b", "b/b"]),
        ("a/+/c", &["a/b/c", "a//c"]),
        ("+/b/#", &["a/b", "a/b/c", "b/b"]),
    ];
    let mut stage = Stage::new(cell);
    let publisher = stage.join("publisher");
    let subscribers: Vec<_> = (0..RULES.len())
        .map(|at| {
            let subscriber = stage.join(&format!("subscriber-{at}"));
            stage.subscribe(&subscriber, RULES[at].0);
            stage.subscribe(&subscriber, "the/last/one/of/all");
            subscriber
        })
        .collect();
    for topic_name in TOPIC_NAMES {
        stage.publish(&publisher, topic_name, "x");
    }
    stage.publish(&publisher, "the/last/one/of/all", "x");
    for (subscriber, (topic_filter, expected)) in subscribers.iter().zip(RULES) {
        let mut seen = Vec::new();
        loop {
            let message = stage.expect_message(subscriber);
            if message.topic_name == "the/last/one/of/all" {
                break;
            }
            seen.push(message.topic_name);
        }
        assert_eq!(seen, expected, "{topic_filter}");
    }
}

/// Topic Names that begin with `$` are hidden from filters that begin with a wildcard.
pub(super) fn dollar_rules(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (open, exact) = (stage.join("open"), stage.join("exact"));
    stage.subscribe(&open, "#");
    stage.subscribe(&open, "+/broker/version");
    stage.subscribe(&exact, "$SYS/broker/version");
    let version = stage.expect_message(&exact);
    assert_eq!(version.topic_name, "$SYS/broker/version");
    assert!(version.retain && !version.payload.is_empty());
    let wild = stage.join("wild");
    stage.subscribe(&wild, "$SYS/broker/+");
    assert!(stage.expect_message(&wild).topic_name.starts_with("$SYS/broker/"));
    stage.expect_nothing_before(&open, &exact, "ordinary");
}

pub(super) fn unsubscribe(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (subscriber, publisher) = (stage.join("subscriber"), stage.join("publisher"));
    stage.subscribe(&subscriber, "news/+");
    stage.subscribe(&subscriber, "other");
    stage.expect_nothing_before(&subscriber, &publisher, "news/a");
    stage.unsubscribe(&subscriber, "news/+");
    stage.publish(&publisher, "news/a", "not subscribed any more");
    stage.expect_nothing_before(&subscriber, &publisher, "other");
}

/// Each message of a shared subscription goes to one member; the ones that stay get all.
pub(super) fn shared_subscription(cell: Cell) {
    let mut stage = Stage::new(cell);
    let members = [stage.join("member-0"), stage.join("member-1")];
    let (single, publisher) = (stage.join("single"), stage.join("publisher"));
    for member in &members {
        stage.subscribe(member, "$share/group/jobs/#");
        stage.subscribe(member, "end");
    }
    stage.subscribe(&single, "jobs/#");
    let jobs: Vec<String> = (0..30).map(|number| format!("{number:02}")).collect();
    for job in &jobs {
        stage.publish(&publisher, "jobs/new", job);
    }
    for job in &jobs {
        stage.expect(&single, "jobs/new", job);
    }
    stage.publish(&publisher, "end", "");
    let mut done = Vec::new();
    for member in &members {
        let before = done.len();
        loop {
            let message = stage.expect_message(member);
            if message.topic_name == "end" {
                break;
            }
            done.push(message.text().to_owned());
        }
        assert!(done.len() > before, "a member was left without work");
    }
    done.sort();
    assert_eq!(done, jobs, "each job goes to one member");

    stage.unsubscribe(&members[0], "$share/group/jobs/#");
    for job in &jobs {
        stage.publish(&publisher, "jobs/new", job);
    }
    for job in &jobs {
        stage.expect(&members[1], "jobs/new", job);
    }
}

/// Who connects without a Client Identifier gets one; in MQTT 5 it is told.
pub(super) fn assigned_client_identifier(cell: Cell) {
    let mut stage = Stage::new(cell);
    let (first, connected) = stage.connect("", true, &[]);
    let (second, connected_too) = stage.connect("", true, &[]);
    if stage.is_v5() {
        let assigned = connected.field("prop.AssignedClientIdentifier");
        assert!(assigned.is_some_and(|identifier| !identifier.is_empty()), "{connected:?}");
        assert_ne!(assigned, connected_too.field("prop.AssignedClientIdentifier"));
    }
    // Two such clients do not take each other's session.
    stage.subscribe(&first, "news");
    stage.expect_nothing_before(&first, &second, "news");
}
