//! What the changes of a Session add up to.

use super::{InvalidChange, SessionChange, StoredMessage};
use dunlin_protocol::codec::{PacketIdentifier, QoS, Text};
use std::collections::{BTreeMap, BTreeSet};

/// A client's Session as a store holds it: what all changes since its beginning add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSession {
    client_identifier: Option<Text>,
    /// By their numbers, so in the order in which they were handed over, and are sent.
    messages: BTreeMap<u64, StoredExchange>,
    numbers: BTreeMap<PacketIdentifier, u64>,
    received: BTreeSet<PacketIdentifier>,
}

/// Where a message of the client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredExchange {
    /// It waits to be sent.
    Queued(StoredMessage),
    /// It was sent, or is about to be, and the Server is not known to have it.
    Sent(StoredMessage, PacketIdentifier),
    /// QoS 2: the Server has it, and owes the completion.
    Taken(PacketIdentifier),
}

impl StoredSession {
    /// A Session to which nothing has happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose Session it is, once that is known.
    pub const fn client_identifier(&self) -> Option<&Text> {
        self.client_identifier.as_ref()
    }

    /// The client's own messages, each with its number, in the order of sending.
    pub fn messages(&self) -> impl Iterator<Item = (u64, &StoredExchange)> {
        self.messages.iter().map(|(number, exchange)| (*number, exchange))
    }

    /// The Packet Identifiers of the Server's QoS 2 messages that the application has acknowledged
    /// and the Server has not released.
    pub fn received(&self) -> impl Iterator<Item = PacketIdentifier> + '_ {
        self.received.iter().copied()
    }

    /// Whether nothing is under way in either direction.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.received.is_empty()
    }

    /// A change happens.
    ///
    /// # Errors
    /// [`InvalidChange`] when it cannot: it speaks of what is not there, or not in that state. The
    /// Session is as before then.
    pub fn apply(&mut self, change: &SessionChange) -> Result<(), InvalidChange> {
        match change {
            SessionChange::Named(client_identifier) => {
                self.client_identifier = Some(client_identifier.clone());
            }
            SessionChange::Queued { number, message } => {
                let is_last = self.messages.last_key_value().is_none_or(|(last, _)| last < number);
                if !is_last || message.message.qos == QoS::AtMostOnce {
                    return Err(InvalidChange);
                }
                self.messages.insert(*number, StoredExchange::Queued(message.clone()));
            }
            SessionChange::Sent { number, packet_identifier } => {
                let exchange = self.messages.get_mut(number).ok_or(InvalidChange)?;
                let StoredExchange::Queued(message) = exchange else { return Err(InvalidChange) };
                if self.numbers.contains_key(packet_identifier) {
                    return Err(InvalidChange);
                }
                *exchange = StoredExchange::Sent(message.clone(), *packet_identifier);
                self.numbers.insert(*packet_identifier, *number);
            }
            SessionChange::Taken { number, packet_identifier } => {
                let is_known = self.numbers.get(packet_identifier) == Some(number);
                // A store that was compacted knows nothing of the message but this.
                let is_first = !self.numbers.contains_key(packet_identifier)
                    && !self.messages.contains_key(number);
                if !is_known && !is_first {
                    return Err(InvalidChange);
                }
                self.messages.insert(*number, StoredExchange::Taken(*packet_identifier));
                self.numbers.insert(*packet_identifier, *number);
            }
            SessionChange::Settled { packet_identifier } => {
                let number = self.numbers.remove(packet_identifier).ok_or(InvalidChange)?;
                self.messages.remove(&number);
            }
            SessionChange::Dropped { number } => match self.messages.get(number) {
                Some(StoredExchange::Queued(_)) => {
                    self.messages.remove(number);
                }
                _ => return Err(InvalidChange),
            },
            SessionChange::Received { packet_identifier } => {
                self.received.insert(*packet_identifier);
            }
            SessionChange::Released { packet_identifier } => {
                self.received.remove(packet_identifier);
            }
            SessionChange::Lost => self.lose(),
        }
        Ok(())
    }

    fn lose(&mut self) {
        self.numbers.clear();
        self.received.clear();
        self.messages.retain(|_, exchange| !matches!(exchange, StoredExchange::Taken(_)));
        for exchange in self.messages.values_mut() {
            if let StoredExchange::Sent(message, _) = exchange {
                *exchange = StoredExchange::Queued(message.clone());
            }
        }
    }

    /// The changes that make this Session out of a new one: all that a compacted store needs.
    pub fn changes(&self) -> impl Iterator<Item = SessionChange> + '_ {
        let named = self.client_identifier.iter().cloned().map(SessionChange::Named);
        let messages = self.messages.iter().flat_map(|(&number, exchange)| match exchange {
            StoredExchange::Queued(message) => {
                [Some(SessionChange::Queued { number, message: message.clone() }), None]
            }
            StoredExchange::Sent(message, packet_identifier) => {
                let packet_identifier = *packet_identifier;
                [
                    Some(SessionChange::Queued { number, message: message.clone() }),
                    Some(SessionChange::Sent { number, packet_identifier }),
                ]
            }
            StoredExchange::Taken(packet_identifier) => {
                let packet_identifier = *packet_identifier;
                [Some(SessionChange::Taken { number, packet_identifier }), None]
            }
        });
        let received = self
            .received
            .iter()
            .map(|&packet_identifier| SessionChange::Received { packet_identifier });
        named.chain(messages.flatten()).chain(received)
    }
}

#[cfg(test)]
mod tests;
