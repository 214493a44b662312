//! TLS handshakes that are never finished.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dunlin_bench::frame;

use super::{KEPT_MAX, Scene, Stage};
use crate::swarm::{self, Course, Next, Script, Tally};
use crate::tls::{Clients, Exchange};

pub(crate) const SCENE: Scene = Scene {
    name: "unfinished-handshakes",
    what: "10,000 connections to the listener with TLS that send nothing, half of a ClientHello, or all of \
           it and then no more; who is closed comes again after a second. Clients that mean it come one \
           after the other",
    settings: &["limits.half_open_max=1000", "limits.handshake_timeout_secs=15"],
    stores: false,
    growth_max: 96,
    growth_reason: "96 KiB for each of 1,000 handshakes; the others wait with the system",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// How long who was closed stays away.
const REST: Duration = Duration::from_secs(1);

/// How long a client that means it stays away.
const GUEST_REST: Duration = Duration::from_millis(100);

struct Unfinished {
    hello: Vec<u8>,
}

impl Script for Unfinished {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let len = self.hello.len() * (client % 3) / 2;
        out.extend_from_slice(&self.hello[..len]);
    }

    fn received(
        &mut self,
        _client: usize,
        input: &[u8],
        _out: &mut Vec<u8>,
        _tally: &mut Tally,
    ) -> (usize, Next) {
        (input.len(), Next::Stay)
    }

    fn ended(&mut self, _client: usize, _tally: &mut Tally) -> Next {
        Next::Again(REST)
    }
}

/// Clients that mean it, and how long each took until its CONNACK.
#[derive(Default)]
struct Guests {
    times: Vec<Duration>,
    turned_away: u32,
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let clients = Clients::new(stage.certificates, Exchange::Offered, false)?;
    let mut script = Unfinished { hello: clients.hello()? };
    let count = stage.size(10_000, 300);
    let course = Course { address: stage.doors.mqtts, ..stage.course(count) };
    let (tally, guests) = thread::scope(|scope| {
        let guests = scope.spawn(|| come(&clients, stage));
        (swarm::run(course, &mut script), guests.join())
    });
    let (mut tally, guests) = (tally?, guests.unwrap_or_default());
    tally.served = guests.times.len() as u64;
    let slowest = guests.times.iter().max().copied().unwrap_or_default();
    let mut times = guests.times;
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    tally.note("clients that meant it: served", times.len() as f64);
    tally.note("clients that meant it: turned away", f64::from(guests.turned_away));
    tally.note("clients that meant it: median ms to CONNACK", median.as_secs_f64() * 1e3);
    tally.note("clients that meant it: slowest ms to CONNACK", slowest.as_secs_f64() * 1e3);
    Ok(tally)
}

/// Clients that mean it, one after the other until the time is up.
fn come(clients: &Clients, stage: &Stage<'_>) -> Guests {
    let mut guests = Guests::default();
    loop {
        let began = Instant::now();
        let Some(left) = stage.until.checked_duration_since(began).filter(|left| !left.is_zero())
        else {
            return guests;
        };
        match visit(clients, stage, left) {
            Ok(()) => guests.times.push(began.elapsed()),
            // The time was up before the broker had answered.
            Err(_) if Instant::now() >= stage.until => return guests,
            Err(_) => guests.turned_away += 1,
        }
        thread::sleep(GUEST_REST);
    }
}

/// One of them.
fn visit(clients: &Clients, stage: &Stage<'_>, patience: Duration) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&stage.doors.mqtts, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    let mut session = clients.connect()?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let mut bytes = Vec::new();
    frame::push_connect(&mut bytes, "guest", true);
    tls.write_all(&bytes)?;
    let mut answer = [0; 4];
    tls.read_exact(&mut answer)?;
    ensure!(answer == [frame::CONNACK, 2, 0, 0], "refused: CONNACK {answer:02x?}");
    session.send_close_notify();
    Ok(session.complete_io(&mut stream).map(drop)?)
}
