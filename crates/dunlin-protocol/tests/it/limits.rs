//! Receive Maximum, Maximum Packet Size, Topic Aliases and Message Expiry.

use crate::helpers::{brief, message, publish, with_alias};
use dunlin_protocol::codec::{
    ConnAckProperties, Packet, ProtocolVersion, QoS, ReasonCode, SubAck, Text, TopicAlias,
    TopicName,
};
use dunlin_protocol::{
    Message, PublishError, ServerConfig, ServerConnection, ServerEvent, Session,
};
use dunlin_testkit::{Pair, Scripted, connect};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn neither_end_sends_more_than_the_other_receives() {
    let mut pair = Pair::new(ProtocolVersion::V5);
    pair.server_config.receive_maximum = 2;
    pair.client_config.connect.properties.receive_maximum = Some(3);
    pair.acknowledge = false;
    pair.connect_and_settle();
    let message = message("t", QoS::ExactlyOnce);
    let (now, mut sent) = (pair.now(), [0, 0]);
    for _ in 0..5 {
        let client = pair.client();
        sent[0] += u32::from(client.connection.publish(now, &message, &mut client.out).is_ok());
        let server = pair.server();
        let (connection, out) = (&mut server.connection, &mut server.out);
        let published = connection.publish(now, &message, QoS::ExactlyOnce, false, &[], out);
        sent[1] += u32::from(published.is_ok());
    }
    assert_eq!(sent, [2, 3]);
    // QoS 0 has no quota.
    let client = pair.client();
    let unacknowledged = crate::helpers::message("t", QoS::AtMostOnce);
    client.connection.publish(now, &unacknowledged, &mut client.out).unwrap();
    pair.settle();
    pair.server().acknowledge_all(now);
    pair.settle();
    assert_eq!(pair.client().connection.send_quota(), 0, "PUBREC frees nothing");
    pair.server().acknowledge_all(now);
    pair.settle();
    assert_eq!(pair.client().connection.send_quota(), 2);
}

#[test]
fn the_servers_own_limits_bind_it() {
    let mut pair = Pair::new(ProtocolVersion::V5);
    pair.logic.connack = ConnAckProperties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        ..Default::default()
    };
    pair.connect_and_settle();
    let (now, client) = (pair.now(), pair.client());
    let too_high = message("t", QoS::ExactlyOnce);
    let outcome = client.connection.publish(now, &too_high, &mut client.out);
    assert_eq!(outcome, Err(PublishError::QoSNotSupported));
    let mut retained = Message::new(TopicName::from_static("t"), "");
    retained.retain = true;
    let outcome = client.connection.publish(now, &Arc::new(retained), &mut client.out);
    assert_eq!(outcome, Err(PublishError::RetainNotSupported));
}

fn small(maximum_packet_size: u32, topic_alias_maximum: u16) -> Scripted<ServerConnection> {
    let mut wanted = connect(ProtocolVersion::V5);
    wanted.properties.maximum_packet_size = Some(maximum_packet_size);
    wanted.properties.topic_alias_maximum = Some(topic_alias_maximum);
    Scripted::accepted(wanted, ServerConfig::default(), Session::new())
}

#[track_caller]
fn publish_to(
    server: &mut Scripted<ServerConnection>,
    topic_name: &'static str,
    len: usize,
    qos: QoS,
) -> Result<(), PublishError> {
    let message = Arc::new(Message::new(TopicName::from_static(topic_name), vec![0; len]));
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.publish(now, &message, qos, false, &[], &mut end.out).map(|_| ())
}

#[test]
fn a_message_that_is_too_large_is_not_sent_and_leaves_no_trace() {
    let mut server = small(30, 0);
    let outcome = publish_to(&mut server, "t", 40, QoS::AtLeastOnce);
    assert!(matches!(outcome, Err(PublishError::PacketTooLarge(_))), "{outcome:?}");
    assert!(server.end.connection.session().is_empty());
    publish_to(&mut server, "t", 20, QoS::AtLeastOnce).unwrap();
    assert_eq!(brief(&server.packets()), "PUBLISH1");
}

/// The names and aliases of the PUBLISH packets that were sent.
#[track_caller]
fn topics(server: &mut Scripted<ServerConnection>) -> Vec<(Option<String>, Option<u16>)> {
    let packets = server.packets();
    let topic = |packet: &Packet| match packet {
        Packet::Publish(publish) => {
            let name = publish.topic.name().map(|name| name.as_str().to_owned());
            (name, publish.topic.alias().map(TopicAlias::value))
        }
        packet => panic!("{packet:?}"),
    };
    packets.iter().map(topic).collect()
}

#[test]
fn aliases_are_set_once_and_used_from_then_on() {
    let mut server = small(1_000, 1);
    for topic_name in ["sensors/one", "sensors/one", "sensors/two", "sensors/one"] {
        publish_to(&mut server, topic_name, 1, QoS::AtMostOnce).unwrap();
    }
    let one = || Some("sensors/one".to_owned());
    let expected = [
        (one(), Some(1)),
        (None, Some(1)),
        (Some("sensors/two".into()), Some(1)),
        (one(), Some(1)),
    ];
    assert_eq!(topics(&mut server), expected);
}

#[test]
fn a_packet_that_its_alias_makes_too_large_goes_without() {
    // Fixed header 2, name 2 + 11, properties 1, payload 14: 30; the alias would add 3.
    let mut server = small(30, 4);
    publish_to(&mut server, "sensors/one", 14, QoS::AtMostOnce).unwrap();
    // The alias was not set, so the next one sets it.
    publish_to(&mut server, "sensors/one", 1, QoS::AtMostOnce).unwrap();
    publish_to(&mut server, "sensors/one", 14, QoS::AtMostOnce).unwrap();
    let one = || Some("sensors/one".to_owned());
    assert_eq!(topics(&mut server), [(one(), None), (one(), Some(1)), (None, Some(1))]);
}

#[test]
fn a_packet_that_was_not_sent_sets_no_alias() {
    let mut server = small(30, 4);
    publish_to(&mut server, "sensors/one", 50, QoS::AtMostOnce).unwrap_err();
    publish_to(&mut server, "sensors/one", 1, QoS::AtMostOnce).unwrap();
    assert_eq!(topics(&mut server), [(Some("sensors/one".to_owned()), Some(1))]);
}

#[test]
fn inbound_aliases_stand_for_the_last_name_they_were_given() {
    let config = ServerConfig { topic_alias_maximum: 2, ..Default::default() };
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config, Session::new());
    for packet in [
        with_alias(Some("first"), 2),
        with_alias(None, 2),
        with_alias(Some("second"), 2),
        with_alias(None, 2),
    ] {
        server.send(&packet);
    }
    let names: Vec<String> = core::iter::from_fn(|| server.end.events.pop_front())
        .map(|event| match event {
            ServerEvent::Publish(publish) => publish.message.topic_name.as_str().to_owned(),
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(names, ["first", "first", "second", "second"]);
}

#[test]
fn what_a_message_may_still_wait_shrinks() {
    let mut pair = Pair::new(ProtocolVersion::V5);
    pair.connect_and_settle();
    let mut waiting = Message::new(TopicName::from_static("t"), "payload");
    waiting.expire_after(pair.now(), 60);
    waiting.qos = QoS::AtLeastOnce;
    let waiting = Arc::new(waiting);
    pair.advance(Duration::from_millis(10_500));
    assert_eq!(waiting.message_expiry_interval(pair.now()), Some(50));
    let (now, server) = (pair.now(), pair.server());
    let (connection, out) = (&mut server.connection, &mut server.out);
    connection.publish(now, &waiting, QoS::AtLeastOnce, false, &[], out).unwrap();
    pair.settle();
    let received = match &pair.take_client_events()[..] {
        [dunlin_protocol::ClientEvent::Publish(publish)] => publish.message.clone(),
        events => panic!("{events:?}"),
    };
    assert_eq!(received.message_expiry_interval(pair.now()), Some(50));
    assert!(!received.is_expired(pair.now()));
    pair.advance(Duration::from_secs(50));
    assert!(waiting.is_expired(pair.now()));
    let (now, server) = (pair.now(), pair.server());
    let (connection, out) = (&mut server.connection, &mut server.out);
    let outcome = connection.publish(now, &waiting, QoS::AtLeastOnce, false, &[], out);
    assert_eq!(outcome, Err(PublishError::Expired));
}

#[test]
fn suback_gives_up_its_diagnostics_before_it_is_too_large() {
    let mut server = small(30, 0);
    let suback = SubAck {
        packet_identifier: crate::helpers::id(1),
        properties: dunlin_protocol::codec::SubAckProperties {
            reason_string: Some(Text::from_static("longer than the thirty bytes there are")),
            user_properties: Vec::new(),
        },
        reason_codes: vec![ReasonCode::ServerBusy],
    };
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.suback(now, suback, &mut end.out).unwrap();
    match server.expect() {
        Packet::SubAck(suback) => {
            assert_eq!(suback.properties, Default::default());
            assert_eq!(suback.reason_codes, [ReasonCode::UnspecifiedError]);
        }
        packet => panic!("{packet:?}"),
    }
}

#[test]
fn a_duplicate_on_the_same_connection_counts_once() {
    let config = ServerConfig { receive_maximum: 1, ..Default::default() };
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config, Session::new());
    server.send(&publish(2, 1, false));
    server.send(&publish(2, 1, true));
    assert_eq!(server.end.connection.end(), None);
    assert!(matches!(
        server.end.events.pop_front(),
        Some(ServerEvent::Publish(event)) if !event.dup
    ));
}
