//! DISCONNECT: the last packet of a connection. Spec: §3.14.

use super::UserProperties;
use crate::{ReasonCode, Text};

/// The last packet of a connection. MQTT 3.x: only from the Client, without content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: DisconnectProperties,
}

/// The properties of a DISCONNECT. Spec: §3.14.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties {
    /// From a Client: seconds that the Session outlives the connection, when not as in CONNECT.
    pub session_expiry_interval: Option<u32>,
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// From a Server: another server to use.
    pub server_reference: Option<Text>,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    pub fn new(reason_code: ReasonCode) -> Self {
        Self { reason_code, properties: DisconnectProperties::default() }
    }
}
