//! The queue of exchanges: identifiers, order, and what a stalled peer may cost.

use super::*;
use alloc::vec::Vec;

fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

fn queue_of(count: usize) -> InFlightQueue {
    let mut queue = InFlightQueue::default();
    for _ in 0..count {
        begin(&mut queue).unwrap();
    }
    queue
}

fn begin(queue: &mut InFlightQueue) -> Option<PacketIdentifier> {
    let packet_identifier = queue.next_packet_identifier()?;
    let state = InFlightState::AwaitingPubAck;
    queue.push(InFlight::new(packet_identifier, state, None, false, Vec::new()));
    Some(packet_identifier)
}

fn finish(queue: &mut InFlightQueue, value: u16) {
    let at = queue.find(identifier(value)).expect("under way");
    assert_eq!(queue.finish(at).0.packet_identifier, identifier(value));
}

#[test]
fn identifiers_are_given_in_turn_and_never_while_in_use() {
    let mut queue = queue_of(65_535);
    assert_eq!(begin(&mut queue), None);
    finish(&mut queue, 2);
    assert_eq!(begin(&mut queue), None, "the oldest still holds the identifier whose turn it is");
    finish(&mut queue, 1);
    assert_eq!(begin(&mut queue), Some(identifier(1)));
    assert_eq!(begin(&mut queue), Some(identifier(2)));
    assert_eq!(begin(&mut queue), None);
}

#[test]
fn an_exchange_is_found_once() {
    let mut queue = queue_of(5);
    finish(&mut queue, 3);
    assert_eq!(queue.find(identifier(3)), None);
    assert_eq!(queue.find(identifier(6)), None);
    finish(&mut queue, 1);
    finish(&mut queue, 2);
    assert_eq!(queue.entries.front().unwrap().packet_identifier, identifier(4));
    finish(&mut queue, 5);
    finish(&mut queue, 4);
    assert!(queue.entries.is_empty());
}

#[test]
fn finished_exchanges_behind_an_open_one_take_no_room() {
    let mut queue = queue_of(1);
    for value in 2..=60_000 {
        assert_eq!(begin(&mut queue), Some(identifier(value)));
        finish(&mut queue, value);
    }
    assert!(queue.entries.len() < 200, "{} entries for one open exchange", queue.entries.len());
    begin(&mut queue).unwrap();
    finish(&mut queue, 60_001);
    finish(&mut queue, 1);
    assert!(queue.entries.is_empty());
}

#[test]
fn exchanges_are_found_across_the_wrap_of_identifiers() {
    let mut queue = queue_of(65_530);
    for value in 1..=65_520 {
        finish(&mut queue, value);
    }
    for _ in 0..20 {
        begin(&mut queue).unwrap();
    }
    for value in [65_535, 3, 65_521, 1, 10, 65_530] {
        finish(&mut queue, value);
    }
    assert_eq!(queue.find(identifier(3)), None);
    assert!(queue.find(identifier(4)).is_some());
}
