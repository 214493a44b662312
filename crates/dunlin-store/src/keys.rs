//! The tables and the forms of their keys: numbers are big-endian, so that their order is the
//! order of the keys.
//!
//! | table | key | value |
//! |---|---|---|
//! | `session` | Client Identifier | number of the session, expiry, since when away |
//! | `subscription` | session, Topic Filter | how it was granted |
//! | `queue` | session, number | how the message is delivered, and the message or its number |
//! | `state` | session, number | tentative, taken, Packet Identifier, where that has changed |
//! | `message` | number | a message that several sessions are owed |
//! | `received` | session, Packet Identifier | |
//! | `will` | Client Identifier | the Will |
//! | `underway` | number, Client Identifier | the message |
//! | `retained` | Topic Name | the message, and the number of the change |
//! | `meta` | name | counters |
//! | `damaged` | table, key | a value that could not be read |
//!
//! A key can have 65,535 bytes, a string of MQTT as many beside the rest of a key. A long one is
//! named by a number instead, behind a byte that no string has; the value begins with the string.

use crate::encoding::Damage;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A table: a keyspace of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Table {
    Session,
    Subscription,
    Queue,
    State,
    Message,
    Received,
    Will,
    Underway,
    Retained,
    Meta,
    Damaged,
}

impl Table {
    pub(crate) const ALL: [Self; 11] = [
        Self::Session,
        Self::Subscription,
        Self::Queue,
        Self::State,
        Self::Message,
        Self::Received,
        Self::Will,
        Self::Underway,
        Self::Retained,
        Self::Meta,
        Self::Damaged,
    ];

    /// What a session has under its number, and loses with its end.
    pub(crate) const OF_SESSIONS: [Self; 4] =
        [Self::Subscription, Self::Queue, Self::State, Self::Received];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Subscription => "subscription",
            Self::Queue => "queue",
            Self::State => "state",
            Self::Message => "message",
            Self::Received => "received",
            Self::Will => "will",
            Self::Underway => "underway",
            Self::Retained => "retained",
            Self::Meta => "meta",
            Self::Damaged => "damaged",
        }
    }
}

/// The key of [`Counters`](crate::encoding::Counters).
pub(crate) const COUNTERS: &[u8] = b"counters";

/// Of two numbers.
pub(crate) fn pair(first: u64, second: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// Takes a key of two numbers apart.
pub(crate) fn split_pair(key: &[u8]) -> Result<(u64, u64), Damage> {
    let (first, second) = split_number(key)?;
    let second: [u8; 8] = second.try_into().map_err(|_| Damage::Key)?;
    Ok((first, u64::from_be_bytes(second)))
}

/// Takes the number off the front of a key.
pub(crate) fn split_number(key: &[u8]) -> Result<(u64, &[u8]), Damage> {
    let (number, rest) = key.split_first_chunk::<8>().ok_or(Damage::Key)?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// The key of a QoS 2 exchange.
pub(crate) fn received(session: u64, packet_identifier: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&session.to_be_bytes());
    key[8..].copy_from_slice(&packet_identifier.to_be_bytes());
    key
}

/// The longest string that is put into a key.
const NAME_MAX: usize = 1024;
/// Before the number of a longer one. No UTF-8 string has this byte.
const LONG: u8 = 0xFF;
/// Stands for the empty string, which can't be a whole key.
const EMPTY: u8 = 0xFE;

/// Gives keys to strings, and knows the numbers of the long ones.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By table, the number before the string, and the string.
    long: BTreeMap<(Table, Option<u64>, Bytes), u64>,
    next: u64,
}

/// The key of a row that is named by a string, and what the value has to begin with.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) key: Vec<u8>,
    /// The string, when it is not in the key.
    pub(crate) long: Option<Bytes>,
}

impl Named {
    /// Completes an encoded value.
    pub(crate) fn value(&self, value: Vec<u8>) -> Vec<u8> {
        let Some(name) = &self.long else { return value };
        let mut whole = Vec::with_capacity(4 + name.len() + value.len());
        // A string of MQTT has at most 65,535 bytes.
        whole.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
        whole.extend_from_slice(name);
        whole.extend_from_slice(&value);
        whole
    }
}

impl Names {
    /// The key of what a string names, behind a number or alone.
    pub(crate) fn key(&mut self, table: Table, before: Option<u64>, name: &[u8]) -> Named {
        let mut key = Vec::with_capacity(8 + name.len().min(NAME_MAX) + 8);
        if let Some(before) = before {
            key.extend_from_slice(&before.to_be_bytes());
        }
        if name.is_empty() {
            key.push(EMPTY);
        } else if name.len() <= NAME_MAX {
            key.extend_from_slice(name);
        } else {
            let number = self.number(table, before, name);
            key.push(LONG);
            key.extend_from_slice(&number.to_be_bytes());
            return Named { key, long: Some(Bytes::copy_from_slice(name)) };
        }
        Named { key, long: None }
    }

    /// The number of a long name; it gets one if it has none.
    fn number(&mut self, table: Table, before: Option<u64>, name: &[u8]) -> u64 {
        let place = (table, before, Bytes::copy_from_slice(name));
        if let Some(number) = self.long.get(&place) {
            return *number;
        }
        self.next += 1;
        self.long.insert(place, self.next);
        self.next
    }

    /// Forgets a long name whose row is gone. Does nothing for others.
    pub(crate) fn forget(&mut self, table: Table, before: Option<u64>, name: &[u8]) {
        if name.len() > NAME_MAX {
            self.long.remove(&(table, before, Bytes::copy_from_slice(name)));
        }
    }

    /// Forgets the long names behind a number in a table.
    pub(crate) fn forget_all(&mut self, table: Table, number: u64) {
        let first = (table, Some(number), Bytes::new());
        while let Some((place, _)) = self.long.range(&first..).next()
            && place.0 == table
            && place.1 == Some(number)
        {
            let place = place.clone();
            self.long.remove(&place);
        }
    }

    /// Takes note of a row that is there: gives what it is named by, and its value without that.
    pub(crate) fn found(
        &mut self,
        table: Table,
        before: Option<u64>,
        name: &[u8],
        value: &Bytes,
    ) -> Result<(Bytes, Bytes), Damage> {
        let (name, value, number) = split_name(name, value)?;
        if let Some(number) = number {
            self.next = self.next.max(number);
            self.long.insert((table, before, name.clone()), number);
        }
        Ok((name, value))
    }
}

/// What a row is named by, its value without that, and the number of a long name.
pub(crate) fn split_name(
    name: &[u8],
    value: &Bytes,
) -> Result<(Bytes, Bytes, Option<u64>), Damage> {
    match name {
        [EMPTY] => Ok((Bytes::new(), value.clone(), None)),
        [LONG, number @ ..] => {
            let number = number.try_into().map_err(|_| Damage::Key)?;
            let (len, _) = value.split_first_chunk::<4>().ok_or(Damage::TooShort)?;
            let len = u32::from_be_bytes(*len) as usize;
            let mut rest = value.slice(4..);
            if len > rest.len() {
                return Err(Damage::TooShort);
            }
            let name = rest.split_to(len);
            Ok((name, rest, Some(u64::from_be_bytes(number))))
        }
        name => Ok((Bytes::copy_from_slice(name), value.clone(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_session_forgets_its_long_names_alone() {
        let mut names = Names::default();
        let long = Bytes::from(vec![b'a'; NAME_MAX + 1]);
        let own = names.key(Table::Subscription, Some(5), &long).key;
        let next = names.key(Table::Subscription, Some(6), &long).key;
        let underway = names.key(Table::Underway, Some(5), &long).key;
        names.forget_all(Table::Subscription, 5);
        assert_eq!(names.key(Table::Subscription, Some(6), &long).key, next);
        assert_eq!(names.key(Table::Underway, Some(5), &long).key, underway);
        assert_ne!(names.key(Table::Subscription, Some(5), &long).key, own);
    }
}
