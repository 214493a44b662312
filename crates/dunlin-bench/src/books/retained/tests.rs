//! Messages that are set and deleted, and subscriptions that come meanwhile.

use super::Retained;

fn set(retained: &mut Retained, topic: usize, versions: u64) {
    for _ in 0..versions {
        retained.set(topic);
        retained.acknowledge(topic);
    }
}

#[test]
fn a_new_subscription_gets_the_last_version_once() {
    let mut retained = Retained::new(3);
    set(&mut retained, 0, 2);
    set(&mut retained, 1, 3);
    retained.begin();
    // The second one is deleted, the third was never set.
    assert_eq!(retained.owed(), 1);
    assert!(!retained.book(0, 1), "it was replaced");
    assert!(!retained.book(1, 2) && !retained.book(1, 3), "it was deleted");
    assert!(!retained.book(2, 1) && !retained.book(3, 1), "it never was");
    assert!(retained.book(0, 2));
    assert_eq!(retained.owed(), 0);
    assert!(!retained.book(0, 2), "it comes again");
}

#[test]
fn what_changes_meanwhile_may_come_or_not() {
    let mut retained = Retained::new(2);
    set(&mut retained, 0, 1);
    set(&mut retained, 1, 4);
    retained.begin();
    retained.set(0);
    retained.set(1);
    retained.acknowledge(1);
    assert_eq!(retained.owed(), 2);
    // The second is deleted now, before it was read or after.
    retained.set(1);
    assert_eq!(retained.owed(), 1);
    assert!(retained.book(1, 5) && retained.book(0, 1));
    retained.end();
    assert!(!retained.book(0, 2), "nobody has subscribed");
}
