//! The Will: when it is published, when it is not, and as what. Spec: §3.1.2.5, §3.1.3.2.

use super::steps::{add, only_the_marker, packet};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V5, Verdict, ensure, failed, frame, passed, seen, skipped, will};
use dunlin_codec::{
    Connect, Disconnect, MessageProperties, Publish, QoS, ReasonCode, Text, Will, WillProperties,
};

pub(super) const WILL: &str = "the will";

/// It is published when the connection ends without DISCONNECT.
const PUBLISHED: &[&str] = &["MQTT-3.1.2-8", "MQTT-3.1.2-7", "MQTT3-3.1.2-8"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "wills/after-a-cut",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the Will is published when the connection breaks",
        run: |bench| published(bench, Peer::abort),
    },
    Check {
        name: "wills/after-the-end-of-the-stream",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the Will is published when the client closes without DISCONNECT",
        run: |bench| {
            published(bench, |mut client| {
                client.finish_sending();
                let _ = client.expect_closed();
            })
        },
    },
    Check {
        name: "wills/after-a-malformed-packet",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the Will is published when the server closes for a malformed packet",
        run: |bench| {
            let fault = packet(bench, 0x82, "0001 {} 't' 03");
            let (mut client, mut watch) = client_and_watch(bench, plain(bench))?;
            client.send_bytes(&fault);
            client.expect_closed()?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "wills/after-a-second-connect",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the Will is published when the server closes for a protocol error",
        run: |bench| {
            let (mut client, mut watch) = client_and_watch(bench, plain(bench))?;
            client.send(bench.connect_packet("client"));
            client.expect_closed()?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "wills/after-keep-alive",
        versions: BOTH,
        statements: &["MQTT-3.1.2-8", "MQTT-3.1.2-22", "MQTT3-3.1.2-8", "MQTT3-3.1.2-24"],
        looks_for: "the Will is published when the client is silent for too long",
        run: |bench| {
            if bench.can().server_keep_alive.is_some_and(|secs| secs != 1) {
                return skipped("the server imposes a Keep Alive of its own");
            }
            let connect = Connect { keep_alive: 1, ..plain(bench) };
            let (_client, mut watch) = client_and_watch(bench, connect)?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "wills/after-takeover",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the Will is published when another connection takes over",
        run: |bench| {
            let (mut client, mut watch) = client_and_watch(bench, plain(bench))?;
            let mut new = bench.connect("client")?;
            client.expect_closed()?;
            new.ping()?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "wills/not-after-disconnect",
        versions: BOTH,
        statements: &[
            "MQTT-3.14.4-3",
            "MQTT-3.1.2-10",
            "MQTT-3.1.2-8",
            "MQTT3-3.14.4-3",
            "MQTT3-3.1.2-10",
        ],
        looks_for: "the Will is not published after DISCONNECT",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, plain(bench))?;
            client.disconnect()?;
            nothing(bench, &mut watch, "DISCONNECT takes the Will away")
        },
    },
    Check {
        name: "wills/after-disconnect-with-will",
        versions: V5,
        statements: &["MQTT-3.1.2-8"],
        looks_for: "the Will is published after DISCONNECT 0x04",
        run: |bench| after_disconnect(bench, &[ReasonCode::DisconnectWithWillMessage]),
    },
    Check {
        name: "wills/after-disconnect-with-an-error",
        versions: V5,
        statements: &["MQTT-3.1.2-8"],
        looks_for: "the Will is published after a DISCONNECT whose code is not 0x00",
        run: |bench| {
            after_disconnect(
                bench,
                &[
                    ReasonCode::UnspecifiedError,
                    ReasonCode::MalformedPacket,
                    ReasonCode::ProtocolError,
                    ReasonCode::TopicNameInvalid,
                    ReasonCode::QuotaExceeded,
                ],
            )
        },
    },
    Check {
        name: "wills/none-given",
        versions: BOTH,
        statements: &["MQTT-3.1.2-7", "MQTT-3.1.2-10", "MQTT3-3.1.2-12", "MQTT3-3.1.2-10"],
        looks_for: "a connection without a Will has none, also when an earlier one had",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, plain(bench))?;
            client.disconnect()?;
            bench.connect_with("client", bench.persistent("client"))?.0.abort();
            // The server has noticed the end: the session is taken up anew.
            bench.connect("client")?.disconnect()?;
            nothing(bench, &mut watch, "this connection had no Will")
        },
    },
    Check {
        name: "wills/once",
        versions: BOTH,
        statements: &["MQTT-3.1.2-10", "MQTT3-3.1.2-10"],
        looks_for: "the Will is gone once it was published",
        run: |bench| {
            let connect = Connect { will: plain(bench).will, ..bench.persistent("client") };
            let (client, mut watch) = client_and_watch(bench, connect)?;
            client.abort();
            watch.expect_message(WILL)?;
            bench.connect_with("client", bench.persistent("client"))?.0.abort();
            bench.connect("client")?.disconnect()?;
            nothing(bench, &mut watch, "the Will was published before")
        },
    },
    Check {
        name: "wills/of-each-connection",
        versions: BOTH,
        statements: &["MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT3-3.1.2-8"],
        looks_for: "the Will is that of the last connection of a session",
        run: |bench| {
            let with = |payload: &'static str| Connect {
                will: Some(will(&bench.topic_name("t"), QoS::AtMostOnce, payload)),
                ..bench.persistent("client")
            };
            let (client, mut watch) = client_and_watch(bench, with("old"))?;
            client.disconnect()?;
            bench.connect_with("client", with("new"))?.0.abort();
            watch.expect_message("new")?;
            passed()
        },
    },
    Check {
        name: "wills/qos",
        versions: BOTH,
        statements: &["MQTT-3.1.2-8", "MQTT-3.8.4-8", "MQTT3-3.1.2-8", "MQTT3-3.8.4-6"],
        looks_for: "the Will is published with its QoS",
        run: |bench| {
            for qos in super::subscribe::ALL_QOS {
                if qos > bench.can().maximum_qos {
                    break;
                }
                let (client, mut watch) = client_and_watch(bench, with_qos(bench, qos))?;
                client.abort();
                let came = watch.expect_message(WILL)?.delivery.qos();
                ensure(came == qos, format!("{qos:?} expected; the Will came with {came:?}"))?;
            }
            passed()
        },
    },
    Check {
        name: "wills/empty-payload",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "a Will without payload is published without payload",
        run: |bench| {
            let will = Some(will(&bench.topic_name("t"), QoS::AtMostOnce, ""));
            let (client, mut watch) = client_and_watch(bench, Connect { will, ..plain(bench) })?;
            client.abort();
            watch.expect_message("")?;
            passed()
        },
    },
    Check {
        name: "wills/binary-payload",
        versions: BOTH,
        statements: PUBLISHED,
        looks_for: "the payload of a Will may be any bytes, up to 65,535",
        run: |bench| {
            let payload: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
            let will = will(&bench.topic_name("t"), QoS::AtMostOnce, payload.clone());
            let connect = Connect { will: Some(will), ..plain(bench) };
            let (client, mut watch) = client_and_watch(bench, connect)?;
            client.abort();
            watch.expect_message(&payload)?;
            passed()
        },
    },
    Check {
        name: "wills/retained",
        versions: BOTH,
        statements: &["MQTT-3.1.2-15", "MQTT3-3.1.2-17"],
        looks_for: "a Will with Will Retain 1 is a retained message from then on",
        run: |bench| retained(bench, true),
    },
    Check {
        name: "wills/not-retained",
        versions: BOTH,
        statements: &["MQTT-3.1.2-14", "MQTT3-3.1.2-16"],
        looks_for: "a Will with Will Retain 0 is not a retained message",
        run: |bench| retained(bench, false),
    },
    Check {
        name: "wills/properties",
        versions: V5,
        statements: &["MQTT-3.1.3-10", "MQTT-3.3.2-18", "MQTT-3.3.2-17"],
        looks_for: "the Will is published with its properties, User Properties in their order",
        run: properties,
    },
    Check {
        name: "wills/message-expiry-interval",
        versions: V5,
        statements: &["MQTT-3.3.2-6", "MQTT-3.1.2-8"],
        looks_for: "the Will is published with its Message Expiry Interval",
        run: |bench| {
            let mut connect = plain(bench);
            if let Some(will) = &mut connect.will {
                will.properties.message_expiry_interval = Some(600);
            }
            let (client, mut watch) = client_and_watch(bench, connect)?;
            client.abort();
            let came = watch.expect_message(WILL)?.message_expiry_interval;
            ensure(
                came.is_some_and(|secs| (590..=600).contains(&secs)),
                format!("a Message Expiry Interval of 600 expected; the Will has {came:?}"),
            )?;
            passed()
        },
    },
    Check {
        name: "wills/qos-beyond-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-12"],
        looks_for: "a Will with a QoS that the server does not have is refused",
        run: |bench| {
            if bench.can().maximum_qos == QoS::ExactlyOnce {
                let (client, _) = client_and_watch(bench, with_qos(bench, QoS::ExactlyOnce))?;
                client.disconnect()?;
                return seen("has every QoS, and takes Wills of each");
            }
            refused(bench, with_qos(bench, QoS::ExactlyOnce), ReasonCode::QoSNotSupported)
        },
    },
    Check {
        name: "wills/retain-beyond-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-13"],
        looks_for: "a Will to be retained is refused by a server that does not retain",
        run: |bench| {
            let mut connect = plain(bench);
            if let Some(will) = &mut connect.will {
                will.retain = true;
            }
            if bench.can().retain {
                let (client, _) = client_and_watch(bench, connect)?;
                client.disconnect()?;
                return seen("retains, and takes Wills to be retained");
            }
            refused(bench, connect, ReasonCode::RetainNotSupported)
        },
    },
    Check {
        name: "wills/topic-with-wildcards",
        versions: BOTH,
        statements: &["MQTT-4.7.0-1", "MQTT-3.1.4-1", "MQTT3-4.7.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a Will Topic with a wildcard is refused",
        run: |bench| malformed_will(bench, &["'a/+'", "'#'", "'a#'"]),
    },
    Check {
        name: "wills/topic-empty",
        versions: BOTH,
        statements: &["MQTT-4.7.3-1", "MQTT-3.1.4-1", "MQTT3-4.7.3-1", "MQTT3-4.8.0-1"],
        looks_for: "an empty Will Topic is refused",
        run: |bench| malformed_will(bench, &["''"]),
    },
    Check {
        name: "wills/malformed-properties",
        versions: V5,
        statements: &["MQTT-3.1.4-1", "MQTT-4.13.1-1"],
        looks_for: "properties that a Will does not have, or twice, are refused",
        run: |bench| {
            let bad = [
                "05 11 00000001",
                "0A 18 00000001 18 00000001",
                "0A 02 00000001 02 00000001",
                "04 01 00 01 00",
                "08 03 'a' 03 'a'",
                "08 08 'a' 08 'a'",
                "03 23 0001",
                "02 0B 01",
                "7F",
            ];
            for properties in bad {
                let identifier = bench.client_identifier("client");
                let body = format!("'MQTT' 05 06 0000 00 '{identifier}' {properties} 't' 'm'");
                let mut peer = bench.open("client")?;
                peer.send_bytes(&frame(0x10, &body));
                peer.expect_closed()?;
            }
            passed()
        },
    },
];

pub(super) fn plain(bench: &Bench) -> Connect {
    with_qos(bench, QoS::AtMostOnce)
}

fn with_qos(bench: &Bench, qos: QoS) -> Connect {
    let will = will(&bench.topic_name("t"), qos, WILL);
    Connect { will: Some(will), ..bench.connect_packet("client") }
}

/// One that watches for the Will, and the client.
pub(super) fn client_and_watch(bench: &Bench, connect: Connect) -> Result<(Peer, Peer), Stop> {
    let mut watch = bench.connect("watch")?;
    watch.subscribe(&bench.topic_filter("t"), QoS::ExactlyOnce)?;
    let (client, _) = bench.connect_with("client", connect)?;
    Ok((client, watch))
}

fn published(bench: &Bench, end: fn(Peer)) -> Verdict {
    let (mut client, mut watch) = client_and_watch(bench, plain(bench))?;
    client.ping()?;
    nothing(bench, &mut watch, "the client is still there")?;
    end(client);
    watch.expect_message(WILL)?;
    passed()
}

/// Nothing comes but a marker.
pub(super) fn nothing(bench: &Bench, watch: &mut Peer, why: &str) -> Verdict {
    let mut publisher = bench.connect("pub")?;
    only_the_marker(&mut publisher, watch, &bench.topic_name("t"), QoS::AtMostOnce, why)?;
    publisher.disconnect()?;
    passed()
}

fn after_disconnect(bench: &Bench, codes: &[ReasonCode]) -> Verdict {
    for code in codes {
        let (mut client, mut watch) = client_and_watch(bench, plain(bench))?;
        client.send(Disconnect::new(*code));
        client.finish_sending();
        client.expect_closed()?;
        match watch.expect_message(WILL) {
            Ok(_) => {}
            Err(Stop::Failed(reason)) => return failed(format!("after {code}: {reason}")),
            Err(skipped) => return Err(skipped),
        }
    }
    passed()
}

fn retained(bench: &Bench, retain: bool) -> Verdict {
    bench.can().need_retain()?;
    let mut connect = plain(bench);
    if let Some(will) = &mut connect.will {
        will.retain = retain;
    }
    let (client, mut watch) = client_and_watch(bench, connect)?;
    client.abort();
    let live = watch.expect_message(WILL)?;
    ensure(!live.retain, "RETAIN 0 expected for a subscription that was there; it is 1")?;
    let mut late = bench.connect("late")?;
    late.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
    if retain {
        let came = late.expect_message(WILL)?;
        ensure(came.retain, "RETAIN 1 expected on a retained message; it is 0")?;
        return passed();
    }
    nothing(bench, &mut late, "the Will is not retained")
}

fn properties(bench: &mut Bench) -> Verdict {
    let pair = |key, value| (Text::from_static(key), Text::from_static(value));
    let message = MessageProperties {
        payload_format_indicator: Some(true),
        content_type: Some(Text::from_static("text/plain")),
        response_topic: Some(bench.topic_name("answer")),
        correlation_data: Some(vec![0, 1, 254, 255].into()),
        user_properties: vec![pair("b", "1"), pair("a", "2"), pair("b", "3"), pair("", "")],
    };
    let will = Will {
        properties: WillProperties { message: message.clone(), ..WillProperties::default() },
        ..will(&bench.topic_name("t"), QoS::AtMostOnce, WILL)
    };
    let connect = Connect { will: Some(will), ..plain(bench) };
    let (client, mut watch) = client_and_watch(bench, connect)?;
    client.abort();
    let came: Publish = watch.expect_message(WILL)?;
    ensure(
        came.properties.as_deref() == Some(&message),
        format!("{message:?} expected; the Will has {:?}", came.properties),
    )?;
    passed()
}

fn refused(bench: &Bench, connect: Connect, code: ReasonCode) -> Verdict {
    let mut peer = bench.open("client")?;
    peer.send(connect);
    peer.expect_closed()?.with_code_of(&[code])?.passed()
}

fn malformed_will(bench: &Bench, topics: &[&str]) -> Verdict {
    let mut ends = Vec::new();
    let (level, properties) = if bench.is_v5() { ("05", "00") } else { ("04", "") };
    for topic in topics {
        let identifier = bench.client_identifier("client");
        let before = format!("'MQTT' {level} 06 0000 {properties} '{identifier}' {properties}");
        let mut peer = bench.open("client")?;
        peer.send_bytes(&frame(0x10, &format!("{before} {topic} 'm'")));
        add(&mut ends, peer.expect_closed()?.to_string());
    }
    seen(ends.join(", "))
}
