//! One of the two brokers: takes the steps of a script, and tells what the clients see.

use crate::draft::{ends_with_a_packet, frame};
use crate::script::{Action, Answers, CLIENTS, MARK, Script, Step, replace};
use crate::seen::{Read, Reader, Seen};
use anyhow::{Context as _, Result, bail};
use dunlin_codec::ProtocolVersion;
use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// After this time without an answer none is expected any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// An acknowledgement that did not come in this time is not expected any more.
const PATIENCE_FOR_ACKS: Duration = Duration::from_millis(300);

/// More rounds than any exchange takes; a broker that sends for ever is cut off here.
const ROUNDS_MAX: usize = 100;

const PINGREQ: [u8; 2] = [0xC0, 0];

/// What each client saw in one step.
pub(crate) type SeenInStep = [Vec<Seen>; CLIENTS];

/// A broker, and the connections of a script to it.
pub(crate) struct Side {
    address: SocketAddr,
    /// What its own connections speak, besides those of scripts.
    version: ProtocolVersion,
    run: [u8; 8],
    connections: [Option<Connection>; CLIENTS],
    /// Open all the time, so that there is always someone to ask whether the broker is at rest.
    control: Connection,
    /// How often everyone is asked at least: twice where threads may hand something on.
    rounds_min: usize,
}

struct Connection {
    stream: TcpStream,
    reader: Reader,
    answers: Answers,
    /// The name that stands where the script has its mark.
    run: [u8; 8],
}

impl Side {
    /// # Errors
    /// When the broker is not there.
    pub(crate) fn new(
        address: SocketAddr,
        version: ProtocolVersion,
        workers: usize,
    ) -> Result<Self> {
        let mut control = Connection::open(address, version, Answers::All)?;
        control.write(&connect(version, b"control"));
        match control.read_until_answered()?.as_slice() {
            [Seen::ConnAck { reason_code, .. }] if !reason_code.is_error() => {}
            other => bail!("{address} does not accept a client: {other:?}"),
        }
        let rounds_min = if workers > 1 { 2 } else { 1 };
        let connections = core::array::from_fn(|_| None);
        Ok(Self { address, version, run: *MARK, connections, control, rounds_min })
    }

    /// From here on all names are those of this run.
    pub(crate) fn begin(&mut self, run: [u8; 8]) {
        self.run = run;
    }

    /// Does one step, and waits until the broker has nothing more to say.
    ///
    /// # Errors
    /// When the broker is gone.
    pub(crate) fn perform(&mut self, step: &Step) -> Result<SeenInStep> {
        let mut seen: SeenInStep = Default::default();
        match &step.action {
            Action::Connect { version, answers, bytes } => {
                if self.connections[step.client].take().is_some() {
                    self.rest(&mut seen, None, 2)?;
                }
                let mut connection = Connection::open(self.address, *version, *answers)?;
                let is_whole = connection.send(bytes, &self.run);
                let heard = connection.read_until_answered()?;
                let accepted = heard.iter().any(|seen| {
                    matches!(seen, Seen::ConnAck { reason_code, .. } if !reason_code.is_error())
                });
                let ended = heard.iter().any(|seen| matches!(seen, Seen::Closed | Seen::Silent));
                seen[step.client].extend(heard);
                if !ended && accepted && is_whole {
                    self.connections[step.client] = Some(connection);
                } else if !ended {
                    seen[step.client].extend(connection.read_until_closed()?);
                }
                self.rest(&mut seen, Some(step.client), 2)?;
            }
            Action::Send(bytes) => {
                let Some(connection) = &mut self.connections[step.client] else {
                    return Ok(seen);
                };
                // The PINGREQ of the script is the one that brings rest.
                let is_whole = *bytes == PINGREQ || connection.send(bytes, &self.run);
                let is_disconnect = bytes.first() == Some(&0xE0);
                if is_whole && wants_answer(bytes) {
                    let (heard, ended) = connection.read_until_acknowledged()?;
                    seen[step.client].extend(heard);
                    if ended {
                        self.connections[step.client] = None;
                    }
                } else if !is_whole || is_disconnect {
                    seen[step.client].extend(connection.read_until_closed()?);
                    self.connections[step.client] = None;
                }
                let rounds = if is_whole && !is_disconnect { 1 } else { 2 };
                self.rest(&mut seen, Some(step.client), rounds)?;
            }
            Action::Cut => {
                if self.connections[step.client].take().is_some() {
                    self.rest(&mut seen, None, 2)?;
                }
            }
        }
        Ok(seen)
    }

    /// Asks every connection for an answer until a round brings nothing else.
    fn rest(&mut self, seen: &mut SeenInStep, first: Option<usize>, rounds: usize) -> Result<()> {
        let rounds = rounds.max(self.rounds_min);
        let order: Vec<usize> =
            first.into_iter().chain((0..CLIENTS).filter(|&at| Some(at) != first)).collect();
        for round in 1..=ROUNDS_MAX {
            let mut quiet = true;
            for &client in &order {
                let Some(connection) = &mut self.connections[client] else { continue };
                let (heard, ended) = connection.ping()?;
                quiet &= heard.is_empty();
                seen[client].extend(heard);
                if ended {
                    self.connections[client] = None;
                }
            }
            let (heard, ended) = self.control.ping()?;
            if ended || !heard.is_empty() {
                bail!("{} answers its control connection with {heard:?}", self.address);
            }
            if quiet && round >= rounds {
                return Ok(());
            }
        }
        bail!("{} does not come to rest", self.address)
    }

    /// Ends all sessions of a script and removes what it had retained.
    ///
    /// # Errors
    /// When the broker is gone.
    pub(crate) fn clean(&mut self, script: &Script) -> Result<()> {
        self.connections = core::array::from_fn(|_| None);
        self.rest(&mut Default::default(), None, 2)?;
        let (client_identifiers, topic_names) = names(script);
        for client_identifier in &client_identifiers {
            let mut connection = Connection::open(self.address, self.version, Answers::All)?;
            let mut bytes = connect(self.version, client_identifier);
            replace(&mut bytes, MARK, &self.run);
            connection.write(&bytes);
            connection.read_until_answered()?;
            connection.write(&[0xE0, 0]);
            connection.read_until_closed()?;
        }
        for topic_name in &topic_names {
            let mut body = (topic_name.len() as u16).to_be_bytes().to_vec();
            body.extend(topic_name);
            if self.version.is_v5() {
                body.push(0);
            }
            replace(&mut body, MARK, &self.run);
            self.control.write(&frame(0x31, &body));
        }
        self.rest(&mut Default::default(), None, 2)
    }
}

/// The strings in a script that name sessions and topics. What is none does no harm.
fn names(script: &Script) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
    let mut client_identifiers = BTreeSet::new();
    let mut topic_names = BTreeSet::new();
    for step in &script.steps {
        let (Action::Connect { bytes, .. } | Action::Send(bytes)) = &step.action else { continue };
        for at in 0..bytes.len().saturating_sub(2) {
            let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            let Some(text) = bytes.get(at + 2..at + 2 + len) else { continue };
            let is_ours = text.windows(MARK.len()).any(|part| part == MARK);
            if !is_ours || !text.iter().all(u8::is_ascii_graphic) {
                continue;
            }
            if text.starts_with(MARK) && text[MARK.len()..].starts_with(b"-") {
                client_identifiers.insert(text.to_vec());
            } else if !text.iter().any(|byte| b"+#".contains(byte)) {
                topic_names.insert(text.to_vec());
            }
        }
    }
    (client_identifiers, topic_names)
}

/// Whether a packet is answered by an acknowledgement.
fn wants_answer(bytes: &[u8]) -> bool {
    match bytes.first().map(|first| (first >> 4, first & 6)) {
        Some((3, qos)) => qos != 0,
        Some((packet_type, _)) => [6, 8, 10].contains(&packet_type),
        None => false,
    }
}

/// A CONNECT with Clean Start that asks for nothing.
fn connect(version: ProtocolVersion, client_identifier: &[u8]) -> Vec<u8> {
    let mut body = (version.name().len() as u16).to_be_bytes().to_vec();
    body.extend(version.name().as_bytes());
    body.extend([version.level(), 0x02, 0, 0]);
    if version.is_v5() {
        body.push(0);
    }
    body.extend((client_identifier.len() as u16).to_be_bytes());
    body.extend(client_identifier);
    frame(0x10, &body)
}

impl Connection {
    fn open(address: SocketAddr, version: ProtocolVersion, answers: Answers) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("the broker at {address} takes no connection"))?;
        stream.set_nodelay(true).context("a socket takes no option")?;
        stream.set_read_timeout(Some(PATIENCE)).context("a socket takes no time limit")?;
        Ok(Self { stream, reader: Reader::new(version), answers, run: *MARK })
    }

    /// Sends bytes of a script, and ends the sending where they end in the middle of a packet:
    /// nothing else would make the broker look at them. Tells whether they are whole.
    fn send(&mut self, bytes: &[u8], run: &[u8; 8]) -> bool {
        self.run = *run;
        let mut sent = bytes.to_vec();
        replace(&mut sent, MARK, run);
        self.write(&sent);
        let is_whole = ends_with_a_packet(bytes);
        if !is_whole {
            // A connection that is gone is seen when it is read.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        is_whole
    }

    fn write(&mut self, bytes: &[u8]) {
        // As above: what fails here is seen by reading.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads up to the answer to a PINGREQ; tells what else came, and whether that was the end.
    fn ping(&mut self) -> Result<(Vec<Seen>, bool)> {
        self.write(&PINGREQ);
        self.read_until(|read| matches!(read, Read::PingResp))
    }

    /// Reads up to the first packet, which ought to be CONNACK.
    fn read_until_answered(&mut self) -> Result<Vec<Seen>> {
        Ok(self.read_until(|read| matches!(read, Read::Seen(..)))?.0)
    }

    /// Reads up to an acknowledgement, for which a broker may wait for its store, or for as long as
    /// one can be expected.
    fn read_until_acknowledged(&mut self) -> Result<(Vec<Seen>, bool)> {
        let set = |stream: &TcpStream, time| {
            stream.set_read_timeout(Some(time)).context("a socket takes no time limit")
        };
        let releases = self.answers != Answers::None;
        set(&self.stream, PATIENCE_FOR_ACKS)?;
        let (mut seen, mut ended) = self.read_until(|read| {
            let Read::Seen(seen, _) = read else { return false };
            match seen {
                Seen::PubRec(_, reason_code) => !releases || reason_code.is_error(),
                Seen::PubAck(..) | Seen::PubComp(..) | Seen::SubAck(..) | Seen::UnsubAck(..) => {
                    true
                }
                _ => false,
            }
        })?;
        if seen.last() == Some(&Seen::Silent) {
            seen.pop();
            ended = false;
        }
        set(&self.stream, PATIENCE)?;
        Ok((seen, ended))
    }

    fn read_until_closed(&mut self) -> Result<Vec<Seen>> {
        Ok(self.read_until(|_| false)?.0)
    }

    fn read_until(&mut self, is_last: impl Fn(&Read) -> bool) -> Result<(Vec<Seen>, bool)> {
        let mut seen = Vec::new();
        loop {
            while let Some(read) = self.reader.next() {
                let is_last = is_last(&read);
                if let Read::Seen(packet, identifier) = read {
                    self.answer(&packet, identifier);
                    seen.push(packet);
                }
                if is_last {
                    return Ok((seen, false));
                }
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => seen.push(Seen::Closed),
                Ok(len) => {
                    self.reader.take(&part[..len], &self.run);
                    continue;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => seen.push(Seen::Silent),
                    io::ErrorKind::Interrupted => continue,
                    _ => seen.push(Seen::Closed),
                },
            }
            return Ok((seen, true));
        }
    }

    fn answer(&mut self, seen: &Seen, identifier: Option<u16>) {
        let Some(identifier) = identifier else { return };
        let first = match seen {
            Seen::PubRec(_, reason_code) if self.answers != Answers::None => {
                if reason_code.is_error() {
                    return;
                }
                0x62
            }
            Seen::Publish(message) if message.qos == 1 && self.answers == Answers::All => 0x40,
            Seen::Publish(message) if message.qos == 2 && self.answers != Answers::None => 0x50,
            Seen::PubRel(_) if self.answers == Answers::All => 0x70,
            _ => return,
        };
        let [high, low] = identifier.to_be_bytes();
        self.write(&[first, 2, high, low]);
    }
}
