//! What was published, acknowledged and received, and what is wrong with it.

mod books;
mod history;
mod interval;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dunlin_client::QoS;

use self::books::Books;
pub(crate) use self::history::Delivery;

/// A broken promise, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Acknowledged, and not delivered to one to whom it was owed.
    Lost,
    /// Delivered twice at QoS 2.
    Doubled,
    /// Delivered for the first time after a later one of its publisher, Topic Name and QoS.
    OutOfOrder,
    /// Delivered though its publish began after the UNSUBACK.
    Unasked,
    /// Session Present was 0 though the Session had been confirmed.
    SessionLost,
    /// A retained message is older than the last that was acknowledged.
    RetainedOlder,
    /// Another payload than was published.
    Corrupt,
    /// A Will of a Client whose Session goes on was not published.
    WillLost,
    /// A Will was published twice.
    WillDoubled,
    /// Something does not come to an end.
    Stuck,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Lost,
        Self::Doubled,
        Self::OutOfOrder,
        Self::Unasked,
        Self::SessionLost,
        Self::RetainedOlder,
        Self::Corrupt,
        Self::WillLost,
        Self::WillDoubled,
        Self::Stuck,
    ];

    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::OutOfOrder => "out of order",
            Self::Unasked => "unasked",
            Self::SessionLost => "sessions lost",
            Self::RetainedOlder => "retained older",
            Self::Corrupt => "corrupt",
            Self::WillLost => "Wills lost",
            Self::WillDoubled => "Wills doubled",
            Self::Stuck => "stuck",
        }
    }
}

/// How a publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    Refused,
}

/// What a receiver has subscribed to: all streams, or those of one publisher, or those of one
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) publisher: Option<usize>,
    pub(crate) number: Option<usize>,
}

impl Wanted {
    pub(crate) fn topic_filter(self) -> String {
        match (self.publisher, self.number) {
            (None, None) => "c/#".to_owned(),
            (publisher, number) => {
                let level = |level: Option<usize>| level.map_or("+".to_owned(), |n| n.to_string());
                format!("c/{}/{}", level(publisher), level(number))
            }
        }
    }

    pub(crate) fn matches(self, publisher: usize, number: usize) -> bool {
        self.publisher.is_none_or(|wanted| wanted == publisher)
            && self.number.is_none_or(|wanted| wanted == number)
    }
}

/// The messages of one publisher and Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream(pub(crate) usize);

/// One subscriber, or one group of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Receiver(pub(crate) usize);

/// Sums of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) acknowledged: [u64; 3],
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    /// Delivered once more at QoS 1, which is allowed.
    pub(crate) repeated: u64,
    /// Taken for lost, and delivered after all.
    pub(crate) late: u64,
    pub(crate) retained_acknowledged: u64,
    pub(crate) wills: u64,
    pub(crate) findings: BTreeMap<Kind, u64>,
    /// The first of each kind, with its history.
    pub(crate) first: BTreeMap<Kind, String>,
}

/// The ledger that all clients write to.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an account for the messages of one publisher and Topic Name.
    pub(crate) fn add_stream(&self, publisher: usize, number: usize, qos: QoS) -> Stream {
        self.books().add_stream(publisher, number, qos)
    }

    /// Opens an account for a subscriber; of a group the order is not looked at.
    pub(crate) fn add_receiver(
        &self,
        name: &str,
        wanted: Wanted,
        qos: QoS,
        in_order: bool,
    ) -> Receiver {
        self.books().add_receiver(name, wanted, qos, in_order)
    }

    /// SUBSCRIBE is about to be sent.
    pub(crate) fn subscribing(&self, receiver: Receiver) {
        self.books().subscribing(receiver);
    }

    /// SUBACK has come.
    pub(crate) fn subscribed(&self, receiver: Receiver) {
        self.books().subscribed(receiver);
    }

    /// UNSUBSCRIBE is about to be sent: from here on nothing is owed any more.
    pub(crate) fn unsubscribing(&self, receiver: Receiver) {
        self.books().unsubscribing(receiver);
    }

    /// UNSUBACK has come.
    pub(crate) fn unsubscribed(&self, receiver: Receiver) {
        self.books().unsubscribed(receiver);
    }

    /// A publish begins; gives its number in the stream.
    pub(crate) fn begin(&self, stream: Stream) -> u64 {
        self.books().begin(stream)
    }

    /// A publish has ended.
    pub(crate) fn end(&self, stream: Stream, sequence: u64, outcome: Outcome) {
        self.books().end(stream, sequence, outcome);
    }

    /// A message was received.
    pub(crate) fn receive(&self, receiver: Receiver, delivery: Delivery) {
        self.books().receive(receiver, delivery);
    }

    /// How many publishes have no outcome yet.
    pub(crate) fn pending(&self) -> usize {
        self.books().pending()
    }

    /// How many deliveries are owed and have not come, and how many have come in all.
    pub(crate) fn missing(&self) -> (u64, u64) {
        let books = self.books();
        (books.missing(), books.totals.delivered)
    }

    /// What is owed now and has not come is lost; closes the accounts of all that has ended.
    pub(crate) fn settle(&self) {
        self.books().settle();
    }

    /// Something happened to the broker or to a client, for the history.
    pub(crate) fn happened(&self, what: impl Into<String>) {
        self.books().history.happened(what.into());
    }

    /// What happened last to the broker and to clients with these names.
    pub(crate) fn latest(&self, names: &[String]) -> String {
        self.books().history.latest(names)
    }

    /// A promise was broken that is judged elsewhere.
    pub(crate) fn finding(&self, kind: Kind, what: &str) {
        self.books().finding(kind, what);
    }

    /// A retained message was acknowledged.
    pub(crate) fn retained_acknowledged(&self) {
        self.books().totals.retained_acknowledged += 1;
    }

    /// A Will was received.
    pub(crate) fn will_received(&self) {
        self.books().totals.wills += 1;
    }

    /// The sums so far.
    pub(crate) fn totals(&self) -> Totals {
        self.books().totals.clone()
    }
}
