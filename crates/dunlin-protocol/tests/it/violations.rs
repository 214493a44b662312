//! Each fault of a peer has its own cause, statement and Reason Code, and ends the connection.

use crate::helpers::{ack, id, message, publish, with_alias};
use dunlin_protocol::codec::{
    ConnAck, ConnAckProperties, Disconnect, Packet, PacketType, ProtocolVersion, QoS, ReasonCode,
    SubAck, Subscription, SubscriptionIdentifier, TopicFilter,
};
use dunlin_protocol::{
    ClientConfig, ClientConnection, ConnectionEnd, ServerConfig, ServerConnection, Session,
    Violation,
};
use dunlin_testkit::{Connection, Scripted, connect};
use std::time::Duration;

const V5: ProtocolVersion = ProtocolVersion::V5;

fn server(version: ProtocolVersion) -> Scripted<ServerConnection> {
    let config = ServerConfig { receive_maximum: 2, topic_alias_maximum: 2, ..Default::default() };
    Scripted::accepted(connect(version), config, Session::new())
}

fn client(version: ProtocolVersion) -> Scripted<ClientConnection> {
    let mut client = waiting_client(version);
    client.send(&connack(false));
    client.end.events.clear();
    client
}

fn waiting_client(version: ProtocolVersion) -> Scripted<ClientConnection> {
    let mut connect = connect(version);
    if version.is_v5() {
        connect.properties.receive_maximum = Some(2);
    }
    connect.clean_start = true;
    let config = ClientConfig {
        connect,
        connect_timeout: Duration::from_secs(5),
        in_flight_max: 10,
        topic_alias_outbound_max: 0,
    };
    Scripted::client(config, Session::new())
}

fn connack(session_present: bool) -> Packet {
    let (reason_code, properties) = (ReasonCode::Success, ConnAckProperties::default());
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
}

#[track_caller]
fn check<C: Connection>(
    mut scripted: Scripted<C>,
    packets: &[Packet],
    expected: &Violation,
    statement: &str,
) {
    for packet in packets {
        assert_eq!(scripted.end.connection.end(), None);
        scripted.packets();
        scripted.send(packet);
    }
    assert_eq!(expected.statement(), statement);
    let end = ConnectionEnd::Violation(expected.clone());
    assert_eq!(scripted.end.connection.end(), Some(&end));
    let farewell = scripted.packets();
    match farewell.last() {
        Some(Packet::Disconnect(disconnect)) => {
            assert!(scripted.version.is_v5());
            assert_eq!(disconnect.reason_code, expected.reason_code());
        }
        _ => assert!(!scripted.version.is_v5(), "{farewell:?}"),
    }
    scripted.send(&Packet::PingReq);
    assert_eq!(scripted.packets(), [], "the connection is over");
}

#[test]
fn a_client_that_breaks_a_rule() {
    let generic = "MQTT-4.13.1-1";
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, V5] {
        let again = Packet::Connect(Box::new(connect(version)));
        check(server(version), &[again], &Violation::SecondConnect, "MQTT-3.1.0-2");
        let unexpected = Violation::UnexpectedPacket(PacketType::PingResp);
        check(server(version), &[Packet::PingResp], &unexpected, generic);
        let early = [publish(2, 1, false), Packet::PubRel(ack(1))];
        let unexpected = Violation::UnexpectedPacket(PacketType::PubRel);
        check(server(version), &early, &unexpected, generic);
    }
    let many = [publish(1, 1, false), publish(2, 2, false), publish(1, 3, false)];
    check(server(V5), &many, &Violation::ReceiveMaximumExceeded, "MQTT-4.9.0-2");
    let high = [with_alias(Some("t"), 3)];
    check(server(V5), &high, &Violation::TopicAliasInvalid(3), "MQTT-3.3.2-9");
    let unknown = [with_alias(Some("t"), 1), with_alias(None, 2)];
    check(server(V5), &unknown, &Violation::TopicAliasUnknown(2), generic);

    let Packet::Publish(mut identified) = publish(0, 1, false) else { unreachable!() };
    identified.subscription_identifiers.extend(SubscriptionIdentifier::new(1));
    let cause = Violation::SubscriptionIdentifierFromClient;
    check(server(V5), &[Packet::Publish(identified)], &cause, "MQTT-3.3.4-6");
}

#[test]
fn a_client_that_ignores_what_connack_said() {
    let limited = || {
        let mut server = Scripted::server(V5, ServerConfig::default());
        server.send(&Packet::Connect(Box::new(connect(V5))));
        let properties = ConnAckProperties {
            maximum_qos: Some(QoS::AtLeastOnce),
            retain_available: Some(false),
            ..Default::default()
        };
        let (now, end) = (server.clock.now(), &mut server.end);
        end.connection.accept(now, Session::new(), false, properties, &mut end.out).unwrap();
        server
    };
    let cause = Violation::QoSNotSupported;
    check(limited(), &[publish(2, 1, false)], &cause, "MQTT-3.2.2-11");
    let Packet::Publish(mut retained) = publish(0, 1, false) else { unreachable!() };
    retained.retain = true;
    let cause = Violation::RetainNotSupported;
    check(limited(), &[Packet::Publish(retained)], &cause, "MQTT-3.2.2-14");
}

#[test]
fn a_client_that_prolongs_a_session_it_did_not_ask_for() {
    let mut wanted = connect(V5);
    wanted.properties.session_expiry_interval = None;
    let server = Scripted::accepted(wanted, ServerConfig::default(), Session::new());
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    disconnect.properties.session_expiry_interval = Some(1);
    let packet = Packet::Disconnect(Box::new(disconnect));
    check(server, &[packet], &Violation::SessionExpiryInterval, "MQTT-4.13.1-1");
}

#[test]
fn answers_of_another_kind() {
    for (qos, answer, statement) in [
        (QoS::AtLeastOnce, Packet::PubRec(ack(1)), "MQTT-3.3.4-1"),
        (QoS::AtLeastOnce, Packet::PubComp(ack(1)), "MQTT-3.3.4-1"),
        (QoS::ExactlyOnce, Packet::PubAck(ack(1)), "MQTT-3.3.4-1"),
        (QoS::ExactlyOnce, Packet::PubComp(ack(1)), "MQTT-3.3.4-1"),
    ] {
        let mut server = server(V5);
        let (now, end) = (server.clock.now(), &mut server.end);
        let sent = end.connection.publish(now, &message("t", qos), qos, false, &[], &mut end.out);
        assert_eq!(sent, Ok(Some(id(1))));
        let cause = Violation::WrongAcknowledgement(answer.packet_type());
        check(server, &[answer], &cause, statement);
    }
}

#[test]
fn a_server_that_breaks_a_rule() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, V5] {
        let cause = Violation::BeforeConnAck(PacketType::PingResp);
        check(waiting_client(version), &[Packet::PingResp], &cause, "MQTT-3.2.0-1");
        let cause = Violation::UnexpectedPacket(PacketType::ConnAck);
        check(client(version), &[connack(false)], &cause, "MQTT-4.13.1-1");
    }
    let cause = Violation::SessionPresent;
    check(waiting_client(V5), &[connack(true)], &cause, "MQTT-3.2.2-2");
    let many = [publish(1, 1, false), publish(2, 2, false), publish(1, 3, false)];
    check(client(V5), &many, &Violation::ReceiveMaximumExceeded, "MQTT-4.9.0-2");
    let alias = [with_alias(Some("t"), 1)];
    check(client(V5), &alias, &Violation::TopicAliasInvalid(1), "MQTT-3.3.2-9");
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    disconnect.properties.session_expiry_interval = Some(1);
    let packet = Packet::Disconnect(Box::new(disconnect));
    check(client(V5), &[packet], &Violation::SessionExpiryIntervalFromServer, "MQTT-3.14.2-2");
    let cause = Violation::UnexpectedPacket(PacketType::Disconnect);
    let packet = Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)));
    check(client(ProtocolVersion::V3_1_1), &[packet], &cause, "MQTT-4.13.1-1");
}

#[test]
fn subscriptions_are_answered_one_by_one() {
    let mut client = client(V5);
    let subscription =
        Subscription { topic_filter: TopicFilter::from_static("#"), options: Default::default() };
    let (now, end) = (client.clock.now(), &mut client.end);
    end.connection.subscribe(now, Default::default(), vec![subscription; 2], &mut end.out).unwrap();
    let suback = SubAck {
        packet_identifier: id(1),
        properties: Default::default(),
        reason_codes: vec![ReasonCode::Success],
    };
    let packet = Packet::SubAck(Box::new(suback));
    check(client, &[packet], &Violation::ReasonCodeCount, "MQTT-3.8.4-6");
}
