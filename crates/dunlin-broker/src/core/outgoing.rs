//! A message on its way to sessions.

use super::durability::Durability;
use super::forward::{Turn, WhenFull};
use super::given::{Given, GivenTo};
use super::names::TopicNames;
use super::shared::ChosenMembers;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{QoS, TopicName};
use dunlin_topics::Lookup;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

/// A message on its way to sessions: borrowed from the input while it is only passed on, copied
/// once when the first receiver has to keep it.
pub(super) struct Outgoing<'a> {
    pub(super) message: &'a Message,
    /// Whether sessions that are stored owe it tentatively. See `Record::Confirmed`.
    pub(super) is_tentative: bool,
    /// When it was taken, if it is known what becomes of it.
    pub(super) turn: Option<Turn>,
    /// What becomes of it where a queue is full.
    pub(super) when_full: WhenFull,
    /// What its acknowledgement means.
    pub(super) durability: Durability,
    /// Those who have it since it came the last time.
    pub(super) given: Option<Arc<Given>>,
    /// By which request of the cache its recipients were found.
    pub(super) lookup: Cell<Option<Lookup>>,
    /// Whom it goes to of the groups that it is for. They are chosen once, before anybody is busier
    /// by this message: then those get it who were asked whether they have room for it.
    pub(super) members: OnceCell<ChosenMembers>,
    /// The Topic Name in memory of its own, when it was found before.
    topic_name: Option<TopicName>,
    kept: OnceCell<Arc<Message>>,
    /// Connections that it was sent to at once.
    sent: Cell<usize>,
}

/// A message has many receivers after so many.
pub(super) const MANY: usize = 8;

impl<'a> Outgoing<'a> {
    pub(super) const fn borrowed(message: &'a Message) -> Self {
        Self::new(message, None, OnceCell::new())
    }

    /// A message that somebody will probably have to keep.
    pub(super) fn to_be_kept(message: &'a Message, names: &mut TopicNames) -> Self {
        let topic_name = Some(names.keep(&message.topic_name));
        Self::new(message, topic_name, OnceCell::new())
    }

    pub(super) fn shared(message: &'a Arc<Message>) -> Self {
        Self::new(message, None, OnceCell::from(message.clone()))
    }

    const fn new(
        message: &'a Message,
        topic_name: Option<TopicName>,
        kept: OnceCell<Arc<Message>>,
    ) -> Self {
        let (when_full, durability) = (WhenFull::Drop, Durability::Memory);
        Self {
            message,
            is_tentative: false,
            turn: None,
            when_full,
            durability,
            given: None,
            lookup: Cell::new(None),
            members: OnceCell::new(),
            topic_name,
            kept,
            sent: Cell::new(0),
        }
    }

    /// Whether what a session keeps is this very message, and not one that is only alike.
    pub(super) fn is_copy(&self, kept: &Arc<Message>) -> bool {
        self.kept.get().is_some_and(|own| Arc::ptr_eq(own, kept))
    }

    /// Whether it is dropped where it may not exceed the limit any further: nobody would know it as
    /// new when it comes again. At QoS 1 it always is.
    pub(super) fn is_lost(&self) -> bool {
        self.when_full == WhenFull::Exceed
            && !self.is_tentative
            && self.message.qos == QoS::ExactlyOnce
    }

    /// Whether it may be refused without its publisher being told, which sends it again then.
    pub(super) const fn comes_again(&self) -> bool {
        self.is_tentative && self.when_full.tells_nobody()
    }

    /// Whether somebody has it since it came the last time, and must not get it again.
    #[inline]
    pub(super) fn was_given(&self, receiver: impl FnOnce() -> GivenTo) -> bool {
        self.given.as_ref().is_some_and(|given| given.contains(&receiver()))
    }

    /// Counts a connection that it is sent to; whether so many have had it that the others share one
    /// payload.
    #[inline]
    pub(super) fn is_shared_next(&self) -> bool {
        let sent = self.sent.get();
        self.sent.set(sent.saturating_add(1));
        sent >= MANY
    }

    pub(super) fn keep(&self) -> &Arc<Message> {
        self.kept.get_or_init(|| {
            Arc::new(match &self.topic_name {
                Some(topic_name) => self.message.detached_as(topic_name.clone()),
                None => self.message.detached(),
            })
        })
    }
}
