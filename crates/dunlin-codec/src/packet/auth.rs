//! AUTH: a step of enhanced authentication, MQTT 5.0 only. Spec: §3.15, §4.12.

use super::UserProperties;
use crate::{ReasonCode, Text};
use bytes::Bytes;

/// A step of enhanced authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate [MQTT-3.15.2-1].
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: AuthProperties,
}

/// The properties of an AUTH. Spec: §3.15.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthProperties {
    /// The name of the method; a Protocol Error when missing, unless the packet is empty.
    pub authentication_method: Option<Text>,
    /// What the method exchanges.
    pub authentication_data: Option<Bytes>,
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}
