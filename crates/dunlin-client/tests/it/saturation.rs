//! Everything full at once: nothing may wait for itself.

use crate::peer::{at, builder, pipes_of, publish, soon};
use dunlin_client::{ClientBuilder, ProtocolVersion, QoS};
use dunlin_protocol::codec::{Delivery, Packet};
use std::future::IntoFuture;

/// Messages each way.
const COUNT: u16 = 2_000;

/// A task answers every message with one of its own and waits for the acknowledgement, while the
/// server floods it as far as its window allows, over a pipe that holds a few bytes.
async fn echo(builder: ClientBuilder, window: u16) {
    let (pipes, mut listener) = pipes_of(64);
    let connecting = tokio::spawn(builder.in_flight_max(1).queue(1, 1_000_000).connect_over(pipes));
    let mut peer = listener.next().await;
    peer.accept(false).await;
    let (client, _events) = connecting.await.unwrap().unwrap();
    let subscribing = client.subscribe("in", QoS::AtLeastOnce).buffer(1).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    let server = tokio::spawn(async move {
        let (mut sent, mut acknowledged, mut echoed) = (0, 0, 0);
        while acknowledged < COUNT || echoed < COUNT {
            while sent < COUNT && sent - acknowledged < window {
                sent += 1;
                peer.send(publish("in", "ping", at(QoS::AtLeastOnce, sent), &[identifier])).await;
            }
            match peer.expect().await {
                Packet::PubAck(_) => acknowledged += 1,
                Packet::Publish(publish) => {
                    echoed += 1;
                    peer.puback(&publish).await;
                }
                packet => panic!("unexpected {packet:?}"),
            }
        }
        peer
    });
    for _ in 0..COUNT {
        let received = soon(stream.next()).await.expect("a message");
        client.publish("out", received.into_payload()).qos(QoS::AtLeastOnce).await.unwrap();
    }
    let _peer = server.await.unwrap();
    assert_eq!(stream.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_publishes_gets_its_acknowledgements_in_mqtt_5() {
    echo(builder().receive_maximum(20), 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_publishes_gets_its_acknowledgements_in_mqtt_3() {
    echo(builder().protocol_version(ProtocolVersion::V3_1_1), 100).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_does_not_stop_publishing() {
    let (pipes, mut listener) = pipes_of(1024);
    let connecting = tokio::spawn(builder().receive_maximum(10).connect_over(pipes));
    let mut peer = listener.next().await;
    peer.accept(false).await;
    let (client, _events) = connecting.await.unwrap().unwrap();
    let subscribing = client.subscribe("in", QoS::AtLeastOnce).buffer(1).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let stream = stream.unwrap();
    for number in 1..=10 {
        peer.send(publish("in", "unread", at(QoS::AtLeastOnce, number), &[identifier])).await;
    }
    let publishing = tokio::spawn(async move {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].repeat(100) {
            client.publish("out", "x").qos(qos).await.unwrap();
        }
        client
    });
    for _ in 0..300 {
        let published = peer.expect_publish().await;
        match published.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { .. } => peer.puback(&published).await,
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                peer.send(Packet::PubRec(crate::peer::ack(packet_identifier.value()))).await;
                assert!(matches!(peer.expect().await, Packet::PubRel(_)));
                peer.send(Packet::PubComp(crate::peer::ack(packet_identifier.value()))).await;
            }
        }
    }
    let _client = publishing.await.unwrap();
    assert_eq!(stream.waiting(), 10);
}
