//! Our client with our broker in one process, over TCP: a table with one named test for each
//! version, Quality of Service, number of workers and feature, and a run with everything that can
//! go wrong on the way between them.
//!
//! The names read as a table: `v5::qos1::three_workers::takeover`. Each test has a broker of its
//! own, waits for events, and fails loudly at one deadline.

mod bed;
mod chaos;
mod delivery;
mod flow;
mod liveness;
mod proxy;
#[cfg(feature = "quic")]
mod quic;
mod retained;
mod sessions;
mod shared_subscriptions;
mod stopping;
mod v5_features;
mod wills;

/// Makes one test of each scenario, for one version, Quality of Service and number of workers.
macro_rules! tests {
    ($version:ident $qos:ident $workers:literal: $($module:ident::$scenario:ident)*) => { $(
        #[test]
        fn $scenario() {
            let case = $crate::bed::Case {
                version: ::dunlin_client::ProtocolVersion::$version,
                qos: ::dunlin_client::QoS::$qos,
                workers: $workers,
            };
            $crate::bed::play(case, $crate::$module::$scenario);
        }
    )* };
}

/// The scenarios of every cell.
macro_rules! every {
    ($($cell:tt)*) => { tests! { $($cell)*:
        delivery::both_ways
        delivery::large_payload
        delivery::overlapping_filters
        delivery::unsubscribing_ends_the_stream
        retained::retained_message
        sessions::takeover
        shared_subscriptions::each_message_goes_to_one_member
        stopping::broker_stops_and_another_listens
        wills::abrupt_loss_publishes_the_will
        wills::disconnect_deletes_the_will
    } };
}

/// The scenarios of cells with acknowledgements.
macro_rules! acknowledged {
    ($($cell:tt)*) => { tests! { $($cell)*:
        flow::windows_of_one
        flow::unread_stream_does_not_stop_publishing
        sessions::queue_across_reconnect
        shared_subscriptions::messages_of_a_lost_member_arrive
    } };
}

/// The scenarios that only MQTT 5.0 can tell.
macro_rules! since_v5 {
    ($($cell:tt)*) => { tests! { $($cell)*:
        sessions::session_expires
        v5_features::no_local
        v5_features::request_and_response
        v5_features::topic_aliases
    } };
}

/// The scenarios that need acknowledgements and MQTT 5.0.
macro_rules! acknowledged_since_v5 {
    ($($cell:tt)*) => { tests! { $($cell)*:
        flow::withheld_acknowledgement_holds_the_server_back
        sessions::messages_expire
    } };
}

macro_rules! cell {
    ($version:ident $qos:ident: $($list:ident)*) => {
        mod one_worker {
            $( $list! { $version $qos 1 } )*
        }
        mod three_workers {
            $( $list! { $version $qos 3 } )*
        }
    };
}

mod v3_1_1 {
    mod qos0 {
        cell! { V3_1_1 AtMostOnce: every }
    }
    mod qos1 {
        cell! { V3_1_1 AtLeastOnce: every acknowledged }
    }
    mod qos2 {
        cell! { V3_1_1 ExactlyOnce: every acknowledged }
    }
}

mod v5 {
    mod qos0 {
        cell! { V5 AtMostOnce: every since_v5 }
    }
    mod qos1 {
        cell! { V5 AtLeastOnce: every acknowledged since_v5 acknowledged_since_v5 }
    }
    mod qos2 {
        cell! { V5 ExactlyOnce: every acknowledged since_v5 acknowledged_since_v5 }
    }
}
