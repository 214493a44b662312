//! Whole exchanges that checks make on the way to what they look at.

use super::Peer;
use crate::packets::delivery;
use crate::{Stop, failed, message, subscribe, subscription};
use bytes::Bytes;
use dunlin_codec::{
    Ack, Delivery, Disconnect, Packet, Publish, QoS, ReasonCode, SubAck, Subscription, TopicFilter,
    TopicName, UnsubAck, Unsubscribe, UnsubscribeProperties,
};

impl Peer {
    /// Subscribes, and gives the SUBACK when it grants the subscription.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is refused.
    pub fn subscribe(
        &mut self,
        topic_filter: &TopicFilter,
        maximum_qos: QoS,
    ) -> Result<SubAck, Stop> {
        self.subscribe_to([subscription(topic_filter, maximum_qos)])
    }

    /// The same with any subscriptions.
    ///
    /// # Errors
    /// [`Stop::Failed`] when one is refused.
    pub fn subscribe_to(
        &mut self,
        subscriptions: impl Into<Vec<Subscription>>,
    ) -> Result<SubAck, Stop> {
        let packet_identifier = self.new_packet_identifier();
        self.send(subscribe(packet_identifier, subscriptions));
        let suback = self.expect_suback(packet_identifier)?;
        match suback.reason_codes.iter().find(|reason_code| reason_code.is_error()) {
            Some(reason_code) => failed(format!("a subscription is refused: {reason_code}")),
            None => Ok(*suback),
        }
    }

    /// Unsubscribes, and gives the UNSUBACK when it says that it did.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is refused.
    pub fn unsubscribe(&mut self, topic_filter: &TopicFilter) -> Result<UnsubAck, Stop> {
        let packet_identifier = self.new_packet_identifier();
        self.send(Unsubscribe {
            packet_identifier,
            properties: UnsubscribeProperties::default(),
            topic_filters: vec![topic_filter.clone()],
        });
        let unsuback = self.expect_unsuback(packet_identifier)?;
        match unsuback.reason_codes.iter().find(|reason_code| reason_code.is_error()) {
            Some(reason_code) => failed(format!("unsubscribing is refused: {reason_code}")),
            None => Ok(*unsuback),
        }
    }

    /// Publishes, up to the last acknowledgement.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is refused or an acknowledgement does not come.
    pub fn publish(
        &mut self,
        topic_name: &TopicName,
        qos: QoS,
        payload: impl Into<Bytes>,
    ) -> Result<(), Stop> {
        self.publish_message(message(topic_name, payload), qos)
    }

    /// The same with any message, whose delivery is replaced by one of this QoS.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is refused or an acknowledgement does not come.
    pub fn publish_message(&mut self, publish: Publish, qos: QoS) -> Result<(), Stop> {
        let packet_identifier = self.new_packet_identifier();
        self.send(Publish { delivery: delivery(qos, packet_identifier), ..publish });
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => taken(&self.expect_puback(packet_identifier)?),
            QoS::ExactlyOnce => {
                taken(&self.expect_pubrec(packet_identifier)?)?;
                self.send(Packet::PubRel(Ack::new(packet_identifier, ReasonCode::Success)));
                taken(&self.expect_pubcomp(packet_identifier)?)
            }
        }
    }

    /// Acknowledges a message as its QoS asks, up to the last packet.
    ///
    /// # Errors
    /// [`Stop::Failed`] when PUBREL does not come.
    pub fn acknowledge(&mut self, publish: &Publish) -> Result<(), Stop> {
        let ack = |packet_identifier| Ack::new(packet_identifier, ReasonCode::Success);
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_identifier, .. } => {
                self.send(Packet::PubAck(ack(packet_identifier)));
            }
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                self.send(Packet::PubRec(ack(packet_identifier)));
                self.expect_pubrel(packet_identifier)?;
                self.send(Packet::PubComp(ack(packet_identifier)));
            }
        }
        Ok(())
    }

    /// A message with this payload, acknowledged.
    ///
    /// # Errors
    /// [`Stop::Failed`] when another comes, or none.
    pub fn expect_message(&mut self, payload: impl AsRef<[u8]>) -> Result<Publish, Stop> {
        let publish = self.expect_publish()?;
        self.acknowledge(&publish)?;
        if publish.payload == payload.as_ref() {
            return Ok(publish);
        }
        let (expected, came) =
            (String::from_utf8_lossy(payload.as_ref()), String::from_utf8_lossy(&publish.payload));
        failed(format!("the message {expected:?} expected; what comes is {came:?}"))
    }

    /// A round trip: PINGREQ and PINGRESP.
    ///
    /// # Errors
    /// [`Stop::Failed`] when PINGRESP does not come.
    pub fn ping(&mut self) -> Result<(), Stop> {
        self.send(Packet::PingReq);
        self.expect_pingresp()
    }

    /// Ends the connection as a Client should, and waits until the other end has closed it.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it stays open.
    pub fn disconnect(mut self) -> Result<(), Stop> {
        self.send(Disconnect::new(ReasonCode::Success));
        self.finish_sending();
        self.expect_closed().map(drop)
    }
}

/// The acknowledgement is not a refusal.
fn taken(ack: &Ack) -> Result<(), Stop> {
    if ack.reason_code.is_error() {
        return failed(format!("the message is refused: {}", ack.reason_code));
    }
    Ok(())
}
