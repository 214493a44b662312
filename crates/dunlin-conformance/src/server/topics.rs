//! Topic Names and Topic Filters: which match, and which are none. Spec: §4.7.

use super::steps::{Answer, add, answer, is_refused, packet, publish_or_end};
use super::{Bench, Check};
use crate::{BOTH, End, Stop, V5, Verdict, ensure, failed, passed, seen};
use dunlin_codec::{Packet, QoS, ReasonCode, TopicFilter, TopicName};

/// A Topic Filter, Topic Names that it matches, and Topic Names that it does not.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// An entry of the table for rows of matches.
macro_rules! matching {
    ($name:literal, $statements:expr, $looks_for:literal, $rows:expr) => {
        Check {
            name: concat!("topics/", $name),
            versions: BOTH,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| matching(bench, $rows),
        }
    };
}

/// An entry of the table for Topic Filters that are none.
macro_rules! no_filter {
    ($name:literal, $statements:expr, $looks_for:literal, $filters:expr) => {
        Check {
            name: concat!("topics/", $name),
            versions: BOTH,
            statements: $statements,
            looks_for: concat!($looks_for, ", which is refused"),
            run: |bench| no_filter(bench, $filters),
        }
    };
}

const MATCH: &[&str] = &["MQTT-3.3.2-3", "MQTT-4.7.3-4", "MQTT3-3.3.2-3", "MQTT3-4.7.3-4"];
const HASH: &[&str] = &["MQTT-4.7.1-1", "MQTT-3.3.2-3", "MQTT3-4.7.1-2", "MQTT3-3.3.2-3"];
const PLUS: &[&str] = &["MQTT-4.7.1-2", "MQTT-3.3.2-3", "MQTT3-4.7.1-3", "MQTT3-3.3.2-3"];
const DOLLAR: &[&str] = &["MQTT-4.7.2-1", "MQTT3-4.7.2-1"];

pub(super) const CHECKS: &[Check] = &[
    matching!(
        "without-wildcards",
        MATCH,
        "a filter without wildcards matches the same name, and no other",
        &[
            ("a", &["a"], &["b", "aa", "a/", "/a", "a/a"]),
            ("a/b/c", &["a/b/c"], &["a/b", "a/b/c/", "a/b/cc", "a//b/c", "a/b/c/d", "/a/b/c"]),
        ]
    ),
    matching!(
        "case",
        MATCH,
        "large and small letters differ",
        &[
            ("case/Abc", &["case/Abc"], &["case/abc", "case/ABC", "Case/Abc"]),
            ("case/é", &["case/é"], &["case/É"]),
        ]
    ),
    matching!(
        "spaces",
        MATCH,
        "spaces are characters as others are",
        &[
            ("a b", &["a b"], &["ab", "a  b", "a b ", " a b"]),
            (" ", &[" "], &["  ", "a"]),
            ("a/ /b", &["a/ /b"], &["a//b", "a/b"]),
        ]
    ),
    matching!(
        "not-normalised",
        MATCH,
        "characters that look alike differ",
        &[
            ("caf\u{E9}", &["caf\u{E9}"], &["cafe\u{301}", "cafe"]),
            ("\u{2126}", &["\u{2126}"], &["\u{3A9}"]),
            ("a/../b", &["a/../b"], &["b", "a/b"]),
            ("a%2Fb", &["a%2Fb"], &["a/b"]),
            ("a\\b", &["a\\b"], &["a/b"]),
        ]
    ),
    matching!(
        "empty-levels",
        MATCH,
        "a slash in front, behind or beside another makes an empty level",
        &[
            ("/", &["/"], &["", "//", "/a"]),
            ("a/", &["a/"], &["a", "a//", "a/b"]),
            ("/a", &["/a"], &["a", "//a"]),
            ("a//b", &["a//b"], &["a/b", "a///b"]),
        ]
    ),
    matching!(
        "hash",
        HASH,
        "# matches the level before it and all below",
        &[
            (
                "sport/#",
                &["sport", "sport/", "sport/a", "sport/a/b/c", "sport//"],
                &["sports", "sports/a", "spor", "/sport", "Sport/a"],
            ),
            ("a/b/#", &["a/b", "a/b/c", "a/b/"], &["a", "a/", "a/c", "a/bb", "a/c/b"]),
            ("/#", &["/", "/a", "/a/b", "//"], &["a"]),
        ]
    ),
    matching!(
        "plus",
        PLUS,
        "+ matches one level, also an empty one",
        &[
            ("one/+", &["one/a", "one/", "one/ "], &["one", "one/a/b", "one/a/"]),
            ("two/+/end", &["two/a/end", "two//end"], &["two/end", "two/a/b/end", "two/a/ends"]),
            ("three/+/+", &["three/a/b", "three//"], &["three/a", "three/a/b/c"]),
            ("+/four", &["a/four", "/four"], &["four", "a/b/four", "a/four/b"]),
        ]
    ),
    matching!(
        "plus-and-hash",
        &[
            "MQTT-4.7.1-1",
            "MQTT-4.7.1-2",
            "MQTT-3.3.2-3",
            "MQTT3-4.7.1-2",
            "MQTT3-4.7.1-3",
            "MQTT3-3.3.2-3"
        ],
        "+ and # may stand in one filter",
        &[
            ("+/b/#", &["a/b", "a/b/c", "/b", "/b/c/d"], &["b", "a/c/b", "a/bb"]),
            ("a/+/#", &["a/b", "a/", "a/b/c"], &["a", "b/c"]),
            ("+/+/c/#", &["a/b/c", "a/b/c/d", "//c"], &["a/c", "a/b/d"]),
        ]
    ),
    matching!(
        "dollar-below-the-first-level",
        &["MQTT-4.7.1-2", "MQTT-3.3.2-3", "MQTT3-4.7.1-3", "MQTT3-3.3.2-3"],
        "$ in any but the first place is a character as others are",
        &[
            ("d/+", &["d/$SYS", "d/$"], &[]),
            ("e/#", &["e/$share/x", "e/a$"], &[]),
            ("f/$x", &["f/$x"], &["f/x"]),
        ]
    ),
    Check {
        name: "topics/wildcards-at-the-root",
        versions: BOTH,
        statements: &["MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT3-4.7.1-2", "MQTT3-4.7.1-3"],
        looks_for: "#, +/# and +/+/… match names from their first level on",
        run: |bench| {
            bench.can().need_wildcards()?;
            let topic_name = bench.topic_name("t");
            for filter in ["#", "+/#", "+/+/+/+", "dunlin-conformance/#"] {
                let mut peer = bench.connect("client")?;
                peer.subscribe(&TopicFilter::from_static(filter), QoS::AtMostOnce)?;
                let marker = format!("{topic_name} by {filter}");
                peer.publish(&topic_name, QoS::AtMostOnce, marker.clone())?;
                peer.publishes_before(marker.as_bytes())?;
                peer.disconnect()?;
            }
            passed()
        },
    },
    Check {
        name: "topics/wildcards-do-not-match-dollar",
        versions: BOTH,
        statements: DOLLAR,
        looks_for: "no name that begins with $ is delivered for a filter that begins with # or +",
        run: dollar,
    },
    Check {
        name: "topics/sys-not-for-wildcards",
        versions: BOTH,
        statements: DOLLAR,
        looks_for: "the server's own $SYS is not delivered for # or +/#",
        run: sys,
    },
    no_filter!(
        "hash-before-the-end",
        &["MQTT-4.7.1-1", "MQTT3-4.7.1-2"],
        "# before the last level",
        &["a/#/b", "#/a", "#/", "a/#/", "#/#"]
    ),
    no_filter!(
        "hash-beside-others",
        &["MQTT-4.7.1-1", "MQTT3-4.7.1-2"],
        "# beside other characters in its level",
        &["a#", "a/b#", "#a", "a/#b", "##", "a/+#", "#+"]
    ),
    no_filter!(
        "plus-beside-others",
        &["MQTT-4.7.1-2", "MQTT3-4.7.1-3"],
        "+ beside other characters in its level",
        &["a+", "+a", "a/b+", "a/+b/c", "++", "+a/b", "a/ +"]
    ),
    no_filter!(
        "empty-filter",
        &["MQTT-4.7.3-1", "MQTT3-4.7.3-1"],
        "a Topic Filter without a character",
        &[""]
    ),
    Check {
        name: "topics/wrong-filter-in-unsubscribe",
        versions: V5,
        statements: &["MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1"],
        looks_for: "a malformed filter in UNSUBSCRIBE ends the connection or is answered by a code",
        run: |bench| {
            let mut ways = Vec::new();
            for filter in ["a#", "a/#/b", "+a", ""] {
                let mut peer = bench.connect("client")?;
                let bytes = packet(bench, 0xA2, &format!("0001 {{}} '{filter}'"));
                let way = match answer(&mut peer, &bytes)? {
                    Answer::End(end) => end.to_string(),
                    Answer::Codes(codes) => {
                        ensure(
                            codes.first().is_some_and(|code| *code != ReasonCode::Success),
                            format!("{filter:?} can't have been deleted; UNSUBACK has {codes:?}"),
                        )?;
                        format!("UNSUBACK with {}", codes[0])
                    }
                };
                add(&mut ways, way);
            }
            seen(ways.join(", "))
        },
    },
    Check {
        name: "topics/long-names",
        versions: BOTH,
        statements: &["MQTT-4.7.3-3", "MQTT-3.3.2-3", "MQTT3-4.7.3-3", "MQTT3-3.3.2-3"],
        looks_for: "a Topic Name of 150 levels or 65,535 bytes is delivered, or refused",
        run: long_names,
    },
];

/// Each row on its own client, below the names of this check. That a name is not matched shows by
/// what comes before a marker.
fn matching(bench: &Bench, rows: &[Row]) -> Verdict {
    let needs = |filter: &str| filter.contains(['#', '+']);
    if rows.iter().any(|(filter, ..)| needs(filter)) {
        bench.can().need_wildcards()?;
    }
    let mut publisher = bench.connect("pub")?;
    for (at, (filter, matched, others)) in rows.iter().enumerate() {
        let mut peer = bench.connect(&format!("row{at}"))?;
        // Each row below a level of its own, so that no row sees the names of another.
        let label = |name: &str| format!("row{at}/{name}");
        peer.subscribe(&bench.topic_filter(&label(filter)), QoS::AtMostOnce)?;
        for name in *others {
            publisher.publish(&bench.topic_name(&label(name)), QoS::AtMostOnce, *name)?;
        }
        for (index, name) in matched.iter().enumerate() {
            let payload = format!("{name} is matched");
            let topic_name = bench.topic_name(&label(name));
            publisher.publish(&topic_name, QoS::AtMostOnce, payload.clone())?;
            let publish = peer.expect_publish()?;
            let came = String::from_utf8_lossy(&publish.payload);
            ensure(
                came == payload,
                format!("{filter:?} matches {name:?}, name {index} of it; what came is {came:?}"),
            )?;
            ensure(
                publish.topic.name() == Some(&topic_name),
                format!("{topic_name} expected; the message came to {:?}", publish.topic),
            )?;
        }
    }
    passed()
}

/// Each of these filters is answered by an error or by the end.
fn no_filter(bench: &Bench, filters: &[&str]) -> Verdict {
    let mut ways = Vec::new();
    for filter in filters {
        let mut peer = bench.connect("client")?;
        let bytes = packet(bench, 0x82, &format!("0001 {{}} '{filter}' 00"));
        let way = is_refused(&mut peer, &bytes).map_err(|stop| match stop {
            Stop::Failed(reason) => Stop::Failed(format!("the filter {filter:?}: {reason}")),
            skipped @ Stop::Skipped(_) => skipped,
        })?;
        add(&mut ways, way);
    }
    seen(ways.join(", "))
}

/// A server may keep clients from such names in any way.
fn dollar(bench: &mut Bench) -> Verdict {
    bench.can().need_wildcards()?;
    let unique = bench.topic_name("t").to_string().replace('/', "-");
    let dollar: TopicName = format!("${unique}/t").parse().expect("no wildcards");
    let mut wild = bench.connect("wild")?;
    for filter in ["#", "+/t", "+/#"] {
        wild.subscribe(&TopicFilter::from_static(filter), QoS::AtMostOnce)?;
    }
    let mut exact = bench.connect("exact")?;
    let bytes = packet(bench, 0x82, &format!("0001 {{}} '{dollar}' 00"));
    let granted = match answer(&mut exact, &bytes)? {
        Answer::Codes(codes) => codes.iter().all(|code| !code.is_error()),
        Answer::End(_) => false,
    };
    let mut publisher = bench.connect("pub")?;
    let message = bytes_of_publish(bench, dollar.as_str());
    let taken = publish_or_end(&mut publisher, &message)?.is_ok_and(|code| !code.is_error());
    // The marker comes from a connection that is surely there.
    let mut other = bench.connect("other")?;
    let marker = format!("{unique} ends");
    other.publish(&bench.topic_name("m"), QoS::AtMostOnce, marker.clone())?;
    let came = wild.publishes_before(marker.as_bytes())?;
    let wrong = came.iter().find(|publish| begins_with_dollar(publish));
    if let Some(wrong) = wrong {
        return failed(format!("{:?} is delivered for #, +/t or +/#", wrong.topic));
    }
    seen(match (granted, taken) {
        (true, true) => "lets clients use names with $",
        (_, false) => "refuses messages to names with $",
        (false, true) => "refuses subscriptions to names with $",
    })
}

fn bytes_of_publish(bench: &Bench, topic_name: &str) -> Vec<u8> {
    packet(bench, 0x32, &format!("'{topic_name}' 0001 {{}} \"x\""))
}

fn begins_with_dollar(publish: &dunlin_codec::Publish) -> bool {
    publish.topic.name().is_some_and(|name| name.as_str().starts_with('$'))
}

/// What the server retains below $SYS would come with the subscription.
fn sys(bench: &mut Bench) -> Verdict {
    bench.can().need_wildcards()?;
    let mut peer = bench.connect("client")?;
    for filter in ["#", "+/#", "+/broker/#", "+/+/version"] {
        peer.subscribe(&TopicFilter::from_static(filter), QoS::AtMostOnce)?;
    }
    let topic_name = bench.topic_name("t");
    let marker = format!("{topic_name} ends");
    peer.publish(&topic_name, QoS::AtMostOnce, marker.clone())?;
    let came = peer.publishes_before(marker.as_bytes())?;
    match came.iter().find(|publish| begins_with_dollar(publish)) {
        Some(wrong) => failed(format!("{:?} is delivered for #, +/# or such", wrong.topic)),
        None => passed(),
    }
}

/// Servers have limits of their own; but what they accept they deliver.
fn long_names(bench: &mut Bench) -> Verdict {
    let prefix = bench.topic_name("l").to_string();
    let long = format!("{prefix}{}", "x".repeat(65_535 - prefix.len()));
    let deep = format!("{prefix}{}", "/a".repeat(150));
    let mut ways = Vec::new();
    for (name, what) in [(deep, "150 levels"), (long, "65,535 bytes")] {
        let mut peer = bench.connect("client")?;
        let subscribe = packet(bench, 0x82, &format!("0001 {{}} '{name}' 00"));
        match answer(&mut peer, &subscribe)? {
            Answer::Codes(codes) if codes.iter().all(|code| !code.is_error()) => {
                peer.send_bytes(&packet(bench, 0x30, &format!("'{name}' {{}} \"x\"")));
                match peer.next_packet()? {
                    Some(Packet::Publish(publish)) => {
                        let same = publish.topic.name().is_some_and(|came| came.as_str() == name);
                        ensure(same, format!("the name of {what} is not the same as published"))?;
                        ways.push(format!("delivers to {what}"));
                    }
                    Some(Packet::Disconnect(_)) | None => {
                        ways.push(format!("refuses messages to {what}"));
                    }
                    Some(other) => return failed(format!("the message expected; comes {other}")),
                }
            }
            Answer::Codes(_) | Answer::End(End::Closed | End::Disconnect(_)) => {
                ways.push(format!("refuses {what}"));
            }
            Answer::End(end) => return failed(format!("{end}, after CONNACK")),
        }
    }
    seen(ways.join(", "))
}
