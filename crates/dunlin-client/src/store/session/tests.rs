//! Changes: that they add up, that they read back, and which of them cannot be.

use super::*;
use bytes::Bytes;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{MessageProperties, TopicName};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

fn message(qos: QoS, payload: Vec<u8>) -> StoredMessage {
    let mut message = Message::new(TopicName::from_static("t"), payload);
    message.qos = qos;
    StoredMessage { message: Arc::new(message), expires_at: None }
}

fn queued(number: u64) -> SessionChange {
    SessionChange::Queued { number, message: message(QoS::ExactlyOnce, vec![1]) }
}

#[track_caller]
fn of(changes: &[SessionChange]) -> StoredSession {
    let mut session = StoredSession::new();
    changes.iter().for_each(|change| session.apply(change).unwrap());
    session
}

#[test]
fn a_message_is_written_with_all_that_belongs_to_it() {
    let properties = MessageProperties {
        payload_format_indicator: Some(true),
        content_type: Some(Text::from_static("text/plain")),
        response_topic: Some(TopicName::from_static("r")),
        correlation_data: Some(Bytes::from_static(b"\0\xff")),
        user_properties: vec![(Text::from_static("a"), Text::from_static("b")); 2],
    };
    let message = Message {
        topic_name: TopicName::from_static("a/b"),
        payload: vec![7; 100_000].into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        expires_at: None,
        properties: Some(Arc::new(properties)),
    };
    let expires_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(1_700_000_000_123));
    let message = StoredMessage { message: Arc::new(message), expires_at };
    let change = SessionChange::Queued { number: u64::MAX, message };
    let mut encoded = Vec::new();
    change.encode(&mut encoded).unwrap();
    assert_eq!(SessionChange::decode(&encoded), Ok(change));
}

#[test]
fn what_cannot_be_is_not_applied() {
    let sent = |number, value| SessionChange::Sent { number, packet_identifier: id(value) };
    let taken = |number, value| SessionChange::Taken { number, packet_identifier: id(value) };
    let before = [queued(1), queued(2), sent(1, 7)];
    for change in [
        queued(2),
        SessionChange::Queued { number: 3, message: message(QoS::AtMostOnce, vec![]) },
        sent(1, 8),
        sent(2, 7),
        sent(3, 8),
        taken(2, 7),
        SessionChange::Settled { packet_identifier: id(8) },
        SessionChange::Dropped { number: 1 },
        SessionChange::Dropped { number: 3 },
    ] {
        let mut session = of(&before);
        assert_eq!(session.apply(&change), Err(InvalidChange), "{change:?}");
        assert_eq!(session, of(&before), "{change:?}");
    }
}

#[test]
fn a_lost_session_keeps_what_the_server_was_not_known_to_have() {
    let sent = |number, value| SessionChange::Sent { number, packet_identifier: id(value) };
    let session = of(&[
        queued(1),
        queued(2),
        queued(3),
        sent(1, 5),
        sent(2, 6),
        SessionChange::Taken { number: 1, packet_identifier: id(5) },
        SessionChange::Received { packet_identifier: id(9) },
        SessionChange::Lost,
    ]);
    assert_eq!(session, of(&[queued(2), queued(3)]));
    // The identifiers are free again.
    let mut session = session;
    session.apply(&sent(2, 5)).unwrap();
}

fn change() -> impl Strategy<Value = SessionChange> {
    let number = 0..20u64;
    let packet_identifier = (1..8u16).prop_map(id);
    let exchange = (number.clone(), packet_identifier.clone());
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let message = (qos, any::<Vec<u8>>(), any::<Option<u32>>()).prop_map(|(qos, payload, secs)| {
        let after_epoch = secs.map(|secs| Duration::from_secs(u64::from(secs)));
        let expires_at = after_epoch.and_then(|after| SystemTime::UNIX_EPOCH.checked_add(after));
        StoredMessage { expires_at, ..message(qos, payload) }
    });
    prop_oneof![
        Just(SessionChange::Named(Text::from_static("c"))),
        (number.clone(), message)
            .prop_map(|(number, message)| SessionChange::Queued { number, message }),
        exchange.clone().prop_map(|(number, packet_identifier)| SessionChange::Sent {
            number,
            packet_identifier
        }),
        exchange.prop_map(|(number, packet_identifier)| SessionChange::Taken {
            number,
            packet_identifier
        }),
        packet_identifier
            .clone()
            .prop_map(|packet_identifier| SessionChange::Settled { packet_identifier }),
        number.prop_map(|number| SessionChange::Dropped { number }),
        packet_identifier
            .clone()
            .prop_map(|packet_identifier| SessionChange::Received { packet_identifier }),
        packet_identifier
            .prop_map(|packet_identifier| SessionChange::Released { packet_identifier }),
        Just(SessionChange::Lost),
    ]
}

proptest! {
    #[test]
    fn a_session_is_made_again_from_its_changes(
        changes in proptest::collection::vec(change(), 0..60),
    ) {
        let mut session = StoredSession::new();
        for change in &changes {
            let before = session.clone();
            if session.apply(change).is_err() {
                prop_assert_eq!(&session, &before);
            }
            let mut encoded = Vec::new();
            change.encode(&mut encoded).unwrap();
            prop_assert_eq!(&SessionChange::decode(&encoded), &Ok(change.clone()));
        }
        let mut again = StoredSession::new();
        for change in session.changes() {
            prop_assert_eq!(again.apply(&change), Ok(()));
        }
        prop_assert_eq!(again, session);
    }

    #[test]
    fn bytes_that_are_no_change_are_refused(bytes in any::<Vec<u8>>()) {
        if let Ok(change) = SessionChange::decode(&bytes) {
            let mut encoded = Vec::new();
            change.encode(&mut encoded).unwrap();
            prop_assert_eq!(SessionChange::decode(&encoded), Ok(change));
        }
    }
}
