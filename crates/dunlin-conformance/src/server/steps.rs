//! Steps that checks of many files take: packets with a fault, and what has to follow.

use super::Bench;
use crate::{End, Peer, Stop, Verdict, ensure, failed, frame, passed, seen};
use dunlin_codec::{
    Packet, Publish, QoS, ReasonCode, TopicFilter, TopicName, Unsubscribe, UnsubscribeProperties,
};

/// A packet of these bytes, as [`frame`] makes it. `{}` stands for empty properties, which MQTT
/// 3.1.1 does not have.
pub(super) fn packet(bench: &Bench, first_byte: u8, body: &str) -> Vec<u8> {
    frame(first_byte, &body.replace("{}", if bench.is_v5() { "00" } else { "" }))
}

/// The connection ends when a client sends this.
pub(super) fn ending(bench: &Bench, bytes: &[u8]) -> Result<End, Stop> {
    let mut peer = bench.connect("client")?;
    // A connection that ends anyhow shows nothing.
    peer.ping()?;
    peer.send_bytes(bytes);
    peer.expect_closed()
}

/// [`ending`] as the whole of a check.
pub(super) fn refuses(bench: &Bench, bytes: &[u8]) -> Verdict {
    ending(bench, bytes)?.passed()
}

/// Each of these ends a connection of its own.
pub(super) fn refuses_each(bench: &Bench, faults: impl IntoIterator<Item = Vec<u8>>) -> Verdict {
    let mut ends: Vec<String> = Vec::new();
    for fault in faults {
        let end = ending(bench, &fault)?.to_string();
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
    seen(ends.join("; "))
}

/// The connection is still open, and in step.
pub(super) fn accepts(bench: &Bench, bytes: &[u8]) -> Verdict {
    let mut peer = bench.connect("client")?;
    peer.send_bytes(bytes);
    peer.ping()?;
    passed()
}

/// The messages that the subscriber got up to a marker that this publisher sends now.
pub(super) fn messages_so_far(
    publisher: &mut Peer,
    subscriber: &mut Peer,
    topic_name: &TopicName,
    qos: QoS,
) -> Result<Vec<Publish>, Stop> {
    const MARKER: &str = "the marker";
    publisher.publish(topic_name, qos, MARKER)?;
    subscriber.publishes_before(MARKER.as_bytes())
}

/// The subscriber gets nothing but a marker that this publisher sends now.
pub(super) fn only_the_marker(
    publisher: &mut Peer,
    subscriber: &mut Peer,
    topic_name: &TopicName,
    qos: QoS,
    why: &str,
) -> Result<(), Stop> {
    let before = messages_so_far(publisher, subscriber, topic_name, qos)?;
    ensure(before.is_empty(), format!("{why}: {} came", list(&before)))
}

/// The payloads as texts.
pub(super) fn payloads(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(|publish| String::from_utf8_lossy(&publish.payload).into_owned()).collect()
}

fn list(messages: &[Publish]) -> String {
    format!("{:?}", payloads(messages))
}

/// Publishes with QoS 1 and gives the Reason Code of the PUBACK; `None` when the connection ends.
pub(super) fn publish_or_end(
    peer: &mut Peer,
    bytes: &[u8],
) -> Result<Result<ReasonCode, End>, Stop> {
    peer.send_bytes(bytes);
    match peer.next_packet()? {
        Some(Packet::PubAck(ack)) => Ok(Ok(ack.reason_code)),
        Some(Packet::Disconnect(disconnect)) if peer.version().is_v5() => {
            peer.expect_closed()?;
            Ok(Err(End::Disconnect(disconnect.reason_code)))
        }
        None => Ok(Err(End::Closed)),
        Some(other) => failed(format!("PUBACK or the end expected; what comes is {other}")),
    }
}

/// What a server says to a SUBSCRIBE or UNSUBSCRIBE that it can refuse in two ways.
pub(super) enum Answer {
    /// The codes of the SUBACK or UNSUBACK.
    Codes(Vec<ReasonCode>),
    /// The connection ends.
    End(End),
}

/// Sends a SUBSCRIBE or UNSUBSCRIBE and gives the answer.
pub(super) fn answer(peer: &mut Peer, bytes: &[u8]) -> Result<Answer, Stop> {
    // A connection that ends anyhow shows nothing.
    peer.ping()?;
    peer.send_bytes(bytes);
    loop {
        match peer.next_packet()? {
            Some(Packet::SubAck(suback)) => return Ok(Answer::Codes(suback.reason_codes)),
            Some(Packet::UnsubAck(unsuback)) => return Ok(Answer::Codes(unsuback.reason_codes)),
            Some(Packet::Disconnect(disconnect)) if peer.version().is_v5() => {
                ensure(
                    disconnect.reason_code.is_error(),
                    format!("DISCONNECT with {}, which is no error", disconnect.reason_code),
                )?;
                peer.expect_closed()?;
                return Ok(Answer::End(End::Disconnect(disconnect.reason_code)));
            }
            None => return Ok(Answer::End(End::Closed)),
            // Retained messages may come before the SUBACK.
            Some(Packet::Publish(_)) => {}
            Some(other) => return failed(format!("SUBACK or the end expected; comes {other}")),
        }
    }
}

/// The answer is the end, or an error for the only filter that was asked for.
pub(super) fn is_refused(peer: &mut Peer, bytes: &[u8]) -> Result<String, Stop> {
    match answer(peer, bytes)? {
        Answer::End(end) => Ok(end.to_string()),
        Answer::Codes(codes) => match codes.as_slice() {
            [code] if code.is_error() => Ok(format!("answers {code}")),
            codes => failed(format!("a refusal expected; the answer is {codes:?}")),
        },
    }
}

/// Adds what was seen, once.
pub(super) fn add(seen: &mut Vec<String>, behaviour: impl Into<String>) {
    let behaviour = behaviour.into();
    if !seen.contains(&behaviour) {
        seen.push(behaviour);
    }
}

/// An UNSUBSCRIBE for these filters, and the codes of its UNSUBACK, which has none in MQTT 3.1.1.
pub(super) fn unsubscribe(
    peer: &mut Peer,
    topic_filters: impl Into<Vec<TopicFilter>>,
) -> Result<Vec<ReasonCode>, Stop> {
    let packet_identifier = peer.new_packet_identifier();
    peer.send(Unsubscribe {
        packet_identifier,
        properties: UnsubscribeProperties::default(),
        topic_filters: topic_filters.into(),
    });
    Ok(peer.expect_unsuback(packet_identifier)?.reason_codes)
}
