//! Matching for MQTT: from a Topic Name to everybody who subscribed, from a Topic Filter to all
//! retained names, and Shared Subscription groups. No packets, no sockets, no `std`.
//!
//! | | |
//! |---|---|
//! | [`FilterIndex`] | Topic Filters; asked with the Topic Name of each PUBLISH |
//! | [`Recipients`], [`MatchCache`] | the answer with overlapping subscriptions merged, and a memory for names that come again |
//! | [`Group`] | a Shared Subscription and its members |
//! | [`NameIndex`] | Topic Names; asked with the Topic Filter of each SUBSCRIBE, page by page |
//! | [`mod@reference`], [`topic_matches`] | one filter against one name |
//!
//! ```
//! use dunlin_topics::{FilterIndex, MatchCache, NameIndex, Subscription};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Options {
//!     qos: u8,
//! }
//!
//! impl Subscription for Options {
//!     fn merge(&mut self, other: &Self) {
//!         self.qos = self.qos.max(other.qos);
//!     }
//! }
//!
//! let seed = 0x5eed; // a random one in the field
//! let (hall, roof) = (1_u32, 2_u32); // two sessions
//! let mut index = FilterIndex::new(seed);
//! index.insert("hall/+/state", hall, Options { qos: 0 });
//! index.insert("hall/#", hall, Options { qos: 1 });
//! index.insert("#", roof, Options { qos: 0 });
//! index.insert_shared("loggers", "+/door/#", roof, Options { qos: 2 });
//!
//! // A PUBLISH to hall/door/state: each subscriber once, with the highest QoS it asked for.
//! let mut cache = MatchCache::new(seed, 10_000, 8 << 20);
//! let recipients = cache.recipients(&index, "hall/door/state");
//! let expected = [(hall, Options { qos: 1 }), (roof, Options { qos: 0 })];
//! assert_eq!(recipients.subscribers(), expected);
//! let group = index.group(recipients.groups()[0]).unwrap();
//! assert_eq!((group.share_name(), group.len()), ("loggers", 1));
//!
//! // A SUBSCRIBE: which retained messages does it get?
//! let mut retained = NameIndex::new();
//! retained.insert("hall/door/state", "open");
//! retained.insert("hall/lamp/state", "on");
//! retained.insert("$SYS/broker/uptime", "1 s");
//! let mut found = Vec::new();
//! retained.for_each_match("+/+/state", |topic_name, payload| found.push((topic_name, *payload)));
//! assert_eq!(found, [("hall/door/state", "open"), ("hall/lamp/state", "on")]);
//! ```
//!
//! # Cost
//! A match allocates nothing. It takes one probe for the filters without wildcards, then visits
//! the trie nodes of those filters with wildcards that agree with the name so far; neither depth
//! nor width of the topic tree costs anything beyond that, and nothing recurses. A subscription
//! that is the only one on its filter takes one table entry or one to two nodes.
//!
//! # Determinism
//! Tables hash with the seed that the constructor gets. All orders in which results come depend
//! on the operations before alone, not on the seed.
//!
//! # Features
//! `std` (default) adds nothing yet; the crate needs only `alloc`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
mod filter_index;
#[doc(hidden)]
pub mod fuzzing;
mod levels;
mod list;
mod match_cache;
mod members;
mod name_index;
mod recipients;
pub mod reference;
mod seed;
mod shared;
mod slots;
mod text;
mod trie;

pub use filter_index::{FilterIndex, Match, Statistics};
pub use levels::topic_matches;
pub use match_cache::{Lookup, MatchCache};
pub use members::MembersIter;
pub use name_index::{FreePlace, NameIndex, Page, PageLimit, Place};
pub use recipients::{Recipients, Subscription};
pub use shared::{Group, GroupId, GroupName};

/// Gives memory back once a table is less than a quarter full.
fn shrink_table<T>(table: &mut hashbrown::HashTable<T>, hasher: impl Fn(&T) -> u64) {
    if table.capacity() > 16 && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2, hasher);
    }
}
