//! Queues that keep the last message of each Topic Name: which message may have replaced another.

use super::Judge;
use super::messages::Record;
use super::moment::Moment;
use super::names::TopicId;
use super::room::takes_room;
use crate::history::ConnectionId;
use dunlin_broker::QueuePolicy;
use dunlin_codec::QoS;
use dunlin_protocol::Instant;

/// The messages of a Topic Name that have no number and take room in queues: a stranger's, and those
/// that remove what is retained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unnumbered {
    /// When one was last taken, or answered: then it is in all queues.
    last: Moment,
    /// Until when one may have been queued that nobody answers.
    unanswered_until: Instant,
}

impl Judge {
    /// A message without a number is taken or answered.
    pub(super) fn note_unnumbered(&mut self, topic: TopicId, qos: QoS) {
        if !takes_room(qos, &self.rules.limits) {
            return;
        }
        let moment = self.moment;
        let unnumbered = self.unnumbered.entry(topic).or_default();
        unnumbered.last = moment;
        if qos == QoS::AtMostOnce {
            unnumbered.unanswered_until = moment.at + self.rules.lateness;
        }
    }

    /// Nobody is answered on this connection any more: what was taken from it may still be on its
    /// way to other workers.
    pub(super) fn leave_unnumbered(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let until = self.moment.at + self.rules.lateness;
        for publishing in connection.publishes.values().filter(|left| left.number.is_none()) {
            self.unnumbered.entry(publishing.topic).or_default().unanswered_until = until;
        }
    }

    /// Whether a queue that keeps the last message of each Topic Name may have dropped this one:
    /// another one came later, or nobody knows which of them did.
    pub(super) fn may_be_replaced(&self, number: u64, record: &Record) -> bool {
        let limits = &self.rules.limits;
        if limits.queue_policy != QueuePolicy::KeepLast {
            return false;
        }
        let begun = record.begun.unwrap_or(record.last_taken);
        let by_unnumbered = self.unnumbered.get(&record.topic).is_some_and(|unnumbered| {
            unnumbered.last >= begun || unnumbered.unanswered_until >= begun.at
        });
        by_unnumbered
            || self.messages.iter().any(|(other_number, other)| {
                *other_number != number
                    && other.topic == record.topic
                    && other.takes_room(limits)
                    && (other.last_taken >= begun
                        || other.settled.is_none_or(|settled| settled >= begun))
            })
    }
}
