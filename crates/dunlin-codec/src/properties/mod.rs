//! The properties of MQTT 5.0: which exist, and which packet has which. Spec: §2.2.2.
//!
//! One table declares for each packet which field holds which property; reading, measuring and
//! writing follow from it, and the type of the field says how its value looks on the wire.

mod property;
mod value;

pub use property::Property;

use crate::decode::Reader;
use crate::encode::{put_variable_byte_integer, variable_byte_integer_len};
use crate::packet::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    MessageProperties, SubAckProperties, SubscribeProperties, UnsubscribeProperties,
    WillProperties,
};
use crate::{DecodeError, ProtocolVersion, TransmitBuf};
pub(crate) use value::{PropertyField, PropertyValue};

/// Properties that are read one by one.
pub(crate) trait ReadProperties {
    /// What the properties belong to, for messages.
    const PLACE: &'static str;

    /// Reads the value of `property` into its field.
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), DecodeError>;

    /// Checks the rules that span several properties, once all are read.
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Properties that are measured and written.
pub(crate) trait WriteProperties {
    /// Bytes of all properties, without the length in front of them.
    fn encoded_len(&self) -> usize;

    /// Appends all properties, without the length in front of them.
    fn write(&self, out: &mut TransmitBuf);
}

macro_rules! property_sets {
    ($($set:ident of $place:literal {
        $($field:ident: $property:ident,)*
        $(..$nested:ident,)?
        $(=> $check:path,)?
    })*) => {
        $(impl ReadProperties for $set {
            const PLACE: &'static str = $place;

            fn read(
                &mut self,
                property: Property,
                reader: &mut Reader<'_>,
            ) -> Result<(), DecodeError> {
                match property {
                    $(Property::$property => self.$field.read(property, reader),)*
                    $(_ if self.$nested.has(property) => self.$nested.read(property, reader),)?
                    _ => Err(DecodeError::PropertyMisplaced(property, Self::PLACE)),
                }
            }

            $(fn check(&self) -> Result<(), DecodeError> {
                $check(self)
            })?
        }

        impl WriteProperties for $set {
            fn encoded_len(&self) -> usize {
                0 $(+ self.$field.encoded_len(Property::$property))* $(+ self.$nested.encoded_len())?
            }

            fn write(&self, out: &mut TransmitBuf) {
                $(self.$field.write(Property::$property, out);)*
                $(self.$nested.write(out);)?
            }
        })*
    };
}

property_sets! {
    ConnectProperties of "CONNECT" {
        session_expiry_interval: SessionExpiryInterval,
        receive_maximum: ReceiveMaximum,
        maximum_packet_size: MaximumPacketSize,
        topic_alias_maximum: TopicAliasMaximum,
        request_response_information: RequestResponseInformation,
        request_problem_information: RequestProblemInformation,
        user_properties: UserProperty,
        authentication_method: AuthenticationMethod,
        authentication_data: AuthenticationData,
        => ConnectProperties::check_authentication,
    }
    WillProperties of "a Will" {
        will_delay_interval: WillDelayInterval,
        message_expiry_interval: MessageExpiryInterval,
        ..message,
    }
    MessageProperties of "PUBLISH" {
        payload_format_indicator: PayloadFormatIndicator,
        content_type: ContentType,
        response_topic: ResponseTopic,
        correlation_data: CorrelationData,
        user_properties: UserProperty,
    }
    ConnAckProperties of "CONNACK" {
        session_expiry_interval: SessionExpiryInterval,
        receive_maximum: ReceiveMaximum,
        maximum_qos: MaximumQoS,
        retain_available: RetainAvailable,
        maximum_packet_size: MaximumPacketSize,
        assigned_client_identifier: AssignedClientIdentifier,
        topic_alias_maximum: TopicAliasMaximum,
        reason_string: ReasonString,
        user_properties: UserProperty,
        wildcard_subscription_available: WildcardSubscriptionAvailable,
        subscription_identifiers_available: SubscriptionIdentifiersAvailable,
        shared_subscription_available: SharedSubscriptionAvailable,
        server_keep_alive: ServerKeepAlive,
        response_information: ResponseInformation,
        server_reference: ServerReference,
        authentication_method: AuthenticationMethod,
        authentication_data: AuthenticationData,
        => ConnAckProperties::check_authentication,
    }
    AckProperties of "PUBACK, PUBREC, PUBREL or PUBCOMP" {
        reason_string: ReasonString,
        user_properties: UserProperty,
    }
    SubscribeProperties of "SUBSCRIBE" {
        subscription_identifier: SubscriptionIdentifier,
        user_properties: UserProperty,
    }
    SubAckProperties of "SUBACK or UNSUBACK" {
        reason_string: ReasonString,
        user_properties: UserProperty,
    }
    UnsubscribeProperties of "UNSUBSCRIBE" {
        user_properties: UserProperty,
    }
    DisconnectProperties of "DISCONNECT" {
        session_expiry_interval: SessionExpiryInterval,
        reason_string: ReasonString,
        user_properties: UserProperty,
        server_reference: ServerReference,
    }
    AuthProperties of "AUTH" {
        authentication_method: AuthenticationMethod,
        authentication_data: AuthenticationData,
        reason_string: ReasonString,
        user_properties: UserProperty,
        => AuthProperties::check_method,
    }
}

impl ConnectProperties {
    fn check_authentication(&self) -> Result<(), DecodeError> {
        data_needs_method(self.authentication_data.is_some(), self.authentication_method.is_some())
    }
}

impl ConnAckProperties {
    fn check_authentication(&self) -> Result<(), DecodeError> {
        data_needs_method(self.authentication_data.is_some(), self.authentication_method.is_some())
    }
}

impl AuthProperties {
    /// Whoever sends properties has to name the method as well.
    fn check_method(&self) -> Result<(), DecodeError> {
        match self.authentication_method {
            Some(_) => Ok(()),
            None => Err(DecodeError::AuthenticationMethodMissing),
        }
    }
}

const fn data_needs_method(data: bool, method: bool) -> Result<(), DecodeError> {
    if data && !method { Err(DecodeError::AuthenticationDataWithoutMethod) } else { Ok(()) }
}

/// Reads the properties of a packet with their length in front of them.
pub(crate) fn read_properties<P: ReadProperties>(
    reader: &mut Reader<'_>,
    set: &mut P,
) -> Result<(), DecodeError> {
    let len = reader.variable_byte_integer()?;
    let mut section = reader.section(len).ok_or(DecodeError::PropertyLength)?;
    let (mut user_properties, mut user_property_bytes) = (0, 0);
    while !section.is_empty() {
        let identifier = section.variable_byte_integer()?;
        let property = Property::new(identifier).ok_or(DecodeError::PropertyUnknown(identifier))?;
        if property != Property::UserProperty {
            set.read(property, &mut section)?;
            continue;
        }
        user_properties += 1;
        section.limits().check_user_properties(user_properties, user_property_bytes)?;
        let before = section.remaining();
        set.read(property, &mut section)?;
        // Without the two lengths.
        user_property_bytes += (before - section.remaining()) as u32 - 4;
        section.limits().check_user_properties(user_properties, user_property_bytes)?;
    }
    set.check()
}

/// Reads the properties of a packet of `version` into `set`; MQTT 3.x has none.
#[inline]
pub(crate) fn read_properties_of<P: ReadProperties>(
    reader: &mut Reader<'_>,
    version: ProtocolVersion,
    set: &mut P,
) -> Result<(), DecodeError> {
    // No rule that is checked at the end of them asks for one.
    if version.is_v5() && !reader.skip_zero() {
        read_properties(reader, set)?;
    }
    Ok(())
}

/// A measured property set, ready to be written. MQTT 3.x has none.
pub(crate) struct Section<'a, P> {
    set: &'a P,
    /// Bytes of the properties; `None` where the version has no properties at all.
    len: Option<usize>,
}

impl<'a, P: WriteProperties> Section<'a, P> {
    #[inline]
    pub(crate) fn new(set: &'a P, version: ProtocolVersion) -> Self {
        Self { set, len: version.is_v5().then(|| set.encoded_len()) }
    }

    /// Whether there is no property to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.is_none_or(|len| len == 0)
    }

    /// Bytes with the length in front [MQTT-2.2.2-1].
    pub(crate) fn encoded_len(&self) -> usize {
        self.len.map_or(0, |len| variable_byte_integer_len(len) + len)
    }

    pub(crate) fn write(&self, out: &mut TransmitBuf) {
        if let Some(len) = self.len {
            put_variable_byte_integer(out, len);
            if len != 0 {
                self.set.write(out);
            }
        }
    }
}

impl MessageProperties {
    /// Whether `property` is one of these.
    const fn has(&self, property: Property) -> bool {
        matches!(
            property,
            Property::PayloadFormatIndicator
                | Property::ContentType
                | Property::ResponseTopic
                | Property::CorrelationData
                | Property::UserProperty
        )
    }
}
