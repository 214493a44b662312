//! Where Mosquitto 2.0.11, the broker that checks the tests themselves, does not do what a test
//! asks, and why the test asks it nevertheless.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::broker_under_test::is_mosquitto;
use crate::cell::{Cell, Version};
use crate::process::shorten_deadline;

/// A feature of a peer's table in which Mosquitto differs, and for which cells.
struct Difference {
    peer: &'static str,
    feature: &'static str,
    applies: fn(Cell) -> bool,
}

const DIFFERENCES: [Difference; 5] = [
    // A filter of a lower QoS hides the one of the highest: against [MQTT3-3.3.5-1]. To MQTT 5
    // clients it sends a copy for each subscription, which the standard allows and Dunlin spares.
    Difference {
        peer: "paho",
        feature: "overlapping_subscriptions",
        applies: |cell| cell.qos > 0 || cell.version == Version::V5,
    },
    Difference {
        peer: "mosquitto_clients",
        feature: "overlapping_subscriptions",
        applies: |cell| cell.version == Version::V5,
    },
    // It closes the older connection without the DISCONNECT that [MQTT-3.1.4-3] demands.
    Difference {
        peer: "paho",
        feature: "session_takeover",
        applies: |cell| cell.version == Version::V5,
    },
    // The first acknowledgement releases two messages: against [MQTT-3.3.4-9].
    Difference { peer: "paho", feature: "receive_maximum", applies: |_| true },
    // The will waits for its delay although the session has ended: against [MQTT-3.1.2-8].
    Difference { peer: "paho", feature: "will_at_session_end", applies: |_| true },
];

/// Runs a scenario; against Mosquitto a known difference must show itself.
#[track_caller]
pub(crate) fn play(module: &str, feature: &str, cell: Cell, scenario: impl FnOnce()) {
    let known = is_mosquitto()
        && DIFFERENCES.iter().any(|difference| {
            let peer = module.split("::").any(|part| part == difference.peer);
            peer && difference.feature == feature && (difference.applies)(cell)
        });
    if !known {
        return scenario();
    }
    shorten_deadline();
    let outcome = catch_unwind(AssertUnwindSafe(scenario));
    assert!(outcome.is_err(), "Mosquitto does what is asked: take {feature} off the list");
}
