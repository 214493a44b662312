//! Lost, doubled and reordered messages are found.

use super::*;

#[test]
fn the_slowest_receiver_counts() {
    let mut ledger = PublisherLedger::new(0, 0, 2, 100);
    assert_eq!(ledger.send(), (0, 1));
    assert_eq!(ledger.send(), (1, 2));
    for sequence in [0, 1] {
        ledger.handle_delivery(sequence).unwrap();
    }
    assert_eq!(ledger.under_way(), 2);
    ledger.handle_delivery(0).unwrap();
    assert_eq!(ledger.under_way(), 1);
    ledger.handle_delivery(1).unwrap();
    assert_eq!(ledger.under_way(), 0);
}

#[test]
fn above_qos_0_both_ack_and_delivery_are_needed() {
    let mut ledger = PublisherLedger::new(3, 1, 1, 4);
    let (sequence, identifier) = ledger.send();
    ledger.handle_delivery(sequence).unwrap();
    assert_eq!(ledger.under_way(), 1);
    assert_eq!(ledger.handle_ack(frame::PUBACK, identifier), Ok(false));
    assert_eq!(ledger.under_way(), 0);

    let (_, identifier) = ledger.send();
    ledger.handle_ack(frame::PUBACK, identifier).unwrap();
    assert_eq!(ledger.under_way(), 1);
}

#[test]
fn qos_2_takes_two_acks_in_turn() {
    let mut ledger = PublisherLedger::new(0, 2, 1, 4);
    let (sequence, id) = ledger.send();
    ledger.handle_delivery(sequence).unwrap();
    assert!(ledger.handle_ack(frame::PUBCOMP, id).is_err());
    assert!(ledger.handle_ack(frame::PUBACK, id).is_err());
    assert_eq!(ledger.handle_ack(frame::PUBREC, id), Ok(true));
    assert!(ledger.handle_ack(frame::PUBREC, id).is_err());
    assert_eq!(ledger.under_way(), 1);
    assert_eq!(ledger.handle_ack(frame::PUBCOMP, id), Ok(false));
    assert_eq!(ledger.under_way(), 0);
    assert!(ledger.handle_ack(frame::PUBCOMP, id).is_err());
}

#[test]
fn acks_for_nothing_are_faults() {
    let mut ledger = PublisherLedger::new(0, 1, 1, 4);
    for identifier in [0, 1, 4, 5, u16::MAX] {
        assert!(ledger.handle_ack(frame::PUBACK, identifier).is_err(), "{identifier}");
    }
}

#[test]
fn slots_come_round_again() {
    let mut ledger = PublisherLedger::new(0, 1, 1, 100);
    for round in 0..1000 {
        let (sequence, identifier) = ledger.send();
        assert_eq!((sequence, identifier), (round, (round % 128 + 1) as u16));
        ledger.handle_delivery(sequence).unwrap();
        ledger.handle_ack(frame::PUBACK, identifier).unwrap();
        assert_eq!(ledger.under_way(), 0);
    }
}

#[test]
fn deliveries_of_nothing_are_faults() {
    let mut ledger = PublisherLedger::new(7, 0, 1, 4);
    let unknown = Err(Fault::Unknown { publisher: 7, found: 0 });
    assert_eq!(ledger.handle_delivery(0), unknown);
    ledger.send();
    ledger.handle_delivery(0).unwrap();
    assert_eq!(ledger.handle_delivery(0), unknown);
}

#[test]
fn a_receiver_sees_loss_doubles_and_strangers() {
    let mut ledger = ReceiverLedger::new(5, 2, 1);
    ledger.handle_delivery(5, 0).unwrap();
    ledger.handle_delivery(6, 0).unwrap();
    let fault = ledger.handle_delivery(5, 2).unwrap_err();
    assert_eq!(fault, Fault::Lost { publisher: 5, expected: 1, found: 2 });
    let fault = ledger.handle_delivery(6, 0).unwrap_err();
    assert_eq!(fault, Fault::Doubled { publisher: 6, expected: 1, found: 0 });
    for publisher in [4, 7, u32::MAX] {
        let fault = ledger.handle_delivery(publisher, 0).unwrap_err();
        assert_eq!(fault, Fault::Unknown { publisher, found: 0 });
    }
}

#[test]
fn order_holds_per_topic_name() {
    let mut ledger = ReceiverLedger::new(0, 2, 3);
    for found in [1, 0, 2, 3, 5, 4] {
        ledger.handle_delivery(1, found).unwrap();
    }
    let fault = ledger.handle_delivery(1, 9).unwrap_err();
    assert_eq!(fault, Fault::Lost { publisher: 1, expected: 6, found: 9 });
}

#[test]
fn a_message_for_one_of_a_group_must_not_reach_two() {
    let mut ledger = PublisherLedger::new(0, 0, 1, 4);
    ledger.send();
    let (sequence, _) = ledger.send();
    ledger.handle_delivery(sequence).unwrap();
    let fault = Fault::Unknown { publisher: 0, found: sequence };
    assert_eq!(ledger.handle_delivery(sequence), Err(fault));
}

#[test]
fn a_member_of_a_group_sees_gaps_but_never_an_earlier_message() {
    let mut member = ReceiverLedger::sharing(0, 2, 1);
    for (publisher, found) in [(0, 3), (1, 0), (0, 4), (0, 9)] {
        member.handle_delivery(publisher, found).unwrap();
    }
    let fault = Fault::Doubled { publisher: 0, expected: 10, found: 9 };
    assert_eq!(member.handle_delivery(0, 9), Err(fault));
    assert!(member.handle_delivery(0, 4).is_err());
    assert!(member.handle_delivery(2, 0).is_err());
}
