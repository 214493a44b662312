//! A small broker that does right, but for one bad habit: what checks pass at, and then fail at.

use bytes::BytesMut;
use dunlin_codec::{
    Ack, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, Decoder, Delivery, Disconnect,
    Packet, PacketIdentifier, ProtocolVersion, Publish, PublishTopic, QoS, ReasonCode, SubAck,
    SubAckProperties, Subscribe, SubscriptionIdentifier, SubscriptionOptions, Text, TopicFilter,
    TopicName, UnsubAck, Unsubscribe, Will,
};
use dunlin_conformance::{ToPacket, encoded, message};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing.
    None,
    /// SUBACK and UNSUBACK have another Packet Identifier.
    WrongIdentifiers,
    /// QoS 2 is refused wherever it comes, against what CONNACK says.
    RefusesQoS2,
    /// RETAIN is refused wherever it comes, against what CONNACK says.
    RefusesRetain,
    /// Half a second of silence is too long, whatever the Keep Alive.
    Impatient,
    /// PINGREQ is answered twice.
    AnswersTwice,
    /// Reason Strings and User Properties wherever there is room for them.
    Talkative,
    /// CONNACK names a method that nobody asked for.
    NamesMethod,
    /// AUTH comes before CONNACK, though nobody asked for it.
    BeginsWithAuth,
    /// A second subscription to a filter stands beside the first.
    SubscribesTwice,
    /// Retained messages come with the first subscription alone.
    RetainedOnce,
    /// No Local means nothing.
    IgnoresNoLocal,
    /// Subscription Identifiers are forgotten.
    ForgetsIdentifiers,
    /// Codes are in the wrong order.
    ReversesCodes,
    /// UNSUBSCRIBE is answered, and nothing else.
    KeepsSubscriptions,
    /// UNSUBSCRIBE deletes what its filter matches.
    UnsubscribesByMatching,
    /// Large letters are small ones.
    IgnoresCase,
    /// Spaces and byte order marks are dropped.
    Trims,
    /// `#` does not match its parent level, `+` no empty level.
    MatchesLess,
    /// `+` matches what begins with `+`'s level, however long.
    MatchesMore,
    /// `$` is a letter.
    ShowsDollar,
    /// Each member of a group gets each message.
    SharesWithAll,
    /// A group gets retained messages.
    SharesRetained,
    /// DISCONNECT does not take the Will away.
    AlwaysWill,
    /// Only a DISCONNECT with 0x04 brings the Will.
    RarelyWill,
    /// The Will comes as a plain message of QoS 0 without RETAIN.
    FlatWill,
    /// The Will is always retained.
    RetainedWill,
    /// A session that goes on has no subscriptions left.
    ForgetsSubscriptions,
    /// Client Identifiers are compared without case.
    MixesClients,
    /// A connection ends, and all others with it.
    EndsAll,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Publish>,
    connections: u64,
    turn: usize,
}

struct Session {
    connection: u64,
    stream: Option<TcpStream>,
    version: ProtocolVersion,
    is_kept: bool,
    will: Option<Will>,
    held: Vec<Held>,
    waiting: Vec<Publish>,
    packet_identifier: PacketIdentifier,
}

#[derive(Clone)]
struct Held {
    filter: TopicFilter,
    options: SubscriptionOptions,
    identifier: Option<SubscriptionIdentifier>,
}

struct Broker {
    habit: Habit,
    state: Mutex<State>,
}

/// Starts it, for as long as the test program runs.
pub(super) fn start(habit: Habit) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let broker = Arc::new(Broker { habit, state: Mutex::default() });
    if habit == Habit::ShowsDollar {
        let name = TopicName::from_static("$SYS/broker/version");
        let version = Publish { retain: true, ..message(&name, "1") };
        broker.lock().retained.insert(name.to_string(), version);
    }
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let broker = Arc::clone(&broker);
            thread::spawn(move || broker.serve(stream));
        }
    });
    address
}

/// A connection, once it has said CONNECT.
struct Client {
    name: String,
    number: u64,
    version: ProtocolVersion,
}

impl Broker {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut decoder = Decoder::new(ProtocolVersion::V3_1_1, u32::MAX);
        let mut input = BytesMut::new();
        let mut chunk = [0; 4096];
        let mut client: Option<Client> = None;
        let mut keeps_will = true;
        let _ = stream.set_nodelay(true);
        if self.habit == Habit::Impatient {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        }
        'connection: while let Ok(count @ 1..) = read(&mut stream, &mut chunk) {
            input.extend_from_slice(&chunk[..count]);
            loop {
                match decoder.decode(&mut input) {
                    Ok(Some(Packet::Connect(connect))) if client.is_none() => {
                        decoder.set_version(connect.protocol_version);
                        if connect.keep_alive > 0 && self.habit != Habit::Impatient {
                            let silence = Duration::from_secs(connect.keep_alive.into()) * 3 / 2;
                            let _ = stream.set_read_timeout(Some(silence));
                        }
                        client = self.connect(*connect, &stream);
                        if client.is_none() {
                            break 'connection;
                        }
                    }
                    Ok(Some(Packet::Disconnect(disconnect))) if client.is_some() => {
                        let is_normal = disconnect.reason_code == ReasonCode::Success;
                        keeps_will = !is_normal || self.habit == Habit::AlwaysWill;
                        break 'connection;
                    }
                    Ok(Some(packet)) => match &client {
                        Some(client) if self.answer(client, packet, &mut stream) => {}
                        _ => break 'connection,
                    },
                    Ok(None) => break,
                    Err(_) => break 'connection,
                }
            }
        }
        if self.habit == Habit::RarelyWill {
            keeps_will = false;
        }
        if let Some(client) = client {
            self.end(&client, keeps_will);
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn connect(&self, connect: Connect, stream: &TcpStream) -> Option<Client> {
        let version = connect.protocol_version;
        let mut send = stream.try_clone().expect("a socket can be shared");
        let will_is_refused = connect.will.as_ref().is_some_and(|will| {
            (will.retain && self.habit == Habit::RefusesRetain)
                || (will.qos == QoS::ExactlyOnce && self.habit == Habit::RefusesQoS2)
        });
        if connect.properties.authentication_method.is_some() || will_is_refused {
            write(&mut send, self.connack(false, ReasonCode::BadAuthenticationMethod), version);
            return None;
        }
        let mut name = connect.client_identifier.to_string();
        if self.habit == Habit::MixesClients {
            name = name.to_lowercase();
        }
        let mut state = self.lock();
        state.connections += 1;
        let number = state.connections;
        if let Some(mut old) = state.sessions.remove(&name) {
            if let Some(stream) = old.stream.take() {
                let farewell = Disconnect::new(ReasonCode::SessionTakenOver);
                if old.version.is_v5() {
                    write(&mut &stream, farewell, old.version);
                }
                let _ = stream.shutdown(Shutdown::Both);
            }
            if let Some(will) = old.will.take() {
                self.publish_will(&mut state, will);
            }
            if old.is_kept && !connect.clean_start {
                state.sessions.insert(name.clone(), old);
            }
        }
        let is_present = state.sessions.contains_key(&name);
        let is_kept = match version.is_v5() {
            true => connect.properties.session_expiry_interval.unwrap_or(0) > 0,
            false => !connect.clean_start,
        };
        let session = state.sessions.entry(name.clone()).or_insert(Session {
            connection: 0,
            stream: None,
            version,
            is_kept,
            will: None,
            held: Vec::new(),
            waiting: Vec::new(),
            packet_identifier: PacketIdentifier::FIRST,
        });
        session.connection = number;
        session.is_kept = is_kept;
        session.version = version;
        session.will = connect.will;
        if self.habit == Habit::ForgetsSubscriptions {
            session.held.clear();
        }
        if self.habit == Habit::BeginsWithAuth && version.is_v5() {
            let properties = AuthProperties {
                authentication_method: Some(Text::from_static("mine")),
                ..AuthProperties::default()
            };
            let auth = Auth { reason_code: ReasonCode::ContinueAuthentication, properties };
            write(&mut send, auth, version);
        }
        write(&mut send, self.connack(is_present, ReasonCode::Success), version);
        session.stream = Some(send);
        for publish in std::mem::take(&mut session.waiting) {
            deliver(session, publish);
        }
        Some(Client { name, number, version })
    }

    fn connack(&self, session_present: bool, reason_code: ReasonCode) -> ConnAck {
        let mut properties = ConnAckProperties::default();
        match self.habit {
            Habit::Talkative => properties.reason_string = Some(talk()),
            Habit::NamesMethod => {
                properties.authentication_method = Some(Text::from_static("mine"));
            }
            _ => {}
        }
        ConnAck { session_present, reason_code, properties }
    }

    /// Whether the connection goes on.
    fn answer(&self, client: &Client, packet: Packet, stream: &mut TcpStream) -> bool {
        let ack = |packet_identifier| Ack::new(packet_identifier, ReasonCode::Success);
        let mut send = |packet: Packet| write(stream, packet, client.version);
        match packet {
            Packet::Publish(publish) => {
                let qos = publish.delivery.qos();
                let is_refused = (qos == QoS::ExactlyOnce && self.habit == Habit::RefusesQoS2)
                    || (publish.retain && self.habit == Habit::RefusesRetain);
                let (Some(_), false) = (publish.topic.name(), is_refused) else { return false };
                if !publish.subscription_identifiers.is_empty() {
                    return false;
                }
                let delivery = publish.delivery;
                self.publish(&mut self.lock(), Some(&client.name), publish);
                match delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce { packet_identifier, .. } => {
                        send(Packet::PubAck(ack(packet_identifier)));
                    }
                    Delivery::ExactlyOnce { packet_identifier, .. } => {
                        send(Packet::PubRec(ack(packet_identifier)));
                    }
                }
            }
            Packet::PubRec(received) => send(Packet::PubRel(ack(received.packet_identifier))),
            Packet::PubRel(released) => send(Packet::PubComp(ack(released.packet_identifier))),
            Packet::PubAck(_) | Packet::PubComp(_) => {}
            Packet::Subscribe(subscribe) => self.subscribe(client, *subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(client, *unsubscribe),
            Packet::PingReq => {
                send(Packet::PingResp);
                if self.habit == Habit::AnswersTwice {
                    send(Packet::PingResp);
                }
            }
            _ => return false,
        }
        true
    }

    fn end(&self, client: &Client, keeps_will: bool) {
        let mut state = self.lock();
        if self.habit == Habit::EndsAll {
            for session in state.sessions.values_mut() {
                session.stream = None;
            }
        }
        let Some(session) = state.sessions.get_mut(&client.name) else { return };
        if session.connection != client.number {
            return;
        }
        session.stream = None;
        let will = session.will.take().filter(|_| keeps_will);
        if !session.is_kept {
            state.sessions.remove(&client.name);
        }
        if let Some(will) = will {
            self.publish_will(&mut state, will);
        }
    }

    fn publish_will(&self, state: &mut State, will: Will) {
        let is_flat = self.habit == Habit::FlatWill;
        let qos = if is_flat { QoS::AtMostOnce } else { will.qos };
        let properties = Some(Arc::new(will.properties.message.clone()));
        let publish = Publish {
            delivery: delivery(qos, PacketIdentifier::FIRST),
            retain: (will.retain && !is_flat) || self.habit == Habit::RetainedWill,
            message_expiry_interval: will.properties.message_expiry_interval.filter(|_| !is_flat),
            properties: properties.filter(|_| !is_flat),
            ..message(&will.topic_name, will.payload)
        };
        self.publish(state, None, publish);
    }

    fn publish(&self, state: &mut State, from: Option<&str>, mut publish: Publish) {
        let name = self.name_of(&publish);
        if publish.retain && publish.payload.is_empty() {
            state.retained.remove(&name);
        } else if publish.retain {
            state.retained.insert(name.clone(), publish.clone());
        }
        if self.habit == Habit::Trims {
            publish.topic = PublishTopic::Name(name.parse().expect("it was one before"));
        }
        state.turn += 1;
        let turn = state.turn;
        // The members of each group, by the filter that names it.
        let mut groups: BTreeMap<String, Vec<(String, Held)>> = BTreeMap::new();
        for (owner, session) in &mut state.sessions {
            let held: Vec<Held> =
                session.held.iter().filter(|held| self.is_match(held, &name)).cloned().collect();
            for held in held {
                if held.filter.share_name().is_some() {
                    let members = groups.entry(held.filter.to_string()).or_default();
                    members.push((owner.clone(), held));
                } else if !(held.options.no_local
                    && from == Some(owner)
                    && self.habit != Habit::IgnoresNoLocal)
                {
                    self.copy(session, &held, &publish, false);
                }
            }
        }
        for members in groups.values() {
            let all = members.len();
            for (at, (owner, held)) in members.iter().enumerate() {
                let is_chosen = at == turn % all || self.habit == Habit::SharesWithAll;
                if let Some(session) = state.sessions.get_mut(owner).filter(|_| is_chosen) {
                    self.copy(session, held, &publish, false);
                }
            }
        }
    }

    fn name_of(&self, publish: &Publish) -> String {
        let name = publish.topic.name().map(ToString::to_string).unwrap_or_default();
        match self.habit {
            Habit::Trims => name.replace([' ', '\u{FEFF}'], ""),
            _ => name,
        }
    }

    fn copy(&self, session: &mut Session, held: &Held, publish: &Publish, is_stored: bool) {
        let qos = publish.delivery.qos().min(held.options.maximum_qos);
        let identifier = held.identifier.filter(|_| self.habit != Habit::ForgetsIdentifiers);
        let copy = Publish {
            delivery: delivery(qos, session.packet_identifier),
            retain: is_stored || (publish.retain && held.options.retain_as_published),
            subscription_identifiers: identifier.into_iter().collect(),
            ..publish.clone()
        };
        session.packet_identifier = session.packet_identifier.next();
        deliver(session, copy);
    }

    fn subscribe(&self, client: &Client, subscribe: Subscribe) {
        let mut state = self.lock();
        let retained: Vec<Publish> = state.retained.values().cloned().collect();
        let Some(session) = state.sessions.get_mut(&client.name) else { return };
        let mut reason_codes = Vec::new();
        let mut to_send = Vec::new();
        for wanted in subscribe.subscriptions {
            let qos = wanted.options.maximum_qos;
            if qos == QoS::ExactlyOnce && self.habit == Habit::RefusesQoS2 {
                reason_codes.push(ReasonCode::UnspecifiedError);
                continue;
            }
            reason_codes.push(ReasonCode::new(qos.value()).expect("a granted QoS"));
            let is_new = !session.held.iter().any(|held| held.filter == wanted.topic_filter);
            if self.habit != Habit::SubscribesTwice {
                session.held.retain(|held| held.filter != wanted.topic_filter);
            }
            let identifier = subscribe.properties.subscription_identifier;
            let (filter, options) = (wanted.topic_filter, wanted.options);
            let held = Held { filter, options, identifier };
            session.held.push(held.clone());
            let is_shared = held.filter.share_name().is_some();
            if (!is_shared || self.habit == Habit::SharesRetained)
                && (is_new || self.habit != Habit::RetainedOnce)
            {
                to_send.push(held);
            }
        }
        if self.habit == Habit::ReversesCodes {
            reason_codes.reverse();
        }
        let packet_identifier = self.identifier(subscribe.packet_identifier);
        let suback = SubAck { packet_identifier, properties: self.talk(), reason_codes };
        if let Some(stream) = &mut session.stream {
            write(stream, suback, client.version);
        }
        for held in to_send {
            for publish in &retained {
                if self.is_match(&held, &self.name_of(publish)) {
                    self.copy(session, &held, publish, true);
                }
            }
        }
    }

    fn unsubscribe(&self, client: &Client, unsubscribe: Unsubscribe) {
        let mut state = self.lock();
        let Some(session) = state.sessions.get_mut(&client.name) else { return };
        let mut reason_codes = Vec::new();
        for filter in unsubscribe.topic_filters {
            let before = session.held.len();
            match self.habit {
                Habit::KeepsSubscriptions => {}
                Habit::UnsubscribesByMatching => {
                    let (pattern, options) = (filter, SubscriptionOptions::default());
                    let any = Held { filter: pattern, options, identifier: None };
                    session.held.retain(|held| !self.is_match(&any, held.filter.as_str()));
                }
                _ => session.held.retain(|held| held.filter != filter),
            }
            let was_there = session.held.len() < before;
            let has_code = was_there || self.habit == Habit::ReversesCodes;
            reason_codes.push(match has_code {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            });
        }
        let packet_identifier = self.identifier(unsubscribe.packet_identifier);
        let unsuback = UnsubAck { packet_identifier, properties: self.talk(), reason_codes };
        if let Some(stream) = &mut session.stream {
            write(stream, unsuback, client.version);
        }
    }

    fn identifier(&self, packet_identifier: PacketIdentifier) -> PacketIdentifier {
        match self.habit {
            Habit::WrongIdentifiers => packet_identifier.next(),
            _ => packet_identifier,
        }
    }

    fn talk(&self) -> SubAckProperties {
        let mut properties = SubAckProperties::default();
        if self.habit == Habit::Talkative {
            properties.reason_string = Some(talk());
        }
        properties
    }

    fn is_match(&self, held: &Held, name: &str) -> bool {
        let filter = held.filter.matching_part();
        let is_wild = filter.starts_with(['#', '+']);
        if is_wild && name.starts_with('$') && self.habit != Habit::ShowsDollar {
            return false;
        }
        match self.habit {
            Habit::IgnoresCase => matches(self.habit, &filter.to_lowercase(), &name.to_lowercase()),
            Habit::Trims => matches(self.habit, &filter.replace([' ', '\u{FEFF}'], ""), name),
            _ => matches(self.habit, filter, name),
        }
    }
}

fn matches(habit: Habit, filter: &str, name: &str) -> bool {
    let (mut filter, mut name) = (filter.split('/'), name.split('/'));
    loop {
        match (filter.next(), name.next()) {
            (None, None) => return true,
            (Some("#"), None) => return habit != Habit::MatchesLess,
            (Some("#"), Some(_)) => return true,
            (Some("+"), Some("")) if habit == Habit::MatchesLess => return false,
            (Some("+"), Some(_)) if habit == Habit::MatchesMore => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

const fn delivery(qos: QoS, packet_identifier: PacketIdentifier) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
    }
}

fn deliver(session: &mut Session, publish: Publish) {
    match &mut session.stream {
        Some(stream) => write(stream, publish, session.version),
        None if publish.delivery.qos() > QoS::AtMostOnce => session.waiting.push(publish),
        None => {}
    }
}

fn talk() -> Text {
    "a long tale of what went well ".repeat(8).parse().expect("a text")
}

fn write(stream: &mut impl std::io::Write, packet: impl ToPacket, version: ProtocolVersion) {
    // Whoever is gone does not listen.
    let _ = stream.write_all(&encoded(packet, version));
}

fn read(stream: &mut TcpStream, chunk: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
