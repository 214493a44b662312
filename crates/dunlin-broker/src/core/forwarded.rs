//! Full queues under the policy that refuses: who is asked before a message is delivered, and what
//! becomes of one that another worker took and that has no room here.

use super::forward::{Forward, Forwarded, Outcome, Receiver, Turn, WhenFull};
use super::granted::{Granted, SessionKey, Subscriber};
use super::limits::LimitCause;
use super::outgoing::Outgoing;
use super::pending::HeldForwards;
use super::publish::{HELD_RETRY, Routed};
use super::routing::Routing;
use super::timers::Timer;
use super::{ConnectionKey, Core, DropCause, WorkerNumber};
use crate::QueuePolicy;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::QoS;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a message waits behind one that is not yet decided, before it exceeds the limit, and
/// again as long for room within twice the limit, before it is given up if others may wait for it.
///
/// A QoS 2 message is tentative where it has room while it waits at another worker, itself or behind
/// one that its Client has sent before. Two of them could wait for each other for ever: each fills the
/// queue that the other needs. So the one that was taken first does not wait for the other; where
/// twice the limit is full too, or the other one has come back from the store alone, time decides.
const UNDECIDED_WAIT_MAX: Duration = Duration::from_secs(5);

impl Forwarded {
    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        let mut outgoing = Outgoing::shared(&self.message);
        outgoing.is_tentative = self.is_tentative;
        outgoing.turn = self.answer.and_then(|publish| Turn::new(publish, self.taken_by));
        outgoing.when_full = self.when_full;
        outgoing.durability = self.durability;
        outgoing.given = self.given.clone();
        outgoing
    }
}

impl Core {
    /// What becomes of an acknowledged message of a Client where a queue is full.
    pub(super) fn when_full(&mut self, key: ConnectionKey, session: SessionKey) -> WhenFull {
        let is_v5 = self.endpoints.sessions[session.0].version.is_v5();
        // Those before it may wait for the store of another worker.
        let may_follow = self.endpoints.stores && !is_v5;
        if self.always_finds_room() && !may_follow {
            WhenFull::Drop
        } else if is_v5 {
            WhenFull::Refuse
        } else if self.endpoints.connection(key).is_some_and(|connection| connection.is_gone) {
            WhenFull::Exceed
        } else {
            WhenFull::Hold(key)
        }
    }

    /// Whether no session of this worker refuses anything: the store takes more, and full queues
    /// drop what is too much.
    fn always_finds_room(&self) -> bool {
        self.endpoints.store_is_ready && self.endpoints.limits.queue_policy != QueuePolicy::Refuse
    }

    /// Whether a session of this worker that is to have the message of a Client would refuse it.
    pub(super) fn would_refuse(
        &mut self,
        now: Instant,
        publisher: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        if self.refuses_for_memory(outgoing.message) {
            self.count_limit(LimitCause::MemoryRefused, 1);
            return true;
        }
        if !self.endpoints.store_is_ready {
            let message = outgoing.message;
            let is_exactly_once = message.qos == QoS::ExactlyOnce;
            if message.retain && self.endpoints.stores
                || is_exactly_once && self.remembers_received(publisher)
            {
                return true;
            }
        } else if self.always_finds_room() {
            return false;
        }
        self.sessions_would_refuse(now, Some(publisher), outgoing)
            || self.members_would_refuse(now, outgoing)
    }

    /// Whether a session of this worker that is to have a message by a subscription of its own would
    /// refuse it.
    fn sessions_would_refuse(
        &mut self,
        now: Instant,
        publisher: Option<SessionKey>,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        self.routing.look_up(outgoing);
        let topic_name = &outgoing.message.topic_name;
        let Routing { index, cache, .. } = &self.routing;
        cache.found().subscribers().iter().any(|(key, granted)| match key.subscriber() {
            Subscriber::Session(session) if granted.maximum_qos > QoS::AtMostOnce => {
                let wants = publisher != Some(session)
                    || !granted.some_no_local
                    || Granted::of_own_message(index, session, topic_name)
                        .is_some_and(|own| own.maximum_qos > QoS::AtMostOnce);
                wants
                    && self.endpoints.is_wanted(session, topic_name)
                    && !outgoing.was_given(|| self.endpoints.given_to(self.worker, session))
                    && self.endpoints.would_refuse(now, session, outgoing)
            }
            _ => false,
        })
    }

    /// A message that another worker has matched with an interest of this one.
    pub(super) fn handle_forwarded(&mut self, now: Instant, forwarded: Forwarded) {
        if let Some(number) = forwarded.answer {
            self.pending.follow(number);
        }
        match forwarded.when_full {
            WhenFull::Drop | WhenFull::Exceed | WhenFull::GiveUp => {}
            WhenFull::Refuse if self.forwarded_would_refuse(now, &forwarded) => {
                self.refuse_forwarded(now, &forwarded);
                return;
            }
            WhenFull::Refuse => {}
            WhenFull::Hold(connection) => {
                let publisher = (forwarded.taken_by, connection);
                if !self.pending.held_forwards.is_empty()
                    && let Some(held) = self.pending.held_forwards.get_mut(&publisher)
                {
                    // It may not overtake those that wait [MQTT-4.6.0-6].
                    held.waiting.push_back(forwarded);
                    return;
                }
                if self.forwarded_would_refuse(now, &forwarded) {
                    let timer = Timer::HeldForward(forwarded.taken_by, connection);
                    self.timers.set(now + HELD_RETRY, timer);
                    let held = HeldForwards { waiting: [forwarded].into(), since: now };
                    self.pending.held_forwards.insert(publisher, held);
                    return;
                }
            }
        }
        self.deliver_forwarded(now, forwarded);
    }

    fn forwarded_would_refuse(&mut self, now: Instant, forwarded: &Forwarded) -> bool {
        if self.always_finds_room() {
            return false;
        }
        let outgoing = forwarded.outgoing();
        match &forwarded.group {
            Some(name) => self.shared_would_refuse(now, name, &outgoing),
            None => self.sessions_would_refuse(now, None, &outgoing),
        }
    }

    /// Tells the worker that took a message that no session of this one gets it now.
    fn refuse_forwarded(&mut self, now: Instant, forwarded: &Forwarded) {
        self.endpoints.counters.drop_one(DropCause::Refused);
        let outcome = Outcome { matched: true, refused: true };
        let mut routed = Routed { outcome, ..Routed::default() };
        if let Some(given) = &forwarded.given {
            // Those who have it since it came the last time still have it.
            routed.receivers.extend(given.of_worker(self.worker).map(Receiver::Given));
        }
        self.answer_forwarded(now, forwarded, routed);
    }

    fn deliver_forwarded(&mut self, now: Instant, forwarded: Forwarded) {
        if forwarded.when_full == WhenFull::Exceed
            && !self.endpoints.store_is_ready
            && self.forwarded_would_refuse(now, &forwarded)
        {
            // Records must not pile up before a store that takes none, and nobody has an
            // acknowledgement yet: it comes again.
            self.refuse_forwarded(now, &forwarded);
            return;
        }
        if let Some(name) = forwarded.group.clone() {
            self.deliver_shared(now, forwarded, &name);
            return;
        }
        let outgoing = forwarded.outgoing();
        let mut routed = Routed::default();
        self.routing.look_up(&outgoing);
        for (key, granted) in self.routing.cache.found().subscribers() {
            if let Subscriber::Session(session) = key.subscriber() {
                if routed.has_before(&self.endpoints, self.worker, session, &outgoing) {
                    continue;
                }
                let retain = granted.retain_as_published && outgoing.message.retain;
                let delivered =
                    self.endpoints.deliver(now, session, granted, &outgoing, retain, None);
                routed.add(&self.endpoints, self.worker, session, None, delivered);
            }
        }
        self.answer_forwarded(now, &forwarded, routed);
    }

    /// Tries the held messages of a Client of another worker again, and sets the next time for what
    /// still waits.
    pub(super) fn retry_forwarded(
        &mut self,
        now: Instant,
        from: WorkerNumber,
        connection: ConnectionKey,
    ) {
        self.deliver_held(now, from, connection);
        if self.pending.held_forwards.contains_key(&(from, connection)) {
            self.timers.set(now + HELD_RETRY, Timer::HeldForward(from, connection));
        }
    }

    /// Tries all held messages: what was withdrawn has made room, and whoever sends it again must
    /// not find that room first.
    pub(super) fn retry_all_forwarded(&mut self, now: Instant) {
        let mut publishers: Vec<_> = self.pending.held_forwards.keys().copied().collect();
        publishers.sort_unstable();
        for (from, connection) in publishers {
            self.deliver_held(now, from, connection);
        }
    }

    /// Delivers the held messages of a Client of another worker for which there is room by now.
    fn deliver_held(&mut self, now: Instant, from: WorkerNumber, connection: ConnectionKey) {
        let Some(mut held) = self.pending.held_forwards.remove(&(from, connection)) else { return };
        if !self.endpoints.store_is_ready {
            // It waits for the store, not for another message.
            held.since = now;
        }
        while let Some(mut forwarded) = held.waiting.pop_front() {
            let waited = now.saturating_since(held.since);
            if waited >= UNDECIDED_WAIT_MAX {
                forwarded.when_full = WhenFull::Exceed;
            }
            if self.forwarded_would_refuse(now, &forwarded) {
                if waited >= 2 * UNDECIDED_WAIT_MAX && self.is_given_up(now, &forwarded, &held) {
                    self.refuse_forwarded(now, &forwarded);
                    self.refuse_behind(now, &mut held);
                } else {
                    held.waiting.push_front(forwarded);
                }
                if !held.waiting.is_empty() {
                    self.pending.held_forwards.insert((from, connection), held);
                }
                return;
            }
            self.deliver_forwarded(now, forwarded);
            held.since = now;
        }
    }

    /// Whether nobody may come to an end if this message, the first of a Client that waits, waits on:
    /// it does behind one that is not decided, and itself or one behind it is not decided elsewhere.
    fn is_given_up(&mut self, now: Instant, first: &Forwarded, behind: &HeldForwards) -> bool {
        let is_undecided = first.is_tentative || behind.waiting.iter().any(|it| it.is_tentative);
        let given_up = Forwarded { when_full: WhenFull::GiveUp, ..first.clone() };
        is_undecided && !self.forwarded_would_refuse(now, &given_up)
    }

    /// Refuses what waits behind a message that was refused, so that it comes again behind it
    /// [MQTT-4.6.0-6]. What nobody would know as new then stays, for the end of its connection.
    fn refuse_behind(&mut self, now: Instant, held: &mut HeldForwards) {
        let comes_again = |it: &Forwarded| it.is_tentative || it.message.qos == QoS::AtLeastOnce;
        let (refused, kept): (VecDeque<_>, VecDeque<_>) =
            held.waiting.drain(..).partition(comes_again);
        held.waiting = kept;
        for forwarded in &refused {
            self.refuse_forwarded(now, forwarded);
        }
    }

    /// Tells the other workers that the connection of an MQTT 3.x Client is over, if messages of it
    /// may wait there, for room or for the store: nobody is left who waits with them, and what
    /// became of them must be known before the Client comes back.
    pub(super) fn tell_publisher_gone(&mut self, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        let is_told = connection.is_gone;
        if is_told || connection.awaited == 0 || connection.protocol.version().is_v5() {
            return;
        }
        if self.endpoints.limits.queue_policy == QueuePolicy::Refuse || self.endpoints.stores {
            for worker in self.others() {
                self.outbox.push(worker, Forward::PublisherGone { connection: key });
            }
        }
    }

    /// The connection of an MQTT 3.x Client to another worker is over: what it has sent waits no
    /// longer, neither for room nor for the store.
    pub(super) fn handle_publisher_gone(
        &mut self,
        now: Instant,
        from: WorkerNumber,
        connection: ConnectionKey,
    ) {
        let held = self.pending.held_forwards.remove(&(from, connection));
        for forwarded in held.into_iter().flat_map(|held| held.waiting) {
            self.deliver_forwarded(now, Forwarded { when_full: WhenFull::Exceed, ..forwarded });
        }
    }
}
