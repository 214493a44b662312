//! Format strings against what `mosquitto_sub` prints for the same message.

use super::*;
use bytes::Bytes;
use dunlin_codec::{Text, TopicName};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

fn properties() -> MessageProperties {
    let text = Text::from_static;
    MessageProperties {
        payload_format_indicator: Some(true),
        content_type: Some(text("t\"x")),
        response_topic: Some(TopicName::from_static("r/t")),
        correlation_data: Some(Bytes::from_static(b"zz")),
        user_properties: vec![(text("k"), text("v")), (text("k2"), text("v2"))],
    }
}

fn print_payload(format: &str, payload: &[u8], pretty: bool) -> Result<String, String> {
    let zone = TimeZone::fixed(Offset::constant(1));
    let time = Zoned::new(Timestamp::new(1_470_818_943, 786_368_637).unwrap(), zone);
    let properties = properties();
    let arrival = Arrival {
        time: &time,
        topic_name: "a/bcdef",
        payload,
        qos: 2,
        retain: false,
        packet_identifier: 1,
        message_expiry_interval: Some(99),
        subscription_identifiers: &[SubscriptionIdentifier::new(7).unwrap()],
        properties: Some(&properties),
    };
    let mut out = Vec::new();
    Format::parse(format)?.print(&arrival, pretty, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[track_caller]
fn check(format: &str, printed: &str) {
    assert_eq!(print_payload(format, b"{\"x\": 1.0}", false).as_deref(), Ok(printed), "{format}");
}

#[test]
fn sequences_show_the_parts_of_a_message() {
    check("%t %p", "a/bcdef {\"x\": 1.0}");
    check("%q %r %l %m", "2 0 10 1");
    check("%x|%X", "7b2278223a20312e307d|7B2278223A20312E307D");
    check("%P|%C|%E|%S|%F|%A|%R|%D", "k:v k2:v2|t\"x|99|7|1||r/t|zz");
    check("100%% @@ \\\\ \\ta\\n", "100% @ \\ \ta\n");
    check("\\0\\a\\e\\r\\v", "\0\x07\x1b\r\x0b");
    check("ä%tö", "äa/bcdefö");
    check("", "");
}

#[test]
fn fields_are_padded_and_cut() {
    check("[%10t|%-10t|%.3t|%6.3t]", "[   a/bcdef|a/bcdef   |a/b|   a/b]");
    check("[%010l|%-5m|%-05m|%010t]", "[0000000010|1    |1    |   a/bcdef]");
}

#[test]
fn times_are_those_of_the_arrival() {
    check("%I %U", "2016-08-10T09:49:03+0100 1470818943.786368637");
    check("@Y-@m-@dT@H:@M:@S@z @N", "2016-08-10T09:49:03+0100 786368637");
    check("@s", "1470818943");
}

#[test]
fn a_message_is_shown_as_json() {
    let start = r#"{"tst":"2016-08-10T09:49:03.786368+0100","topic":"a/bcdef","qos":2,"retain":0,"payloadlen":10,"mid":1,"properties":{"subscription-identifier":7,"user-properties":{"k":"v","k2":"v2"},"content-type":"t\"x","payload-format-indicator":1,"response-topic":"r/t","correlation-data":"zz","message-expiry-interval":99},"#;
    check("%j", &format!(r#"{start}"payload":"{{\"x\": 1.0}}"}}"#));
    check("%J", &format!(r#"{start}"payload":{{"x": 1.0}}}}"#));
    let pretty = print_payload("%J", b"[18446744073709551616.10]", true).unwrap();
    assert!(pretty.starts_with("{\n  \"tst\": \""), "{pretty}");
    assert!(pretty.ends_with("\"payload\": [\n    18446744073709551616.10\n  ]\n}"), "{pretty}");
    let error = print_payload("%J", b"{", false).unwrap_err();
    assert_eq!(error, "the payload on topic a/bcdef is no JSON");
    // Deeper than anybody means: refused or copied, never a stack that runs out.
    let _ = print_payload("%J", &vec![b'['; 1_000_000], true);
}

#[test]
fn what_is_no_sequence_is_named() {
    for (format, message) in [
        ("%z", "%z is no sequence of a format; %% is a %"),
        ("a%", "a format can't end with a single %; %% is one"),
        ("%5", "a format can't end with a single %; %% is one"),
        ("\\q", "\\q is no escape of a format; \\\\ is a \\"),
        ("\\", "a format can't end with a single \\; \\\\ is one"),
        ("@", "a format can't end with a single @; @@ is one"),
        ("@!", "@! is no conversion of dates; @@ is an @"),
    ] {
        assert_eq!(Format::parse(format), Err(message.to_owned()));
    }
}

#[test]
fn the_short_forms_are_formats_too() {
    assert_eq!(Format::payload(), Format::parse("%p").unwrap());
    assert_eq!(Format::verbose(), Format::parse("%t %p").unwrap());
}
