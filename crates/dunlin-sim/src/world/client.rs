//! The Clients' ends: connecting, reading, answering, and what the applications are told.

use super::device::{Device, Live};
use super::finish::CALM;
use super::input::head;
use super::login::{BEGIN, METHOD};
use super::wire::Wire;
use super::{Event, Happening, World, connection_id, note};
use crate::chance::{Purpose, random};
use crate::history::{DeviceId, message_number};
use crate::pipe::{Character, Part, Pipe};
use crate::plan::ConnectPlan;
use bytes::{Bytes, BytesMut};
use core::time::Duration;
use dunlin_codec::{
    Connect, ConnectProperties, ProtocolVersion, ReasonCode, Text, TransmitBuf, Will,
    WillProperties,
};
use dunlin_protocol::{
    AckError, AckToken, ClientConfig, ClientConnection, ClientEvent, ConnectionEnd, Instant,
    Progress, PublishError, Session,
};
use std::collections::{BTreeMap, VecDeque};

/// Bytes that wait for the network before an application publishes no more.
const OUT_LEN_MAX: usize = 64 * 1024;
/// Numbers of Wills come after those of all other messages.
const WILL_NUMBERS: u64 = 1 << 40;
/// How often a device connects without faults before it gives its Session up.
const PATIENCE: u32 = 12;
/// How often it tries with its Will, for which it may be refused.
const WILL_ATTEMPTS_MAX: u32 = 3;
/// A connection that lasted no longer makes a device wait longer until the next.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const BACKOFF_DOUBLINGS: u32 = 12;
const BACKOFF_MAX: u64 = 30_000_000;
const CALM_BACKOFF_MAX: u64 = 300_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn make_devices(&mut self) {
        let (own, twins) = (self.options.devices, self.options.twins);
        for number in 0..own + twins + self.options.malformed {
            let mut random = random(self.seed, Purpose::Devices, u64::from(number));
            let version = *random.pick(&[
                ProtocolVersion::V3_1,
                ProtocolVersion::V3_1_1,
                ProtocolVersion::V3_1_1,
                ProtocolVersion::V5,
                ProtocolVersion::V5,
                ProtocolVersion::V5,
            ]);
            let is_twin = (own..own + twins).contains(&number);
            let is_malformed = number >= own + twins;
            // A twin of a device that can't know what became of its Session would break it.
            let has_twin = number < twins;
            let version = if has_twin || is_twin { ProtocolVersion::V5 } else { version };
            let expires = self.limits.session_expiry_max_secs < u32::MAX || !self.options.stores;
            let name = match () {
                () if is_twin => format!("device-{}", number - own),
                () if is_malformed => format!("malformed-{number}"),
                () => format!("device-{number}"),
            };
            self.devices.push(Device {
                client_identifier: name.parse().unwrap_or_else(|_| Text::from_static("device")),
                version,
                is_twin,
                is_malformed,
                is_enhanced: version.is_v5()
                    && self.options.logins.as_ref().is_some_and(|logins| {
                        crate::chance::mix(self.seed ^ u64::from(number)) % 100 < logins.enhanced
                    }),
                always_clean: (version == ProtocolVersion::V3_1)
                    .then(|| random.chance(40) || expires),
                session: Session::new(),
                must_start_clean: false,
                live: None,
                attempts: 0,
                calm_attempts: 0,
                connected_at: Instant::ZERO,
                short_lives: 0,
                comes_again: false,
                last_plan: ConnectPlan { in_flight_max: 10, ..ConnectPlan::default() },
                outbox: VecDeque::new(),
                under_way: BTreeMap::new(),
                partitioned_until: Instant::ZERO,
            });
        }
    }

    // ---- the life of a connection

    /// Opens a connection and sends CONNECT on it; one that is there is left without a word.
    pub(super) fn connect(&mut self, device: u32, plan: &ConnectPlan) {
        self.abandon(device);
        let now = self.now;
        let owner = &mut self.devices[device as usize];
        owner.attempts += 1;
        owner.connected_at = now;
        owner.comes_again = false;
        let number = u64::from(device) << 24 | u64::from(owner.attempts);
        owner.last_plan = plan.clone();
        let clean_start = owner
            .always_clean
            .unwrap_or(plan.clean_start || owner.must_start_clean || owner.is_twin);
        let connect = owner.connect_packet(plan, clean_start, number);
        if clean_start {
            owner.session = Session::new();
            owner.under_way.clear();
            // Until a CONNACK tells that the Server has forgotten as well.
            owner.must_start_clean = true;
        }
        let config = ClientConfig {
            connect,
            connect_timeout: CONNECT_TIMEOUT,
            in_flight_max: plan.in_flight_max.max(1),
            topic_alias_outbound_max: plan.topic_alias_outbound_max,
        };
        let session = std::mem::take(&mut owner.session);
        let mut out = TransmitBuf::new();
        let Ok(connection) = ClientConnection::new(now, config, session, &mut out) else {
            return;
        };
        let wire = self.open_wire(device, number);
        if clean_start {
            self.tell(Event::SessionForgotten { device: DeviceId(device) });
        }
        note!(self, self.about(wire), "connects");
        self.devices[device as usize].live = Some(Box::new(Live {
            wire,
            connection,
            input: BytesMut::new(),
            out,
            owed: VecDeque::new(),
            deadline: None,
            input_ended: false,
        }));
        self.with_live(device, Self::flush);
    }

    /// A new Network Connection, which the broker hears of soon.
    pub(super) fn open_wire(&mut self, device: u32, number: u64) -> u32 {
        let wire = self.wires.len() as u32;
        let options = &self.options;
        let character = if self.calm {
            CALM
        } else {
            Character {
                latency: options.latency,
                part_len_max: options.part_len_max,
                window: options.window,
                bytes_per_second: options.bytes_per_second,
            }
        };
        let mut random_up = random(self.seed, Purpose::Links, number << 1);
        let random_down = random(self.seed, Purpose::Links, number << 1 | 1);
        let worker = random_up.index(usize::from(options.workers));
        let (least, most) = character.latency;
        let accept_at = self.now + Duration::from_micros(random_up.between(least..=most));
        let mut up = Pipe::new(character, random_up);
        let mut down = Pipe::new(character, random_down);
        let until = self.devices[device as usize].partitioned_until;
        let accept_at = accept_at.max(until);
        up.blocked_until = accept_at;
        down.blocked_until = until;
        let size_max = self.limits.connect_packet_size_max.min(self.limits.packet_size_max);
        self.wires.push(Wire::new(device, up, down, worker, size_max));
        self.schedule.put(accept_at, Happening::Accept(wire));
        wire
    }

    /// The device turns away from its connection; its Session stays.
    pub(super) fn abandon(&mut self, device: u32) {
        let Some(mut live) = self.devices[device as usize].live.take() else { return };
        let owner = &mut self.devices[device as usize];
        owner.session = live.connection.take_session();
        let connection = &mut self.wires[live.wire as usize];
        connection.client.is_gone = true;
        connection.client.packets.clear();
        if !connection.up.vanishes && live.wire.is_multiple_of(2) {
            connection.up.end(self.now, Part::Reset);
            self.announce_up(live.wire);
        }
        self.announce_down(live.wire);
        note!(self, self.about(live.wire), "left by its device");
    }

    /// The connection of a device is over: its Session is kept, and it may come again.
    fn close_client(&mut self, device: u32, mut live: Box<Live>) {
        self.flush(&mut live);
        if let Some(ConnectionEnd::Violation(violation)) = live.connection.end() {
            let what = format!("a Client was sent what the standard forbids: {violation:?}");
            self.fail("a Client was sent what the standard forbids", what, vec![device]);
        }
        let wire = live.wire;
        note!(self, self.about(wire), "over for its device: {}", end_of(&live));
        let owner = &mut self.devices[device as usize];
        owner.session = live.connection.take_session();
        let connection = &mut self.wires[wire as usize];
        connection.client.is_gone = true;
        connection.client.packets.clear();
        connection.up.end(self.now, Part::End);
        self.announce_up(wire);
        self.announce_down(wire);
        self.come_again(device);
    }

    /// A device that lost its connection comes again after a while, if devices do in this run.
    fn come_again(&mut self, device: u32) {
        let owner = &mut self.devices[device as usize];
        let attempt = owner.attempts;
        let was_short = self.now < owner.connected_at + SHORT_LIFE;
        owner.short_lives = if was_short { owner.short_lives + 1 } else { 0 };
        let owner = &self.devices[device as usize];
        let reconnect = match self.options.reconnect {
            _ if self.calm => (100, 10_000),
            Some(reconnect) => reconnect,
            None => return,
        };
        let longest = if self.calm { CALM_BACKOFF_MAX } else { BACKOFF_MAX };
        let number = 1 << 60 | u64::from(device) << 24 | u64::from(attempt);
        let mut random = random(self.seed, Purpose::Devices, number);
        let micros = random.between(reconnect.0..=reconnect.1);
        let micros = (micros << owner.short_lives.min(BACKOFF_DOUBLINGS)).min(longest);
        self.devices[device as usize].comes_again = self.calm;
        let at = self.now + Duration::from_micros(micros);
        self.schedule.put(at, Happening::Reconnect { device, attempt });
    }

    pub(super) fn reconnect(&mut self, device: u32, attempt: u32) {
        let owner = &self.devices[device as usize];
        if owner.attempts != attempt {
            return;
        }
        self.devices[device as usize].comes_again = false;
        let owner = &self.devices[device as usize];
        if owner.live.is_some() || (self.calm && owner.is_twin) {
            return;
        }
        let mut plan = ConnectPlan { clean_start: false, ..owner.last_plan.clone() };
        if self.calm && !self.is_patient(device) {
            return;
        }
        if self.devices[device as usize].calm_attempts > WILL_ATTEMPTS_MAX {
            plan.will = None;
        }
        self.connect(device, &plan);
    }

    /// Whether the device tries again. One whose message the broker never takes, but ends the
    /// connection for, begins anew without it; one that is refused again and again stays away.
    fn is_patient(&mut self, device: u32) -> bool {
        let owner = &mut self.devices[device as usize];
        owner.calm_attempts += 1;
        if owner.calm_attempts.is_multiple_of(PATIENCE) {
            owner.must_start_clean = true;
            owner.always_clean = owner.always_clean.map(|_| true);
            owner.outbox.clear();
        }
        owner.calm_attempts < 3 * PATIENCE
    }

    // ---- input

    pub(super) fn arrive_down(&mut self, wire: u32) {
        let at = wire as usize;
        self.wires[at].down.announced = None;
        if self.wires[at].client.is_gone {
            self.throw_away(wire);
            return;
        }
        if self.wires[at].client.stuck_until > self.now {
            let until = self.wires[at].client.stuck_until;
            self.wires[at].down.announced = Some(until);
            self.schedule.put(until, Happening::ArriveDown(wire));
            return;
        }
        let device = self.wires[at].device;
        self.with_live(device, |world, live| {
            if live.wire == wire {
                world.receive(live);
            }
        });
    }

    fn throw_away(&mut self, wire: u32) {
        let connection = &mut self.wires[wire as usize];
        let mut has_ended = false;
        let mut count = 0;
        while let Some(part) = connection.down.receive(self.now) {
            match part {
                Part::Bytes(bytes) => count += bytes.len(),
                Part::End | Part::Reset => has_ended = true,
            }
        }
        if has_ended {
            connection.up.end(self.now, Part::End);
            self.announce_up(wire);
        }
        self.freed_down(wire, count);
        self.announce_down(wire);
    }

    fn freed_down(&mut self, wire: u32, count: usize) {
        if self.wires[wire as usize].down.free(count) {
            self.schedule.put(self.now, Happening::RoomDown(wire));
        }
    }

    /// Takes what has arrived.
    fn receive(&mut self, live: &mut Live) {
        let wire = live.wire;
        let mut count = 0;
        let mut breaks = false;
        let connection = &mut self.wires[wire as usize];
        while let Some(part) = connection.down.receive(self.now) {
            match part {
                Part::Bytes(bytes) => {
                    let mut arrives = bytes.len();
                    if let Some(left) = &mut connection.down.cut_after {
                        arrives = arrives.min(*left as usize);
                        *left -= arrives as u64;
                        breaks = *left == 0;
                    }
                    count += bytes.len();
                    live.input.extend_from_slice(&bytes[..arrives]);
                    if breaks {
                        break;
                    }
                }
                Part::End | Part::Reset => live.input_ended = true,
            }
        }
        self.freed_down(wire, count);
        if breaks {
            self.cut(wire);
        }
        self.announce_down(wire);
        self.handle_client_input(live);
        if live.input_ended {
            live.connection.handle_network_closed();
        }
    }

    fn handle_client_input(&mut self, live: &mut Live) {
        loop {
            let before = live.input.len();
            let progress = live.connection.handle_input(self.now, &mut live.input, &mut live.out);
            self.tell_arrived(live.wire, before - live.input.len());
            match progress {
                Progress::NeedInput | Progress::Closed => break,
                Progress::Packet => {}
                Progress::Event(event) => self.handle_client_event(live, event),
            }
            self.transmit_owed(live);
        }
        self.transmit_owed(live);
        self.publish_waiting(live);
        self.flush(live);
    }

    fn transmit_owed(&mut self, live: &mut Live) {
        let mut dropped = Vec::new();
        live.connection.poll_transmit(self.now, &mut live.out, &mut dropped);
        let device = self.wires[live.wire as usize].device;
        for in_flight in dropped {
            let under_way = &mut self.devices[device as usize].under_way;
            under_way.remove(&in_flight.packet_identifier.value());
        }
    }

    fn tell_arrived(&mut self, wire: u32, len: usize) {
        self.wires[wire as usize].client.taken_len += len as u64;
        loop {
            let client = &mut self.wires[wire as usize].client;
            if client.packets.front().is_none_or(|(place, _)| *place > client.taken_len) {
                return;
            }
            let Some((_, packet)) = client.packets.pop_front() else { return };
            self.operations += 1;
            note!(self, self.about(wire), "arrived  {packet}{}", head(&packet));
            self.tell(Event::Arrived { connection: connection_id(wire), packet: &packet });
        }
    }

    fn handle_client_event(&mut self, live: &mut Live, event: ClientEvent) {
        let wire = live.wire;
        let device = self.device_id(wire);
        let owner = &mut self.devices[device.0 as usize];
        match event {
            ClientEvent::Connected { connack, lost } => {
                owner.must_start_clean = false;
                let is_known = owner.version != ProtocolVersion::V3_1;
                if !lost.is_empty() || (is_known && !connack.session_present) {
                    owner.under_way.clear();
                }
            }
            ClientEvent::Publish(publish) => {
                let message = &publish.message;
                let connection = connection_id(wire);
                self.tell(Event::Delivered { device, connection, message });
                if let Some(token) = publish.ack {
                    self.owe(live, token);
                }
            }
            ClientEvent::Released(token) => self.owe(live, token),
            ClientEvent::Received { packet_identifier, .. } => {
                let entry = owner.under_way.get_mut(&packet_identifier.value());
                if let Some((number, told)) = entry
                    && !std::mem::replace(told, true)
                {
                    let number = *number;
                    self.tell_acknowledged(wire, number);
                }
            }
            ClientEvent::Auth(auth) => {
                if auth.reason_code == ReasonCode::ContinueAuthentication
                    && let Some(answer) = self.draw_auth(wire, &auth)
                {
                    // The connection may be over by now.
                    let _ = live.connection.auth(self.now, answer, &mut live.out);
                }
            }
            ClientEvent::Acknowledged(acknowledged) => {
                let identifier = acknowledged.packet_identifier.value();
                let entry = owner.under_way.remove(&identifier);
                if let Some((number, false)) = entry
                    && !acknowledged.reason_code.is_error()
                {
                    self.tell_acknowledged(wire, number);
                }
            }
            _ => {}
        }
    }

    fn tell_acknowledged(&mut self, wire: u32, number: u64) {
        note!(self, self.about(wire), "message {number} is the broker's");
        let device = self.device_id(wire);
        self.tell(Event::Acknowledged { device, number });
    }

    /// The application owes an acknowledgement, and gives it now or later.
    fn owe(&mut self, live: &mut Live, token: AckToken) {
        let (least, most) = self.options.ack_delay;
        if self.calm || most == 0 {
            self.give(live, token);
            return;
        }
        let number = u64::from(live.wire) << 32 | u64::from(token.packet_identifier().value());
        let spread = crate::chance::mix(self.seed ^ number ^ self.now.as_micros());
        let at = self.now + Duration::from_micros(least + spread % (most - least + 1));
        live.owed.push_back((at, token));
        self.schedule.put(at, Happening::Acknowledge(live.wire));
    }

    fn give(&mut self, live: &mut Live, token: AckToken) {
        let code = ReasonCode::Success;
        let given = live.connection.acknowledge(self.now, token, code, &mut live.out);
        if given == Err(AckError::Unknown) {
            let what = format!("the Client's connection doesn't know {token:?}");
            let device = self.wires[live.wire as usize].device;
            self.fail("the Client's connection forgot an acknowledgement", what, vec![device]);
        }
    }

    pub(super) fn acknowledge_due(&mut self, wire: u32) {
        let device = self.wires[wire as usize].device;
        self.with_live(device, |world, live| {
            if live.wire != wire {
                return;
            }
            let due = |(at, _): &(Instant, AckToken)| world.calm || *at <= world.now;
            let tokens: Vec<AckToken> =
                live.owed.iter().filter(|owed| due(owed)).map(|(_, token)| *token).collect();
            live.owed.retain(|(_, token)| !tokens.contains(token));
            for token in tokens {
                world.give(live, token);
            }
            world.handle_client_input(live);
        });
    }

    // ---- output

    /// Publishes what waits, as far as the broker takes it.
    pub(super) fn publish_waiting(&mut self, live: &mut Live) {
        let device = self.wires[live.wire as usize].device;
        let owner = &mut self.devices[device as usize];
        while live.out.len() < OUT_LEN_MAX
            && let Some(message) = owner.outbox.front()
        {
            match live.connection.publish(self.now, message, &mut live.out) {
                Ok(Some(identifier)) => {
                    if let Some(number) = message_number(&message.payload) {
                        owner.under_way.insert(identifier.value(), (number, false));
                    }
                }
                Err(PublishError::NotConnected | PublishError::QuotaExhausted) => return,
                Ok(None) | Err(_) => {}
            }
            owner.outbox.pop_front();
        }
    }

    /// Hands to the network what it takes.
    pub(super) fn flush(&mut self, live: &mut Live) {
        let up = &mut self.wires[live.wire as usize].up;
        let mut wrote = false;
        while !live.out.is_empty() {
            let mut pieces = [&[][..]; 16];
            let filled = live.out.pieces(&mut pieces);
            self.scratch.clear();
            pieces[..filled].iter().for_each(|piece| self.scratch.extend_from_slice(piece));
            let Ok(count) = up.write(self.now, &self.scratch) else {
                // The end comes from the other direction.
                live.out.advance(live.out.len());
                break;
            };
            live.out.advance(count);
            wrote |= count > 0;
            if count < self.scratch.len() {
                break;
            }
        }
        if wrote {
            self.announce_up(live.wire);
        }
        self.watch_deadline(live);
    }

    fn watch_deadline(&mut self, live: &mut Live) {
        if let Some(at) = live.connection.poll_timeout()
            && live.deadline.is_none_or(|deadline| at < deadline || deadline <= self.now)
        {
            live.deadline = Some(at);
            self.schedule.put(at.max(self.now), Happening::Deadline(live.wire));
        }
    }

    pub(super) fn client_deadline(&mut self, wire: u32) {
        let device = self.wires[wire as usize].device;
        self.with_live(device, |world, live| {
            if live.wire != wire || live.deadline.is_some_and(|at| at > world.now) {
                return;
            }
            live.deadline = None;
            live.connection.handle_timeout(world.now, &mut live.out);
            world.flush(live);
        });
    }

    pub(super) fn room_up(&mut self, wire: u32) {
        let device = self.wires[wire as usize].device;
        self.with_live(device, |world, live| {
            if live.wire == wire {
                world.flush(live);
                world.publish_waiting(live);
                world.flush(live);
            }
        });
    }

    /// Does something with the connection of a device, if it has one, and sees whether it is over.
    pub(super) fn with_live(&mut self, device: u32, act: impl FnOnce(&mut Self, &mut Live)) {
        let Some(mut live) = self.devices[device as usize].live.take() else { return };
        act(self, &mut live);
        if live.connection.end().is_some() {
            self.close_client(device, live);
        } else {
            self.devices[device as usize].live = Some(live);
        }
    }
}

fn end_of(live: &Live) -> String {
    live.connection.end().map(ToString::to_string).unwrap_or_default()
}

impl Device {
    fn connect_packet(&self, plan: &ConnectPlan, clean_start: bool, number: u64) -> Connect {
        let is_v5 = self.version.is_v5();
        let will = plan.will.as_ref().and_then(|will| {
            let payload = format!("{} will", WILL_NUMBERS + number);
            Some(Will {
                topic_name: will.topic_name.parse().ok()?,
                payload: Bytes::from(payload),
                qos: will.qos,
                retain: will.retain,
                properties: WillProperties {
                    will_delay_interval: (is_v5 && will.delay_secs > 0).then_some(will.delay_secs),
                    message_expiry_interval: will.expiry_secs.filter(|_| is_v5),
                    ..WillProperties::default()
                },
            })
        });
        let properties = ConnectProperties {
            session_expiry_interval: plan.session_expiry_interval.filter(|_| !self.is_twin),
            receive_maximum: plan.receive_maximum,
            maximum_packet_size: plan.maximum_packet_size,
            topic_alias_maximum: plan.topic_alias_maximum,
            request_problem_information: plan.request_problem_information,
            authentication_method: self.is_enhanced.then(|| Text::from_static(METHOD)),
            authentication_data: self.is_enhanced.then(|| Bytes::from_static(BEGIN)),
            ..ConnectProperties::default()
        };
        let mut properties = if is_v5 { properties } else { ConnectProperties::default() };
        if !is_v5 {
            // Not told to the broker; it bounds what the Client owes.
            properties.receive_maximum = None;
        }
        Connect {
            protocol_version: self.version,
            bridge: false,
            clean_start,
            keep_alive: plan.keep_alive,
            client_identifier: self.client_identifier.clone(),
            will,
            user_name: None,
            password: None,
            properties,
        }
    }
}
