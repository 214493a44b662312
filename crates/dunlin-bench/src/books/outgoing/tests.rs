//! What is under way, and the answers to it.

use super::{Answer, Outgoing, Unanswered};
use crate::frame::{PUBACK, PUBCOMP, PUBREC};
use crate::payload::Stamp;

fn stamp(sequence: u64) -> Stamp {
    Stamp { publisher: 0, sequence, due: 10 * sequence }
}

fn complete(qos: u8, sequence: u64) -> Answer {
    Answer::Complete { qos, sequence }
}

#[test]
fn room_comes_back_in_order() {
    let mut outgoing = Outgoing::new(4);
    for sequence in 0..4 {
        assert_eq!(outgoing.issue(stamp(sequence), 1), sequence as u16 + 1);
    }
    assert_eq!(outgoing.acknowledge(PUBACK, 2, false), complete(1, 1));
    assert_eq!(outgoing.under_way(), 4);
    assert_eq!(outgoing.acknowledge(PUBACK, 1, false), complete(1, 0));
    assert_eq!(outgoing.under_way(), 2);
    assert_eq!(outgoing.issue(stamp(4), 1), 1);
}

#[test]
fn an_acknowledgement_that_nobody_waits_for_is_out_of_turn() {
    let mut outgoing = Outgoing::new(2);
    outgoing.issue(stamp(0), 1);
    outgoing.issue(stamp(1), 2);
    for (first, packet_identifier) in
        [(PUBREC, 1), (PUBCOMP, 1), (PUBACK, 2), (PUBCOMP, 2), (PUBACK, 3), (PUBACK, 0)]
    {
        let answer = outgoing.acknowledge(first, packet_identifier, false);
        assert_eq!(answer, Answer::OutOfTurn, "{first:#x} {packet_identifier}");
    }
    assert_eq!(outgoing.acknowledge(PUBACK, 1, false), complete(1, 0));
    assert_eq!(outgoing.acknowledge(PUBACK, 1, false), Answer::OutOfTurn);
    assert_eq!(outgoing.acknowledge(PUBREC, 2, false), Answer::Release);
    assert_eq!(outgoing.acknowledge(PUBCOMP, 2, false), complete(2, 1));
}

#[test]
fn what_is_unanswered_is_sent_again_as_far_as_it_came() {
    let mut outgoing = Outgoing::new(4);
    for sequence in 0..4 {
        outgoing.issue(stamp(sequence), 2);
    }
    outgoing.acknowledge(PUBREC, 1, false);
    outgoing.acknowledge(PUBREC, 2, false);
    outgoing.acknowledge(PUBCOMP, 2, false);
    outgoing.acknowledge(PUBREC, 3, true);
    let unanswered: Vec<_> = outgoing.unanswered().collect();
    assert_eq!(
        unanswered,
        [
            Unanswered::Release { packet_identifier: 1 },
            Unanswered::Publish { sequence: 3, due: 30, packet_identifier: 4 }
        ]
    );
}
