//! Steps that several checks of messages take.

use super::Bench;
use crate::packets::delivery;
use crate::{Peer, Stop, Verdict, encoded, ensure, failed, message};
use bytes::Bytes;
use dunlin_codec::{
    Ack, ConnectProperties, Packet, PacketIdentifier, ProtocolVersion, Publish, QoS, ReasonCode,
    TopicName,
};
use std::fmt::Debug;

pub(super) const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A client with one subscription.
pub(super) fn subscriber(
    bench: &Bench,
    label: &str,
    filter: &str,
    maximum_qos: QoS,
) -> Result<Peer, Stop> {
    let mut peer = bench.connect(label)?;
    peer.subscribe(&bench.topic_filter(filter), maximum_qos)?;
    Ok(peer)
}

/// A client of MQTT 5.0 with one subscription and these properties of its CONNECT.
pub(super) fn subscriber_with(
    bench: &Bench,
    label: &str,
    properties: ConnectProperties,
) -> Result<Peer, Stop> {
    let mut connect = bench.connect_packet(label);
    connect.properties = properties;
    let (mut peer, _) = bench.connect_with(label, connect)?;
    peer.subscribe(&bench.topic_filter("t"), QoS::ExactlyOnce)?;
    Ok(peer)
}

/// A client with one subscription and a session that outlives the connection.
pub(super) fn lasting_subscriber(
    bench: &Bench,
    label: &str,
    filter: &str,
    maximum_qos: QoS,
) -> Result<Peer, Stop> {
    let (mut peer, _) = bench.connect_with(label, bench.persistent(label))?;
    peer.subscribe(&bench.topic_filter(filter), maximum_qos)?;
    Ok(peer)
}

/// A session with one subscription and no connection.
pub(super) fn sleeping_subscriber(
    bench: &Bench,
    label: &str,
    filter: &str,
    maximum_qos: QoS,
) -> Result<(), Stop> {
    lasting_subscriber(bench, label, filter, maximum_qos)?.disconnect()
}

/// Goes on with the session of this label.
pub(super) fn resumed(bench: &Bench, label: &str) -> Result<Peer, Stop> {
    resumed_with(bench, label, |_| ())
}

/// The same, with changes to the properties of its CONNECT.
pub(super) fn resumed_with(
    bench: &Bench,
    label: &str,
    change: impl FnOnce(&mut ConnectProperties),
) -> Result<Peer, Stop> {
    let mut connect = bench.persistent(label);
    change(&mut connect.properties);
    let (peer, connack) = bench.connect_with(label, connect)?;
    ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
    Ok(peer)
}

/// A Packet Identifier.
///
/// # Panics
/// On 0.
pub(super) fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("Packet Identifiers begin at 1")
}

/// An acknowledgement with Success.
pub(super) const fn ack(packet_identifier: PacketIdentifier) -> Ack {
    Ack::new(packet_identifier, ReasonCode::Success)
}

/// A PUBLISH with this QoS and, where the QoS has one, this Packet Identifier.
pub(super) fn publish(
    topic_name: &TopicName,
    qos: QoS,
    packet_identifier: u16,
    payload: impl Into<Bytes>,
) -> Publish {
    let delivery = delivery(qos, identifier(packet_identifier));
    Publish { delivery, ..message(topic_name, payload) }
}

/// The same as if it were sent again.
pub(super) fn again(mut publish: Publish) -> Publish {
    use dunlin_codec::Delivery::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    publish.delivery = match publish.delivery {
        AtMostOnce => AtMostOnce,
        AtLeastOnce { packet_identifier, .. } => AtLeastOnce { packet_identifier, dup: true },
        ExactlyOnce { packet_identifier, .. } => ExactlyOnce { packet_identifier, dup: true },
    };
    publish
}

/// The Packet Identifier of a message with QoS 1 or 2.
pub(super) fn identifier_of(publish: &Publish) -> Result<PacketIdentifier, Stop> {
    match publish.delivery.packet_identifier() {
        Some(packet_identifier) => Ok(packet_identifier),
        None => failed("a message of QoS 1 or 2 expected; what comes has QoS 0"),
    }
}

/// The next message, which has to have this payload, and is not acknowledged.
pub(super) fn expect_unacknowledged(peer: &mut Peer, payload: &str) -> Result<Publish, Stop> {
    let publish = peer.expect_publish()?;
    same("the payload", &text(&publish), &payload.to_owned())?;
    Ok(publish)
}

/// The payload as text.
pub(super) fn text(publish: &Publish) -> String {
    String::from_utf8_lossy(&publish.payload).into_owned()
}

/// The payloads as texts.
pub(super) fn texts(publishes: &[Publish]) -> Vec<String> {
    publishes.iter().map(text).collect()
}

/// The numbers from 1 as payloads.
pub(super) fn numbers(last: usize) -> Vec<String> {
    (1..=last).map(|number| number.to_string()).collect()
}

/// The value has to be this one; `what` says whose it is.
pub(super) fn same<T: PartialEq + Debug>(what: &str, came: &T, expected: &T) -> Result<(), Stop> {
    ensure(came == expected, format!("{what} is to be {expected:?}; it is {came:?}"))
}

/// The messages up to the marker have to be exactly these.
pub(super) fn only<T: AsRef<str>>(
    peer: &mut Peer,
    marker: &str,
    expected: &[T],
) -> Result<Vec<Publish>, Stop> {
    let came = peer.publishes_before(marker.as_bytes())?;
    let expected: Vec<String> = expected.iter().map(|text| text.as_ref().to_owned()).collect();
    same(&format!("what comes before {marker:?}"), &texts(&came), &expected)?;
    Ok(came)
}

/// How many bytes the packet takes on the wire, in the fewest bytes that can say it.
pub(super) fn size_of(packet: &Packet, version: ProtocolVersion) -> usize {
    encoded(packet.clone(), version).len()
}

/// These bytes end the connection of a client, and no message of theirs reaches a subscriber to
/// `t`. A Reason Code, if one is sent, is one of `codes`; none are named where the standard names
/// none.
pub(super) fn refused(bench: &Bench, bytes: &[u8], codes: &[ReasonCode]) -> Verdict {
    let filter = if bench.can().wildcard_subscriptions { "#" } else { "t" };
    let mut subscriber = subscriber(bench, "sub", filter, QoS::AtMostOnce)?;
    let mut peer = bench.connect("client")?;
    peer.send_bytes(bytes);
    let end = peer.expect_closed()?;
    if !codes.is_empty() {
        end.with_code_of(codes)?;
    }
    bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtMostOnce, "marker")?;
    only::<&str>(&mut subscriber, "marker", &[])?;
    end.passed()
}

/// The Reason Codes for what is against the form.
pub(super) const MALFORMED: &[ReasonCode] =
    &[ReasonCode::MalformedPacket, ReasonCode::ProtocolError];

/// PINGRESP comes, and nothing before it.
pub(super) fn answers_only_ping(peer: &mut Peer) -> Result<(), Stop> {
    peer.send(Packet::PingReq);
    match peer.next_packet()? {
        Some(Packet::PingResp) => Ok(()),
        Some(other) => failed(format!("PINGRESP alone expected; what comes is {other}")),
        None => failed("PINGRESP expected; the connection is closed"),
    }
}
