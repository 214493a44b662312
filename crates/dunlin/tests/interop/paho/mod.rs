//! paho-mqtt, the Python client: the table of which feature is played at which version and Quality
//! of Service.

pub(crate) mod driver;
mod scenarios;
mod scenarios_v5;
mod stage;

/// What every version has.
macro_rules! every_version {
    ($version:ident, $qos:literal) => {
        cells! { crate::paho::scenarios, $version, $qos:
            basic_delivery ordering empty_payload large_payload_1_mib unicode_topic_name
            qos_downgrade retained retained_cleared will_on_abrupt_loss retained_will
            no_will_on_disconnect persistent_session clean_session session_takeover
            overlapping_subscriptions wildcard_rules dollar_rules unsubscribe
        }
    };
}

/// What came with MQTT 3.1.1, or works from there on.
macro_rules! since_v3_1_1 {
    ($version:ident, $qos:literal) => {
        every_version! { $version, $qos }
        cells! { crate::paho::scenarios, $version, $qos:
            shared_subscription assigned_client_identifier
        }
    };
}

/// What MQTT 5 added.
macro_rules! since_v5 {
    ($version:ident, $qos:literal) => {
        since_v3_1_1! { $version, $qos }
        cells! { crate::paho::scenarios_v5, $version, $qos:
            message_expiry message_expiry_in_queue will_delay_passes will_delay_cancelled
            will_at_session_end session_expiry retain_handling no_local retain_as_published
            subscription_identifier user_properties request_response content_description
            topic_alias_from_client topic_alias_to_client maximum_packet_size
            will_properties will_on_disconnect_with_will
        }
    };
}

/// What only acknowledged messages have, in every version.
macro_rules! acknowledged {
    ($version:ident, $qos:literal) => {
        cells! { crate::paho::scenarios, $version, $qos: resend_after_loss }
    };
}

mod v3_1 {
    mod qos0 {
        every_version! { V3_1, 0 }
    }
    mod qos1 {
        every_version! { V3_1, 1 }
        acknowledged! { V3_1, 1 }
    }
    mod qos2 {
        every_version! { V3_1, 2 }
    }
}

mod v3_1_1 {
    mod qos0 {
        since_v3_1_1! { V3_1_1, 0 }
    }
    mod qos1 {
        since_v3_1_1! { V3_1_1, 1 }
        acknowledged! { V3_1_1, 1 }
    }
    mod qos2 {
        since_v3_1_1! { V3_1_1, 2 }
    }
}

mod v5 {
    mod qos0 {
        since_v5! { V5, 0 }
    }
    mod qos1 {
        since_v5! { V5, 1 }
        acknowledged! { V5, 1 }
        cells! { crate::paho::scenarios_v5, V5, 1: receive_maximum }
    }
    mod qos2 {
        since_v5! { V5, 2 }
        cells! { crate::paho::scenarios_v5, V5, 2: receive_maximum }
    }
}
