//! The ledger must find what is wrong, and nothing where nothing is.

use super::*;

struct Case {
    ledger: Ledger,
    stream: Stream,
    receiver: Receiver,
}

impl Case {
    fn new(qos: QoS) -> Self {
        let ledger = Ledger::default();
        let stream = ledger.add_stream(0, 0, qos);
        let receiver = ledger.add_receiver("receiver", Wanted::default(), QoS::ExactlyOnce, true);
        ledger.subscribing(receiver);
        ledger.subscribed(receiver);
        Self { ledger, stream, receiver }
    }

    fn publish(&self) -> u64 {
        let sequence = self.ledger.begin(self.stream);
        self.ledger.end(self.stream, sequence, Outcome::Acknowledged);
        sequence
    }

    fn receive(&self, sequence: u64) {
        let (stream, qos) = (self.stream, QoS::AtLeastOnce);
        let delivery = Delivery { stream, sequence, qos, dup: false, member: 0, connection: 1 };
        self.ledger.receive(self.receiver, delivery);
    }

    fn expect(&self, expected: &[(Kind, u64)]) {
        self.ledger.settle();
        let found: Vec<_> = self.ledger.totals().findings.into_iter().collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_comes_once_in_order_is_well() {
    let case = Case::new(QoS::ExactlyOnce);
    for _ in 0..3 {
        case.receive(case.publish());
        case.ledger.settle();
    }
    case.expect(&[]);
}

#[test]
fn what_was_acknowledged_and_never_comes_is_lost() {
    let case = Case::new(QoS::AtLeastOnce);
    case.publish();
    let late = case.publish();
    assert_eq!(case.ledger.missing().0, 2);
    case.expect(&[(Kind::Lost, 2)]);
    case.receive(late);
    assert_eq!(case.ledger.totals().late, 1);
}

#[test]
fn what_was_not_acknowledged_is_not_owed() {
    let case = Case::new(QoS::AtLeastOnce);
    let refused = case.ledger.begin(case.stream);
    case.ledger.end(case.stream, refused, Outcome::Refused);
    case.ledger.begin(case.stream);
    assert_eq!(case.ledger.pending(), 1);
    case.expect(&[]);
}

#[test]
fn twice_is_wrong_at_qos_2_alone() {
    for (qos, expected) in
        [(QoS::AtLeastOnce, &[][..]), (QoS::ExactlyOnce, &[(Kind::Doubled, 2)][..])]
    {
        let case = Case::new(qos);
        let sequence = case.publish();
        case.receive(sequence);
        case.receive(sequence);
        case.ledger.settle();
        case.receive(sequence);
        case.expect(expected);
    }
}

#[test]
fn a_first_delivery_behind_a_later_one_is_out_of_order_a_repeated_one_is_not() {
    let case = Case::new(QoS::AtLeastOnce);
    let [first, second, third] = [case.publish(), case.publish(), case.publish()];
    case.receive(first);
    case.receive(third);
    case.receive(first);
    case.expect(&[(Kind::Lost, 1)]);
    let case = Case::new(QoS::AtLeastOnce);
    case.publish();
    case.publish();
    case.receive(second);
    case.receive(first);
    case.expect(&[(Kind::OutOfOrder, 1)]);
}

#[test]
fn a_subscription_counts_from_the_publish_that_begins_after_suback() {
    let case = Case::new(QoS::AtLeastOnce);
    let other = case.ledger.add_receiver("other", Wanted::default(), QoS::AtLeastOnce, true);
    let before = case.ledger.begin(case.stream);
    case.ledger.subscribing(other);
    case.ledger.subscribed(other);
    case.ledger.end(case.stream, before, Outcome::Acknowledged);
    case.receive(before);
    assert_eq!(case.ledger.missing().0, 0);
    case.receive(case.publish());
    assert_eq!(case.ledger.missing().0, 1);
    case.ledger.unsubscribing(other);
    assert_eq!(case.ledger.missing().0, 0);
}

#[test]
fn nothing_comes_that_was_published_after_unsuback() {
    let case = Case::new(QoS::AtLeastOnce);
    let before = case.publish();
    case.ledger.unsubscribing(case.receiver);
    case.ledger.unsubscribed(case.receiver);
    let after = case.publish();
    case.receive(before);
    case.expect(&[]);
    let more = case.publish();
    case.receive(more);
    assert_eq!(after + 1, more);
    case.expect(&[(Kind::Unasked, 1)]);
}

#[test]
fn what_nobody_published_is_corrupt() {
    let case = Case::new(QoS::AtLeastOnce);
    case.receive(17);
    case.expect(&[(Kind::Corrupt, 1)]);
}
