//! CONNECT: a Client asks for a connection. Spec: §3.1.

use super::{MessageProperties, UserProperties};
use crate::{ProtocolVersion, QoS, Text, TopicName};
use bytes::Bytes;

/// A Client asks for a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the whole connection speaks.
    pub protocol_version: ProtocolVersion,
    /// Whether this is a bridge of another server: bit 7 of the version byte, a convention that
    /// Mosquitto's bridges use with MQTT 3.x.
    pub bridge: bool,
    /// Start with a new Session (Clean Session in MQTT 3.x).
    pub clean_start: bool,
    /// Seconds within which the Client promises to send something; 0 turns it off.
    pub keep_alive: u16,
    /// Names the Session; empty asks the Server to choose.
    pub client_identifier: Text,
    /// What to publish should the connection end without DISCONNECT.
    pub will: Option<Will>,
    /// The user's name.
    pub user_name: Option<Text>,
    /// The password, any bytes. MQTT 3.x has it only beside a User Name [MQTT3-3.1.2-22].
    pub password: Option<Bytes>,
    /// The properties.
    pub properties: ConnectProperties,
}

/// Never shows the password.
impl core::fmt::Debug for Connect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connect")
            .field("protocol_version", &self.protocol_version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_identifier", &self.client_identifier)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("properties", &self.properties)
            .finish()
    }
}

/// The properties of a CONNECT. Spec: §3.1.2.11. `None` means absent, with the default that the
/// standard gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds that the Session outlives the connection; 0 when absent, 0xFFFFFFFF is for ever.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 messages the Client takes at once; 65,535 when absent, never zero.
    pub receive_maximum: Option<u16>,
    /// Bytes of the largest packet that the Client takes; unlimited when absent, never zero.
    pub maximum_packet_size: Option<u32>,
    /// The highest Topic Alias that the Client takes; 0 when absent.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the Client asks for Response Information.
    pub request_response_information: Option<bool>,
    /// Whether Reason String and User Properties may come with any packet; yes when absent.
    pub request_problem_information: Option<bool>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// The name of the authentication method; its presence asks for enhanced authentication.
    pub authentication_method: Option<Text>,
    /// What the authentication method exchanges.
    pub authentication_data: Option<Bytes>,
}

/// The Will Message. Spec: §3.1.2.5, §3.1.3.2 to §3.1.3.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic_name: TopicName,
    /// Its payload.
    pub payload: Bytes,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// The properties.
    pub properties: WillProperties,
}

/// The properties of a Will. Spec: §3.1.3.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WillProperties {
    /// Seconds between the end of the connection and the Will; 0 when absent.
    pub will_delay_interval: Option<u32>,
    /// Seconds that the message is worth delivering once published.
    pub message_expiry_interval: Option<u32>,
    /// What receivers get unaltered.
    pub message: MessageProperties,
}
