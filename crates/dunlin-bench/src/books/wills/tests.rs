//! Connections that end in each way, and their Wills.

use super::{WillVerdict, Wills};

#[test]
fn the_will_of_a_lost_connection_comes_once() {
    let mut wills = Wills::new(2);
    let first = wills.connect(1);
    wills.accept(1);
    assert_eq!((wills.owed(), wills.book(1, 2)), (0, WillVerdict::Unknown));
    wills.lose(1);
    assert_eq!(wills.owed(), 1);
    // It may come when its client is back.
    let second = wills.connect(1);
    wills.accept(1);
    assert_eq!(wills.book(1, first), WillVerdict::Due);
    assert_eq!((wills.owed(), wills.came()), (0, 1));
    assert_eq!(wills.book(1, first), WillVerdict::Doubled);
    assert_eq!(wills.book(1, second), WillVerdict::Early);
    assert_eq!(wills.book(0, 1), WillVerdict::Unknown);
    assert_eq!(wills.book(2, 1), WillVerdict::Unknown);
}

#[test]
fn a_goodbye_takes_the_will_back() {
    let mut wills = Wills::new(1);
    let connection = wills.connect(0);
    wills.accept(0);
    wills.revoke(0);
    wills.lose(0);
    assert_eq!((wills.owed(), wills.book(0, connection)), (0, WillVerdict::Revoked));
}

#[test]
fn who_was_not_accepted_may_have_a_will_or_none() {
    let mut wills = Wills::new(1);
    let connection = wills.connect(0);
    wills.lose(0);
    assert_eq!((wills.owed(), wills.book(0, connection)), (0, WillVerdict::Due));
}

#[test]
fn what_was_lost_with_its_subscriber_is_forgiven() {
    let mut wills = Wills::new(2);
    for client in 0..2 {
        wills.connect(client);
        wills.accept(client);
        wills.lose(client);
    }
    wills.forgive(|client| client == 0);
    assert_eq!((wills.owed(), wills.book(0, 1)), (1, WillVerdict::Due));
}
