//! From a closed socket to a client that does its part, and back.

use std::io;

use super::client::{self, Stage};
use super::presence::AWAY_NANOS;
use super::{Engine, Trouble, token};
use crate::error::BenchError;
use crate::frame::{self, Frame};
use crate::packet::{self, ConnAck, Hello, Will};
use crate::plan::{Plan, Scenario};

/// Topic Filters in one SUBSCRIBE.
const FILTERS_AT_ONCE: u32 = 100;

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

    pub(super) fn open(&mut self, index: usize, now: u64) -> Result<(), BenchError> {
        let source = match self.plan.sources.len() {
            0 => None,
            sources => Some(self.plan.sources[index % sources]),
        };
        let Plan { address, transport, .. } = self.plan;
        let opened = client::open(*address, transport, source, self.poll.registry(), token(index));
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

    /// The handshake of TCP is over: CONNECT goes into the output, which waits for the others. False if
    /// it has failed, or is not over.
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
        let will = match (&mut self.soak, self.is_leaving) {
            (Some(soak), false) => Some(soak.will(index, &self.common.layout)),
            _ => None,
        };
        let hello = Hello {
            client_identifier: &client_identifier,
            user_name: self.plan.user_name.as_deref(),
            password: self.plan.password.as_deref(),
            is_lasting: self.is_lasting(index) && !self.is_leaving,
            // Every other one of those whose Session is to end finds one that Clean Start has to end.
            keeps_session: self.soak.is_some() && index.is_multiple_of(2) && !self.is_leaving,
            will: will.as_ref().map(|will| Will {
                topic_name: &will.topic_name,
                payload: &will.payload,
                qos: will.qos,
            }),
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
        if self.handle_guest(index, frame)? {
            return Ok(());
        }
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
            (frame::SUBACK | frame::UNSUBACK, Stage::Online) if self.is_asking(index) => {
                self.handle_subscription(index, frame)?;
            }
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
        if let Some(soak) = &mut self.soak {
            soak.wills.accept(index);
        }
        let is_lasting = self.is_lasting(index);
        let had_session = std::mem::replace(&mut self.clients[index].has_session, is_lasting);
        if had_session && !connack.session_present {
            self.complain("a client came back, and its Session was gone".to_owned());
        }
        if !is_lasting && connack.session_present {
            // [MQTT-3.2.2-2]
            self.complain("a Session was there that should have ended".to_owned());
        }
        if index < publishers {
            self.senders[index].quota = self.plan.window.min(connack.receive_maximum.into());
            return self.go_online(index, had_session);
        }
        let subscriber = index - publishers;
        let filters = self.common.layout.filters(subscriber as u32);
        if filters == 0 || (had_session && connack.session_present) {
            return self.go_online(index, had_session);
        }
        self.ask_arrivals(subscriber);
        self.clients[index].stage = Stage::Subscribing(0);
        self.push_subscribe(index, 0);
        Ok(())
    }

    /// Whether the broker offers what the scenario needs.
    fn check_offer(&self, connack: &ConnAck) -> Result<(), BenchError> {
        let is_soak = self.plan.scenario == Scenario::Soak;
        let qos_max = self.common.layout.qos_max().max(u8::from(is_soak));
        let lacks = match self.plan.scenario {
            _ if connack.qos_max < qos_max => {
                format!("a Maximum QoS of {}; take a lower --qos", connack.qos_max)
            }
            Scenario::Retained | Scenario::Soak if !connack.retain => {
                "no retained messages".to_owned()
            }
            Scenario::Shared | Scenario::Soak if !connack.shared => {
                "no Shared Subscriptions".to_owned()
            }
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
        let which = first..layout.filters(subscriber).min(first + FILTERS_AT_ONCE);
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
        let filters = layout.filters((index - self.senders.len()) as u32);
        let asked = (filters - acknowledged).min(FILTERS_AT_ONCE);
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
        if acknowledged == filters {
            self.hold_arrivals(index - self.senders.len());
            let is_back = self.is_lenient;
            return self.go_online(index, is_back);
        }
        self.clients[index].stage = Stage::Subscribing(acknowledged);
        self.push_subscribe(index, acknowledged);
        Ok(())
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
