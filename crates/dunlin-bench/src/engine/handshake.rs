//! From a closed socket to a client that does its part, and back.

use std::io;

use super::client::{self, Stage};
use super::{Engine, REPLACED, Trouble, token};
use crate::books::Gathered;
use crate::error::BenchError;
use crate::frame::{self, Frame};
use crate::packet::{self, ConnAck, Hello};
use crate::plan::{Quality, Scenario};

/// Topic Filters in one SUBSCRIBE.
const FILTERS_AT_ONCE: u32 = 100;

/// How long a client that has lost its connection stays away.
const AWAY_NANOS: u64 = 100_000_000;

impl Engine<'_> {
    /// Puts a client on the way to the broker.
    pub(super) fn bring(&mut self, index: usize, not_before: u64) {
        self.opening.queue.push_back((not_before, index));
    }

    /// Opens as many connections as may be on their way at once.
    pub(super) fn open_more(&mut self) -> Result<(), BenchError> {
        while self.opening.active < self.plan.parallel {
            let now = self.now();
            match self.opening.queue.front() {
                Some(&(not_before, index)) if not_before <= now => {
                    self.opening.queue.pop_front();
                    self.open(index, now)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize, now: u64) -> Result<(), BenchError> {
        let source = match self.plan.sources.len() {
            0 => None,
            sources => Some(self.plan.sources[index % sources]),
        };
        let opened = client::open(self.plan.address, source, self.poll.registry(), token(index));
        let client = &mut self.clients[index];
        match opened {
            Ok(link) => {
                client.link = Some(link);
                client.stage = Stage::Opening;
                client.opened_at = now;
                self.opening.active += 1;
                Ok(())
            }
            Err(BenchError::System(error)) if error.raw_os_error() == Some(EMFILE) => {
                Err(BenchError::Files {
                    clients: self.clients.len() as u32,
                    limit: crate::process::file_limit(),
                })
            }
            Err(error @ BenchError::Connect { .. }) if self.is_lenient => {
                self.complain(error.to_string());
                self.bring(index, now + AWAY_NANOS);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The TCP handshake is over: sends CONNECT. False if it has failed, or is not over.
    pub(super) fn greet(&mut self, index: usize) -> Result<bool, BenchError> {
        let Some(link) = &self.clients[index].link else { return Ok(false) };
        match link.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                if !self.is_lenient {
                    let address = self.plan.address;
                    return Err(BenchError::Connect { address, source: error });
                }
                self.handle_closed(index, &error.to_string())?;
                return Ok(false);
            }
        }
        match link.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            result => result?,
        };
        let client_identifier = self.client_identifier(index);
        let hello = Hello {
            client_identifier: &client_identifier,
            user_name: self.plan.user_name.as_deref(),
            password: self.plan.password.as_deref(),
            is_lasting: self.plan.has_lasting_sessions() && !self.is_leaving,
        };
        let client = &mut self.clients[index];
        client.stage = Stage::Greeting;
        if let Some(link) = &mut client.link {
            packet::push_connect(&mut link.output, self.plan.version, &hello);
        }
        Ok(true)
    }

    /// Handles what is neither a message nor an acknowledgement of one.
    pub(super) fn handle_control(
        &mut self,
        index: usize,
        frame: &Frame<'_>,
    ) -> Result<(), Trouble> {
        self.tally.progress += 1;
        match (frame.first, self.clients[index].stage) {
            (frame::CONNACK, Stage::Greeting) => {
                let connack = packet::read_connack(self.plan.version, frame)?;
                self.handle_connack(index, &connack)?;
            }
            (frame::SUBACK, Stage::Subscribing(acknowledged)) => {
                let codes = packet::suback_codes(self.plan.version, frame)?;
                self.handle_suback(index, acknowledged, codes)?;
            }
            (frame::PINGRESP, _) => {
                self.tally.pings_due = self.tally.pings_due.saturating_sub(1);
            }
            (frame::DISCONNECT, _) => {
                let code = frame.body.first().copied().unwrap_or(0);
                self.handle_closed(index, &format!("DISCONNECT with Reason Code {code:#04x}"))?;
            }
            // Of subscriptions that come and go.
            (frame::SUBACK | frame::UNSUBACK, Stage::Online) => {}
            (first, _) => {
                self.handle_closed(index, &format!("packet {first:#04x} comes out of turn"))?;
            }
        }
        Ok(())
    }

    fn handle_connack(&mut self, index: usize, connack: &ConnAck) -> Result<(), BenchError> {
        if connack.code != 0 {
            let reason = refusal(connack.code);
            if !self.is_lenient {
                return Err(BenchError::Refused(reason));
            }
            return self.handle_closed(index, &format!("CONNACK: {reason}"));
        }
        self.check_offer(connack)?;
        if connack.keep_alive_secs > 0 {
            let half = u64::from(connack.keep_alive_secs) * 500_000_000;
            self.ping_nanos = self.ping_nanos.min(half);
        }
        let now = self.now();
        let publishers = self.senders.len();
        let client = &mut self.clients[index];
        if self.is_leaving {
            if let Some(link) = &mut client.link {
                packet::push_disconnect(&mut link.output, self.plan.version, true);
            }
            self.opening.active -= 1;
            self.opening.online += 1;
            client.stage = Stage::Online;
            return Ok(());
        }
        self.tally.connected += 1;
        self.tally.samples.connect(now - client.opened_at);
        let had_session = client.has_session;
        client.has_session = self.plan.has_lasting_sessions();
        if had_session && !connack.session_present {
            self.complain("a client came back, and its Session was gone".to_owned());
        }
        if index < publishers {
            self.senders[index].quota = self.plan.window.min(connack.receive_maximum.into());
            return self.go_online(index, had_session);
        }
        if self.common.layout.filters() == 0 || (had_session && connack.session_present) {
            return self.go_online(index, had_session);
        }
        self.clients[index].stage = Stage::Subscribing(0);
        self.push_subscribe(index, 0);
        Ok(())
    }

    /// Whether the broker offers what the scenario needs.
    fn check_offer(&self, connack: &ConnAck) -> Result<(), BenchError> {
        let qos_max = self.common.layout.qos_max();
        let lacks = match self.plan.scenario {
            _ if connack.qos_max < qos_max => {
                format!("a Maximum QoS of {}; take a lower --qos", connack.qos_max)
            }
            Scenario::Retained if !connack.retain => "no retained messages".to_owned(),
            Scenario::Shared if !connack.shared => "no Shared Subscriptions".to_owned(),
            _ if self.plan.payload_len > connack.packet_size_max as usize => {
                let size = connack.packet_size_max;
                format!("a Maximum Packet Size of {size}; take a smaller --payload")
            }
            _ => return Ok(()),
        };
        Err(BenchError::Unable(lacks))
    }

    fn push_subscribe(&mut self, index: usize, first: u32) {
        let layout = &self.common.layout;
        let subscriber = (index - self.senders.len()) as u32;
        let which = first..layout.filters().min(first + FILTERS_AT_ONCE);
        let topic_filters = layout.topic_filters(subscriber, which);
        if let Some(link) = &mut self.clients[index].link {
            let (version, qos) = (self.plan.version, layout.qos_max());
            packet::push_subscribe(&mut link.output, version, 1, &topic_filters, qos);
        }
    }

    fn handle_suback(
        &mut self,
        index: usize,
        acknowledged: u32,
        codes: &[u8],
    ) -> Result<(), BenchError> {
        let layout = &self.common.layout;
        let asked = (layout.filters() - acknowledged).min(FILTERS_AT_ONCE);
        let qos = layout.qos_max();
        if let Some(at) = codes.iter().position(|&code| code != qos) {
            let subscriber = (index - self.senders.len()) as u32;
            let nth = acknowledged + at as u32;
            let mut topic_filters = layout.topic_filters(subscriber, nth..nth + 1);
            return match codes[at] {
                granted @ 0..=2 => Err(BenchError::Unable(format!(
                    "QoS {granted} for subscriptions, not {qos}; take a lower --qos"
                ))),
                code => {
                    let topic_filter = topic_filters.pop().unwrap_or_default();
                    Err(BenchError::Subscription { topic_filter, code })
                }
            };
        }
        if codes.len() != asked as usize {
            return self.handle_closed(index, "SUBACK with another number of codes");
        }
        let acknowledged = acknowledged + asked;
        if acknowledged == layout.filters() {
            let is_back = self.is_lenient;
            return self.go_online(index, is_back);
        }
        self.clients[index].stage = Stage::Subscribing(acknowledged);
        self.push_subscribe(index, acknowledged);
        Ok(())
    }

    /// A client has all that it needs.
    fn go_online(&mut self, index: usize, is_back: bool) -> Result<(), BenchError> {
        self.opening.active -= 1;
        self.opening.online += 1;
        self.clients[index].stage = Stage::Online;
        let now = self.now();
        if self.opening.active == 0 && self.opening.queue.is_empty() {
            self.tally.unsteady_until = now;
        }
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
        if subscriber < self.receivers.len() {
            if is_back {
                self.receivers[subscriber].resumed_at = now;
                self.forgive_subscriber(subscriber);
            }
            self.count_in(subscriber, now);
        }
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
    pub(super) fn cut(&mut self, index: usize) {
        if self.clients[index].link.is_some() {
            self.lose(index);
            let now = self.now();
            self.bring(index, now + AWAY_NANOS);
        }
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
        self.tally.disconnected += u64::from(!self.is_leaving);
        self.tally.unsteady_until = u64::MAX;
        match index.checked_sub(self.senders.len()) {
            None => self.forgive_publisher(index),
            Some(subscriber) if subscriber < self.receivers.len() => {
                let receiver = &mut self.receivers[subscriber];
                receiver.carried.clone_from(&receiver.received);
                if stage == Stage::Online {
                    self.count_out(subscriber);
                }
            }
            Some(_) => {}
        }
    }

    /// A subscriber counts for the windows of its publishers.
    pub(super) fn count_in(&mut self, subscriber: usize, now: u64) {
        let receiver = &mut self.receivers[subscriber];
        if receiver.counts_from != u64::MAX || receiver.is_loose {
            return;
        }
        receiver.counts_from = now;
        let is_shared = self.common.layout.is_shared();
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

    /// What a subscriber has missed of QoS 0 while it was away is not owed to it.
    fn forgive_subscriber(&mut self, subscriber: usize) {
        let layout = &self.common.layout;
        if layout.is_shared() {
            for publisher in 0..self.senders.len() {
                self.forgive_group(publisher);
            }
            return;
        }
        let receiver = &mut self.receivers[subscriber];
        for publisher in receiver.arrivals.publishers() {
            let sent = self.senders[publisher as usize].sent;
            let may_lose = |lane| layout.qos(lane) == 0;
            let forgiven = receiver.arrivals.forgive(publisher, sent, may_lose);
            self.tally.settled += forgiven;
        }
    }

    /// What a publisher has sent at QoS 0 may have been lost with its connection.
    fn forgive_publisher(&mut self, index: usize) {
        let layout = &self.common.layout;
        if layout.is_shared() {
            return self.forgive_group(index);
        }
        let sent = self.senders[index].sent;
        for subscriber in layout.subscribers_of(index as u32) {
            let receiver = &mut self.receivers[subscriber as usize];
            let may_lose = |lane| layout.qos(lane) == 0;
            let forgiven = receiver.arrivals.forgive(index as u32, sent, may_lose);
            self.tally.settled += forgiven;
            if receiver.counts_from != u64::MAX {
                let sender = &mut self.senders[index];
                sender.in_flight = sender.in_flight.saturating_sub(forgiven);
            }
        }
    }

    fn forgive_group(&mut self, publisher: usize) {
        if self.common.layout.quality == Quality::All(0) {
            let sender = &mut self.senders[publisher];
            let group: &mut Gathered = &mut self.tally.groups[publisher];
            self.tally.settled += group.forgive(sender.sent);
            sender.in_flight = 0;
        }
    }

    /// Messages that the broker has refused are not owed to anyone.
    pub(super) fn spread_refusals(&mut self) {
        for (publisher, sequence) in std::mem::take(&mut self.tally.refusals) {
            let sender = &mut self.senders[publisher as usize];
            if let Some(group) = self.tally.groups.get_mut(publisher as usize) {
                let was_due = u64::from(group.refuse(sequence));
                self.tally.settled += was_due;
                sender.in_flight = sender.in_flight.saturating_sub(was_due);
                continue;
            }
            for subscriber in self.common.layout.subscribers_of(publisher) {
                let receiver = &mut self.receivers[subscriber as usize];
                let was_due = u64::from(receiver.arrivals.refuse(publisher, sequence));
                self.tally.settled += was_due;
                if receiver.counts_from != u64::MAX {
                    sender.in_flight = sender.in_flight.saturating_sub(was_due);
                }
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
    pub(super) fn take_over(&mut self, index: usize) -> Result<(), BenchError> {
        if self.clients[index].stage != Stage::Online || self.clients[index].replaced.is_some() {
            return Ok(());
        }
        let mut link = self.clients[index].link.take();
        if let Some(link) = &mut link {
            link.reregister(self.poll.registry(), token(index + REPLACED))?;
        }
        self.lose(index);
        self.clients[index].replaced = link;
        let now = self.now();
        self.open(index, now)
    }
}

const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();

/// What a CONNACK's code means, in words where it has an answer.
fn refusal(code: u8) -> String {
    match code {
        4 | 5 | 0x86 | 0x87 => {
            format!("code {code:#04x}, not authorized; see --username and --password")
        }
        1 | 0x84 => format!("code {code:#04x}, not this version of MQTT; see --version"),
        2 | 0x85 => format!("code {code:#04x}, the Client Identifier; see --prefix"),
        3 | 0x88 | 0x89 => format!("code {code:#04x}, it is unavailable or busy"),
        0x97 | 0x9F => format!("code {code:#04x}, more clients than it allows; see --parallel"),
        _ => format!("code {code:#04x}"),
    }
}
