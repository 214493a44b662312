//! The layout of everything that is stored: a version byte, a header of fixed form, then strings
//! and properties with their lengths in front.
//!
//! Reading trusts nothing: any bytes at all give a value or a [`Damage`].

mod bytes;
mod message;
mod queued;
mod rows;
mod subject;

pub use self::bytes::Damage;
pub(crate) use self::bytes::Reader;
pub(crate) use message::{OVERHEAD, put_message, take_message};
pub(crate) use queued::{Content, Queued, QueuedHeader};
pub(crate) use rows::{
    Counters, RetainedRow, SessionRow, State, StoredSession, SubscriptionRow, UnderwayRow, WillRow,
    decode_message, encode_message, encode_received,
};
pub(crate) use subject::{put_subject, take_subject};

#[cfg(test)]
mod tests;
