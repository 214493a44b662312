//! All clients come at once by TLS, and when they are there, all lose their connections and come
//! again with the tickets that they have; beside the pair, and without it beside Mosquitto.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dunlin_bench::frame::{self, CONNACK};
use dunlin_bench::process;
use rustls::{ClientConnection, NamedGroup};

use super::{KEPT_MAX, Scene, Stage};
use crate::broker::Broker;
use crate::swarm::{self, Course, Crowd, Next, Script, Tally};
use crate::tls::{self, Clients, Decrypted, Exchange};

pub(crate) const SCENE: Scene = Scene {
    name: "reconnect-storm",
    what: "10,000 clients that connect by TLS at once, and when the last is there, all lose their \
           connections and come again at once with their tickets, as often as there is time for; all have \
           to be served",
    settings: &["limits.half_open_max=1000", "limits.handshake_timeout_secs=15"],
    stores: false,
    growth_max: 320,
    growth_reason: "32 KiB for each client: a TLS session, a connection and a session",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

const CLIENTS: usize = 10_000;

/// How long who was closed before its CONNACK stays away.
const REST: Duration = Duration::from_millis(500);

/// Handshakes under way at the same time where brokers are compared: no broker's backlog is longer.
const PARALLEL: usize = 100;

/// How long a comparison may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// All clients of a storm.
struct Storm {
    tls: Clients,
    clients: Vec<Client>,
    /// Handshakes under way at the same time.
    parallel: usize,
    /// Clients that have a connection, and no CONNACK yet.
    under_way: usize,
    round: Round,
    rounds: Vec<Round>,
    rounds_max: usize,
    pid: u32,
    is_cut_due: bool,
    retries: u64,
    group: Option<NamedGroup>,
    fault: Option<anyhow::Error>,
}

#[derive(Default)]
struct Client {
    session: Option<Box<ClientConnection>>,
    plaintext: Vec<u8>,
    has_greeted: bool,
    is_served: bool,
}

/// From nobody to all.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    /// The broker's CPU time when it began, and later what it took.
    cpu: Duration,
    elapsed: Duration,
    served: usize,
    resumed: usize,
}

impl Round {
    fn begin(pid: u32) -> Self {
        Self {
            began: Instant::now(),
            cpu: process::cpu_time(pid).unwrap_or_default(),
            elapsed: Duration::ZERO,
            served: 0,
            resumed: 0,
        }
    }
}

impl Storm {
    fn new(tls: Clients, clients: usize, parallel: usize, rounds_max: usize, pid: u32) -> Self {
        Self {
            tls,
            clients: (0..clients).map(|_| Client::default()).collect(),
            parallel,
            under_way: 0,
            round: Round::begin(pid),
            rounds: Vec::new(),
            rounds_max,
            pid,
            is_cut_due: false,
            retries: 0,
            group: None,
            fault: None,
        }
    }

    /// A client has its CONNACK.
    fn serve(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.is_served = true;
        state.plaintext = Vec::new();
        if let Some(session) = &state.session {
            self.round.resumed += usize::from(tls::is_resumed(session));
            self.group = tls::group(session).or(self.group);
        }
        self.under_way -= 1;
        self.round.served += 1;
        if self.round.served == self.clients.len() {
            let Round { began, cpu, .. } = self.round;
            let after = process::cpu_time(self.pid).unwrap_or_default();
            self.round.cpu = after.saturating_sub(cpu);
            self.round.elapsed = began.elapsed();
            self.rounds.push(self.round);
            self.is_cut_due = true;
        }
    }
}

impl Script for Storm {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        self.under_way += 1;
        match self.tls.connect() {
            Ok(mut session) => {
                tls::send(&mut session, out);
                let session = Some(Box::new(session));
                self.clients[client] = Client { session, ..Client::default() };
            }
            Err(error) => self.fault = Some(error),
        }
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let state = &mut self.clients[client];
        let Some(session) = &mut state.session else { return (input.len(), Next::Stay) };
        if let Decrypted::Over = tls::take(session, input, &mut state.plaintext, out) {
            tally.blame("a TLS session broke");
        }
        if !session.is_handshaking() && !state.has_greeted {
            state.has_greeted = true;
            let mut connect = Vec::new();
            frame::push_connect(&mut connect, &format!("storm-{client}"), true);
            // A session that has just begun has room for it.
            let _ = std::io::Write::write_all(&mut session.writer(), &connect);
            tls::send(session, out);
        }
        if !state.is_served && state.plaintext.len() >= 4 {
            if state.plaintext[..4] == [CONNACK, 2, 0, 0] {
                tally.served += 1;
                self.serve(client);
            } else {
                tally.refused += 1;
                state.plaintext.clear();
            }
        }
        (input.len(), Next::Stay)
    }

    fn ended(&mut self, client: usize, tally: &mut Tally) -> Next {
        let state = std::mem::take(&mut self.clients[client]);
        if state.is_served {
            tally.blame("a client was closed that had been served");
            self.round.served -= 1;
        } else {
            self.under_way -= 1;
            self.retries += 1;
        }
        Next::Again(REST)
    }

    fn tick(&mut self, _now: Instant, crowd: &mut Crowd<'_>) {
        if !self.is_cut_due || self.rounds.len() >= self.rounds_max {
            return;
        }
        self.is_cut_due = false;
        for (client, state) in self.clients.iter_mut().enumerate() {
            *state = Client::default();
            crowd.leave(client, Next::Again(Duration::ZERO));
        }
        self.round = Round::begin(self.pid);
    }

    fn room(&self) -> usize {
        self.parallel.saturating_sub(self.under_way)
    }

    fn is_over(&self) -> bool {
        self.fault.is_some() || (self.is_cut_due && self.rounds.len() >= self.rounds_max)
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let count = stage.size(CLIENTS, 100);
    let clients = Clients::new(stage.certificates, Exchange::Offered, true)?;
    let mut storm = Storm::new(clients, count, count, usize::MAX, stage.pid);
    let course = Course { address: stage.doors.mqtts, ..stage.course(count) };
    let mut tally = swarm::run(course, &mut storm)?;
    if let Some(fault) = storm.fault {
        return Err(fault);
    }
    if storm.rounds.is_empty() {
        tally.blame(format!("{} of {count} clients were served", storm.round.served));
    }
    let secs = |rounds: &[Round]| {
        let sum: Duration = rounds.iter().map(|round| round.elapsed).sum();
        sum.as_secs_f64() / rounds.len().max(1) as f64
    };
    if let Some((first, others)) = storm.rounds.split_first() {
        tally.note("seconds until all were there", secs(&[*first]));
        tally.note("times that all came again", others.len() as f64);
        if !others.is_empty() {
            let resumed: usize = others.iter().map(|round| round.resumed).sum();
            tally.note("seconds until all were there again, on average", secs(others));
            let percent = 100.0 * resumed as f64 / (others.len() * count) as f64;
            tally.note("% of the sessions resumed then", percent);
        }
    }
    tally.note("handshakes that were given up, and tried again", storm.retries as f64);
    Ok(tally)
}

/// What handshakes cost a broker.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    pub(crate) broker: &'static str,
    /// What is special about them.
    pub(crate) kind: String,
    pub(crate) clients: usize,
    pub(crate) elapsed: Duration,
    /// The broker's CPU time for each, from the TCP handshake to CONNACK.
    pub(crate) cpu_each: Duration,
    /// How many took up an earlier session.
    pub(crate) resumed: usize,
}

/// Lets all clients come to our broker, and to Mosquitto if there is one, in each of the ways.
///
/// # Errors
/// When a broker does not serve all of them in time.
pub(crate) fn compare(
    dunlin: &Path,
    mosquitto: Option<&Path>,
    certificates: &Path,
) -> Result<Vec<Handshakes>> {
    let ways = [(Exchange::Offered, false), (Exchange::X25519, false), (Exchange::X25519, true)];
    let mut rows = Vec::new();
    for (exchange, resumes) in ways {
        let ours = Broker::dunlin(dunlin, certificates, SCENE.settings, false)?;
        rows.push(measure("Dunlin", &ours, certificates, exchange, resumes)?);
        drop(ours);
        if let Some(mosquitto) = mosquitto {
            let theirs = Broker::mosquitto(mosquitto, certificates)?;
            rows.push(measure("Mosquitto", &theirs, certificates, exchange, resumes)?);
        }
    }
    Ok(rows)
}

fn measure(
    name: &'static str,
    broker: &Broker,
    certificates: &Path,
    exchange: Exchange,
    resumes: bool,
) -> Result<Handshakes> {
    let clients = Clients::new(certificates, exchange, resumes)?;
    // The first round brings the tickets for the second.
    let rounds = if resumes { 2 } else { 1 };
    let mut storm = Storm::new(clients, CLIENTS, PARALLEL, rounds, broker.pid());
    let until = Instant::now() + PATIENCE;
    let course = Course { address: broker.doors().mqtts, clients: CLIENTS, until };
    swarm::run(course, &mut storm)?;
    if let Some(fault) = storm.fault {
        return Err(fault);
    }
    ensure!(storm.rounds.len() == rounds, "{name} served {} in time", storm.round.served);
    let round = storm.rounds.last().context("there was a round")?;
    let group = storm.group.map_or_else(|| "?".to_owned(), |group| format!("{group:?}"));
    Ok(Handshakes {
        broker: name,
        kind: if resumes { format!("{group}, resumed") } else { format!("{group}, new") },
        clients: CLIENTS,
        elapsed: round.elapsed,
        cpu_each: round.cpu / CLIENTS as u32,
        resumed: round.resumed,
    })
}
