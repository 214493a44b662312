//! Clients that are there, and no longer there: connections that are lost, cut and taken over.

use super::client::Stage;
use super::receiver::Identifiers;
use super::{Engine, REPLACED, token};
use crate::error::BenchError;
use crate::layout::Role;
use crate::packet;

/// How long a client that has lost its connection stays away.
pub(super) const AWAY_NANOS: u64 = 100_000_000;

/// How long the broker may take to close connections that have said goodbye.
const GOODBYE_NANOS: u64 = 5_000_000_000;

impl Engine<'_> {
    /// Whether a client's Session outlives its connections.
    pub(super) fn is_lasting(&self, index: usize) -> bool {
        let subscriber = index.checked_sub(self.senders.len());
        let role = subscriber.map(|subscriber| self.common.layout.role(subscriber as u32));
        let is_passing = matches!(role, Some(Role::Passing | Role::Visitor));
        self.plan.has_lasting_sessions() && !is_passing
    }

    /// A client has all that it needs.
    pub(super) fn go_online(&mut self, index: usize, is_back: bool) -> Result<(), BenchError> {
        self.opening.active -= 1;
        self.opening.online += 1;
        self.clients[index].stage = Stage::Online;
        let now = self.now();
        let Some(subscriber) = index.checked_sub(self.senders.len()) else {
            if is_back {
                let sender = &mut self.senders[index];
                sender.resumed_at = now;
                if let Some(link) = &mut self.clients[index].link {
                    sender.push_unanswered(&mut link.output, &self.common);
                }
            }
            self.mark_ready(index);
            return Ok(());
        };
        let Some(receiver) = self.receivers.get_mut(subscriber) else {
            self.welcome_guest(index, is_back);
            return Ok(());
        };
        if receiver.role == Role::Member {
            let group = &mut self.tally.group;
            group.online += 1;
            if group.online == self.common.layout.members() {
                group.unsteady_until = now;
            }
        }
        if is_back {
            receiver.resumed_at = now;
            self.forgive_subscriber(subscriber);
        }
        if std::mem::take(&mut self.receivers[subscriber].is_asking) {
            self.ask_for_subscription(index);
        }
        self.count_in(subscriber, now);
        Ok(())
    }

    /// The broker, or the network, has ended a connection; or has sent what nobody can read.
    pub(super) fn handle_closed(&mut self, index: usize, reason: &str) -> Result<(), BenchError> {
        if !self.is_lenient {
            let client = self.client_identifier(index);
            return Err(BenchError::Closed { client, reason: reason.to_owned() });
        }
        self.lose(index);
        if self.is_leaving {
            return Ok(());
        }
        self.complain(format!("a connection was not closed by its client: {reason}"));
        let now = self.now();
        self.bring(index, now + AWAY_NANOS);
        Ok(())
    }

    /// Closes a connection without a word, and lets the client come back.
    pub(super) fn cut(&mut self, index: usize) -> bool {
        let is_there = self.clients[index].link.is_some();
        if is_there {
            self.lose(index);
            let now = self.now();
            self.bring(index, now + AWAY_NANOS);
        }
        is_there
    }

    /// A client has no connection any more.
    pub(super) fn lose(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let stage = std::mem::replace(&mut client.stage, Stage::Away);
        client.link = None;
        client.is_paused = false;
        match stage {
            Stage::Away => return,
            Stage::Online => self.opening.online -= 1,
            _ => self.opening.active -= 1,
        }
        // Who leaves at the end is in no books any more.
        if self.is_leaving {
            return;
        }
        self.tally.disconnected += 1;
        let now = self.now();
        if let Some(soak) = &mut self.soak {
            soak.wills.lose(index);
        }
        let Some(subscriber) = index.checked_sub(self.senders.len()) else {
            return self.forgive_publisher(index);
        };
        let Some(receiver) = self.receivers.get_mut(subscriber) else {
            return self.miss_guest(index);
        };
        if receiver.role == Role::Passing {
            receiver.arrivals.void(&self.common.layout);
            receiver.received = Identifiers::default();
        }
        receiver.carried.clone_from(&receiver.received);
        if stage == Stage::Online {
            if receiver.role == Role::Member {
                let group = &mut self.tally.group;
                group.online -= 1;
                (group.lost_at, group.unsteady_until) = (now, u64::MAX);
            }
            self.count_out(subscriber);
        }
    }

    /// Lets a client say goodbye and come back: its Session stays, if it has one, and its Will is not
    /// to be published.
    pub(super) fn say_goodbye(&mut self, index: usize) -> Result<bool, BenchError> {
        let client = &mut self.clients[index];
        if client.stage != Stage::Online || client.replaced.is_some() {
            return Ok(false);
        }
        if let Some(link) = &mut client.link {
            packet::push_disconnect(&mut link.output, self.plan.version, false);
        }
        self.flush(index)?;
        let client = &mut self.clients[index];
        // A DISCONNECT that has not left yet would be cut.
        if let Some(mut link) = client.link.take_if(|link| link.is_flushed()) {
            link.reregister(self.poll.registry(), token(index + REPLACED))?;
            client.replaced = Some(link);
            if let Some(soak) = &mut self.soak {
                soak.wills.revoke(index);
            }
        }
        let now = self.now();
        self.lose(index);
        self.bring(index, now + AWAY_NANOS);
        Ok(true)
    }

    /// Leaves it to the broker to close a connection that ends with DISCONNECT, where what is sent has
    /// to be sent again if it is lost: TCP does that by itself.
    pub(super) fn part_from(&mut self, index: usize) -> Result<(), BenchError> {
        if self.plan.transport.has_timers()
            && let Some(mut link) = self.clients[index].link.take()
        {
            link.reregister(self.poll.registry(), token(index + REPLACED))?;
            self.clients[index].replaced = Some(link);
            self.note_due(index);
        }
        Ok(())
    }

    /// Waits until the broker has closed these.
    pub(super) fn wait_for_goodbyes(&mut self) -> Result<(), BenchError> {
        if self.plan.transport.has_timers() {
            let until = self.now() + GOODBYE_NANOS;
            self.wait(until, |engine| {
                engine.clients.iter().all(|client| client.replaced.is_none())
            })?;
        }
        Ok(())
    }

    /// A subscriber counts for the windows of its publishers.
    pub(super) fn count_in(&mut self, subscriber: usize, now: u64) {
        let receiver = &mut self.receivers[subscriber];
        // One of a group within a soak is for no publisher in particular; a soak is paced anyway.
        let is_shared = self.common.layout.is_shared();
        let counts = !receiver.is_loose && (receiver.role != Role::Member || is_shared);
        if receiver.counts_from != u64::MAX || !counts {
            return;
        }
        receiver.counts_from = now;
        for publisher in receiver.arrivals.publishers() {
            let sender = &mut self.senders[publisher as usize];
            sender.counting = if is_shared { 1 } else { sender.counting + 1 };
            if !sender.is_ready {
                sender.is_ready = true;
                self.tally.ready.push(publisher as usize);
            }
        }
    }

    /// A subscriber that is away, or does not read, must not hold its publishers up.
    pub(super) fn count_out(&mut self, subscriber: usize) {
        let receiver = &mut self.receivers[subscriber];
        if receiver.counts_from == u64::MAX {
            return;
        }
        receiver.counts_from = u64::MAX;
        let now = self.start.elapsed().as_nanos() as u64;
        let is_shared = self.common.layout.is_shared();
        for publisher in receiver.arrivals.publishers() {
            let sender = &mut self.senders[publisher as usize];
            if is_shared {
                // Nobody knows which of the messages under way were for this one.
                sender.in_flight = 0;
                sender.counts_from = now;
            } else {
                let outstanding = receiver.arrivals.outstanding(publisher, sender.sent);
                sender.in_flight = sender.in_flight.saturating_sub(outstanding);
                sender.counting -= 1;
            }
            if !sender.is_ready {
                sender.is_ready = true;
                self.tally.ready.push(publisher as usize);
            }
        }
    }

    /// What comes on a connection that was taken over: only its end matters.
    pub(super) fn handle_replaced(&mut self, index: usize) -> Result<(), BenchError> {
        loop {
            let Some(link) = &mut self.clients[index].replaced else { return Ok(()) };
            match link.fill(&mut self.scratch) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(_) => {
                    self.clients[index].replaced = None;
                    self.tally.progress += 1;
                    return Ok(());
                }
            }
        }
    }

    /// Connects a client again beside its present connection, which the broker then has to close.
    /// False if it has none, or has one too many already.
    pub(super) fn take_over(&mut self, index: usize) -> Result<bool, BenchError> {
        if self.clients[index].stage != Stage::Online || self.clients[index].replaced.is_some() {
            return Ok(false);
        }
        let mut link = self.clients[index].link.take();
        if let Some(link) = &mut link {
            link.reregister(self.poll.registry(), token(index + REPLACED))?;
        }
        self.lose(index);
        self.clients[index].replaced = link;
        let now = self.now();
        self.open(index, now)?;
        Ok(true)
    }
}
