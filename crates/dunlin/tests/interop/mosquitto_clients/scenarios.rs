//! What every version of the protocol promises, played with Mosquitto's command-line clients.

use super::driver::{Stage, Subscriber, run};
use crate::cell::Cell;
use crate::message::large_payload;

pub(super) fn basic_delivery(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["room/light"], &[]);
    stage.publish("room/light", "on", &[]);
    let message = subscriber.expect("room/light", "on");
    assert_eq!((message.qos, message.retain), (cell.qos, false));
    stage.expect_nothing_before(&mut subscriber, "room/light");
}

pub(super) fn ordering(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["counter"], &[]);
    let lines: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    stage.publish_lines("counter", &lines, &[]);
    for line in &lines {
        subscriber.expect("counter", line);
    }
    stage.expect_nothing_before(&mut subscriber, "counter");
}

pub(super) fn empty_payload(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["bell"], &[]);
    stage.publish("bell", "", &[]);
    subscriber.expect("bell", "");
}

pub(super) fn large_payload_1_mib(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["camera/image"], &[]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), large_payload()).expect("the temporary file can be written");
    let mut command = stage.publisher("camera/image", &["-f"]);
    command.arg(file.path());
    run(command);
    assert!(subscriber.expect_message().payload == large_payload(), "the payload came changed");
    assert_eq!(stage.witnessed().topic_name, "camera/image");
}

pub(super) fn unicode_topic_name(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["straße/+/🌡 sensor"], &[]);
    stage.publish("straße/温度/🌡 sensor", "größe", &[]);
    subscriber.expect("straße/温度/🌡 sensor", "größe");
}

/// A message arrives with the lower of its own Quality of Service and the granted one.
pub(super) fn qos_downgrade(cell: Cell) {
    let mut stage = Stage::new(cell);
    for granted in 0..=2 {
        let identifier = format!("subscriber-{granted}");
        let options = ["-q", &granted.to_string()];
        let mut subscriber = stage.subscribe(&identifier, &["level"], &options);
        assert_eq!(subscriber.granted, [granted]);
        stage.publish("level", "message", &[]);
        assert_eq!(subscriber.expect("level", "message").qos, granted.min(cell.qos));
    }
}

/// A new subscriber is sent what was retained, marked as such; one that was there is not told.
pub(super) fn retained(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut early = stage.subscribe("early", &["state/#"], &[]);
    stage.publish("state/door", "old", &["-r"]);
    stage.publish("state/door", "open", &["-r"]);
    assert!(!early.expect("state/door", "old").retain);
    assert!(!early.expect("state/door", "open").retain);
    let mut late = stage.subscribe("late", &["state/+"], &[]);
    let message = late.expect("state/door", "open");
    assert_eq!((message.qos, message.retain), (cell.qos, true));
    stage.expect_nothing_before(&mut late, "state/other");
}

/// An empty retained message removes what was retained, and is itself an ordinary message.
pub(super) fn retained_cleared(cell: Cell) {
    let mut stage = Stage::new(cell);
    stage.publish("state/door", "open", &["-r"]);
    let mut early = stage.subscribe("early", &["state/door"], &[]);
    early.expect("state/door", "open");
    stage.publish("state/door", "", &["-r"]);
    assert!(!early.expect("state/door", "").retain);
    let mut late = stage.subscribe("late", &["state/door"], &[]);
    stage.expect_nothing_before(&mut late, "state/door");
}

/// The options for a will of the cell's Quality of Service.
fn will(cell: Cell) -> [&'static str; 6] {
    let qos = ["0", "1", "2"][usize::from(cell.qos)];
    ["--will-topic", "status/mortal", "--will-payload", "gone", "--will-qos", qos]
}

pub(super) fn will_on_abrupt_loss(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut watcher = stage.subscribe("watcher", &["status/#"], &[]);
    stage.subscribe("mortal", &["unused"], &will(cell)).kill();
    let message = watcher.expect("status/mortal", "gone");
    assert_eq!((message.qos, message.retain), (cell.qos, false));
    assert_eq!(stage.witnessed().topic_name, "status/mortal");
}

pub(super) fn retained_will(cell: Cell) {
    let mut stage = Stage::new(cell);
    let options = [&will(cell)[..], &["--will-retain"]].concat();
    stage.subscribe("mortal", &["unused"], &options).kill();
    assert_eq!(stage.witnessed().text(), "gone");
    let mut late = stage.subscribe("late", &["status/#"], &[]);
    assert!(late.expect("status/mortal", "gone").retain);
}

pub(super) fn no_will_on_disconnect(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut watcher = stage.subscribe("watcher", &["status/#"], &[]);
    let mut command = stage.client("mosquitto_sub");
    run({
        // Ends with DISCONNECT once the subscription is there.
        command.args(["-i", "mortal", "-t", "unused", "-E"]).args(will(cell));
        command
    });
    // Once the identifier is connected anew, the broker is done with the old connection.
    let _again = stage.subscribe("mortal", &["unused"], &[]);
    stage.expect_nothing_before(&mut watcher, "status/mortal");
}

/// Leaves behind a session with these subscriptions, and no connection.
fn leave_session(stage: &Stage, client_identifier: &str, topic_filters: &[&str]) {
    let qos = stage.cell.qos.to_string();
    let mut command = stage.client("mosquitto_sub");
    command.args(["-c", "-i", client_identifier, "-q", &qos, "-E"]);
    for topic_filter in topic_filters {
        command.args(["-t", topic_filter]);
    }
    run(command);
}

/// Connects to a session that was left, with one subscription of no use: mosquitto_sub insists.
fn resume_session(stage: &Stage, client_identifier: &str, options: &[&str]) -> Subscriber {
    stage.subscribe(client_identifier, &["unused"], &[&["-c"], options].concat())
}

/// A session keeps its subscriptions, and what is published meanwhile above QoS 0, in order.
pub(super) fn persistent_session(cell: Cell) {
    let mut stage = Stage::new(cell);
    leave_session(&stage, "subscriber", &["news"]);
    let lines: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    if cell.qos > 0 {
        stage.publish_lines("news", &lines, &[]);
    }
    let mut subscriber = resume_session(&stage, "subscriber", &[]);
    if cell.qos > 0 {
        for line in &lines {
            assert_eq!(subscriber.expect("news", line).qos, cell.qos);
        }
    }
    stage.expect_nothing_before(&mut subscriber, "news");
}

pub(super) fn unsubscribe(cell: Cell) {
    let mut stage = Stage::new(cell);
    leave_session(&stage, "subscriber", &["news", "other"]);
    let mut subscriber = resume_session(&stage, "subscriber", &["-U", "news"]);
    subscriber.wait_for_unsubscribed();
    stage.publish("news", "not subscribed any more", &[]);
    stage.expect_nothing_before(&mut subscriber, "other");
}

/// Where several filters of a session match, the message comes once.
pub(super) fn overlapping_subscriptions(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut subscriber = stage.subscribe("subscriber", &["a/#", "a/+", "a/b"], &[]);
    stage.publish("a/b", "once", &[]);
    assert_eq!(subscriber.expect("a/b", "once").qos, cell.qos);
    stage.expect_nothing_before(&mut subscriber, "a/b");
}

/// Which Topic Names `+` and `#` match.
pub(super) fn wildcard_rules(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut plus = stage.subscribe("plus", &["+/b", "end"], &[]);
    let mut hash = stage.subscribe("hash", &["a/#", "end"], &[]);
    for topic_name in ["a", "a/b", "a/b/c", "/b", "b", "a/", "c/b"] {
        stage.publish(topic_name, "x", &[]);
    }
    stage.publish("end", "x", &[]);
    for topic_name in ["a/b", "/b", "c/b", "end"] {
        plus.expect(topic_name, "x");
    }
    for topic_name in ["a", "a/b", "a/b/c", "a/", "end"] {
        hash.expect(topic_name, "x");
    }
}

/// Topic Names that begin with `$` are hidden from filters that begin with a wildcard.
pub(super) fn dollar_rules(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut open = stage.subscribe("open", &["#", "+/broker/version"], &[]);
    let mut exact = stage.subscribe("exact", &["$SYS/broker/version"], &[]);
    let version = exact.expect_message();
    assert_eq!(version.topic_name, "$SYS/broker/version");
    assert!(version.retain && !version.payload.is_empty());
    stage.expect_nothing_before(&mut open, "ordinary");
}

/// Each message of a shared subscription goes to one member.
pub(super) fn shared_subscription(cell: Cell) {
    let mut stage = Stage::new(cell);
    let filters = ["$share/group/jobs", "end"];
    let mut members =
        [stage.subscribe("member-0", &filters, &[]), stage.subscribe("member-1", &filters, &[])];
    let jobs: Vec<_> = (0..30).map(|number| format!("{number:02}")).collect();
    stage.publish_lines("jobs", &jobs, &[]);
    stage.publish("end", "", &[]);
    let mut done = Vec::new();
    for member in &mut members {
        let before = done.len();
        loop {
            let message = member.expect_message();
            if message.topic_name == "end" {
                break;
            }
            done.push(message.text().to_owned());
        }
        assert!(done.len() > before, "a member was left without work");
    }
    done.sort();
    assert_eq!(done, jobs, "each job goes to one member");
}

/// Who connects without a Client Identifier is served, and two of them do not meet.
pub(super) fn assigned_client_identifier(cell: Cell) {
    let mut stage = Stage::new(cell);
    let mut first = stage.subscribe("", &["news"], &[]);
    let mut second = stage.subscribe("", &["news"], &[]);
    stage.publish("news", "x", &[]);
    first.expect("news", "x");
    second.expect("news", "x");
}
