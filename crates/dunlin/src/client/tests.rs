//! Arguments, URLs and properties.

use super::property::{Properties, join_properties};
use super::url::Url;
use bytes::Bytes;
use dunlin_codec::SubscriptionIdentifier;
use std::ffi::OsString;

#[test]
fn urls_are_taken_apart() {
    let url = Url::parse("mqtt://me:p%3Aq@host:77/a/b%23").unwrap();
    assert_eq!((url.host.as_str(), url.port), ("host", Some(77)));
    assert_eq!(url.user_name.as_deref(), Some("me"));
    assert_eq!(url.password.as_deref(), Some(&b"p:q"[..]));
    assert_eq!(url.topic.as_deref(), Some("a/b#"));
    let url = Url::parse("mqtt://[::1]").unwrap();
    assert_eq!((url.host.as_str(), url.port, url.topic), ("::1", None, None));
    assert_eq!(Url::parse("mqtt://[::1]:5/").unwrap().port, Some(5));
    let url = Url::parse("mqtts://h/a").unwrap();
    assert_eq!((url.is_secure, url.port), (true, None));
    let url = Url::parse("quic://h/a").unwrap();
    assert_eq!((url.is_secure, url.is_quic, url.topic.as_deref()), (true, true, Some("a")));
    let url = Url::parse("wss://h:8084/a/b").unwrap();
    assert_eq!((url.is_secure, url.web_socket.as_deref()), (true, Some("/a/b")));
    assert_eq!((url.port, url.topic), (Some(8084), None));
    let url = Url::parse("unix://u:p@/run/a.sock").unwrap();
    assert_eq!((url.socket.as_deref(), url.topic.as_deref()), (Some("/run/a.sock"), None));
    assert_eq!(url.user_name.as_deref(), Some("u"));
    assert_eq!(Url::parse("ws://h").unwrap().web_socket.as_deref(), Some(""));
    for (url, message) in [
        ("unix://run/a", "unix:// has the path of a socket; write unix:///PATH"),
        ("u:secret@host", "\"host\" has no scheme; write mqtt://HOST:PORT/TOPIC"),
        ("host", "\"host\" has no scheme; write mqtt://HOST:PORT/TOPIC"),
        ("http://host", "http:// is no transport; use mqtt://, mqtts://, ws://, wss:// or quic://"),
        ("mqtt:///a", "the URL names no host; write mqtt://HOST:PORT/TOPIC"),
        ("mqtt://host:x", "\"x\" is no port"),
        ("mqtt://h/%4", "\"%4\" has a % that no two hex digits of UTF-8 follow; write a % as %25"),
    ] {
        assert_eq!(Url::parse(url), Err(message.to_owned()));
    }
}

fn joined(line: &str) -> Vec<String> {
    let args = line.split(' ').map(OsString::from);
    join_properties(args).into_iter().map(|arg| arg.into_string().unwrap()).collect()
}

fn properties(line: &str) -> Result<Properties, String> {
    let given = joined(&format!("dunlin pub {line}"));
    let given = given.iter().filter_map(|arg| arg.strip_prefix("--property="));
    Properties::parse(&given.map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn the_words_of_a_property_become_one_argument() {
    assert_eq!(
        joined("dunlin pub -D publish user-property a b -D connect receive-maximum 5 URL"),
        [
            "dunlin",
            "pub",
            "--property=publish\u{1f}user-property\u{1f}a\u{1f}b",
            "--property=connect\u{1f}receive-maximum\u{1f}5",
            "URL"
        ]
    );
    assert_eq!(joined("dunlin decode -D x"), ["dunlin", "decode", "-D", "x"]);
}

#[test]
fn properties_go_to_their_packets() {
    let all = properties(
        "-D connect session-expiry-interval 7 -D WILL will-delay-interval 3 -D publish \
         content-type text/plain -D publish message-expiry-interval 9 -D publish user-property a \
         b -D publish user-property a c -D subscribe subscription-identifier 4 -D disconnect \
         user-property x y -D will correlation-data zz",
    )
    .unwrap();
    assert_eq!(all.connect.session_expiry_interval, Some(7));
    assert_eq!(all.will.will_delay_interval, Some(3));
    assert_eq!(all.will.message.correlation_data, Some(Bytes::from_static(b"zz")));
    assert_eq!(all.publish.content_type.as_deref(), Some("text/plain"));
    assert_eq!(all.publish.user_properties.len(), 2);
    assert_eq!(all.publish_expiry_interval, Some(9));
    assert_eq!(all.subscribe.subscription_identifier.map(SubscriptionIdentifier::value), Some(4));
    assert_eq!(all.disconnect.user_properties.len(), 1);
}

#[test]
fn a_wrong_property_is_named() {
    for (line, message) in [
        (
            "-D publish will-delay-interval 3",
            "-D publish will-delay-interval 3: publish has no property will-delay-interval; the \
             standard's names are written like content-type",
        ),
        (
            "-D connect receive-maximum 70000",
            "-D connect receive-maximum 70000: \"70000\" is no number that fits",
        ),
        ("-D connect receive-maximum 0", "-D connect receive-maximum 0: it can't be 0"),
        (
            "-D connect",
            "-D connect: write -D COMMAND IDENTIFIER VALUE, or -D COMMAND user-property NAME VALUE",
        ),
        (
            "-D publish topic-alias 3",
            "-D publish topic-alias 3: topic aliases are chosen for you; leave this out",
        ),
    ] {
        assert_eq!(properties(line), Err(message.to_owned()));
    }
}
