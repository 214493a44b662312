//! Handshakes of QUIC that are never finished.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use quinn_proto::ClientConfig;

use super::{KEPT_MAX, Scene, Stage};
use crate::quic::{Client, Line};
use crate::swarm::Tally;
use crate::tls::{Clients, Exchange};

pub(crate) const SCENE: Scene = Scene {
    name: "unfinished-quic",
    what: "2,000 clients of 10 addresses begin a connection of QUIC each second: a quarter sends half of a \
           ClientHello, one all of it, one also proves its address when it is asked to, and one shakes \
           hands and opens no stream. Clients that mean it come one after the other, and one that was \
           there before pings",
    settings: &["limits.half_open_max=1000", "limits.handshake_timeout_secs=15"],
    stores: false,
    growth_max: 192,
    growth_reason: "48 KiB for each of 1,000 handshakes and of three times as many that were given up, whose \
                    end takes three seconds",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// How many addresses of this machine the hostile come from.
const SOURCES: usize = 10;

/// How often each of them begins anew.
const REST: Duration = Duration::from_secs(1);

/// How often their answers are looked at.
const TICK: Duration = Duration::from_millis(10);

/// How long a client that means it, and one that pings, stays silent.
const GUEST_REST: Duration = Duration::from_millis(100);
const PING_REST: Duration = Duration::from_millis(20);

/// How long somebody who is there, or who comes when all is over, may wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a hostile client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    HalfHello,
    Hello,
    Proof,
    Handshake,
}

const FAR: [Far; 4] = [Far::HalfHello, Far::Hello, Far::Proof, Far::Handshake];

/// A hostile client.
struct Hostile {
    far: Far,
    source: Ipv4Addr,
    line: Option<Line>,
    /// When it begins anew.
    next: Instant,
}

impl Hostile {
    fn begin(&mut self, config: &ClientConfig, stage: &Stage<'_>) -> Result<()> {
        let mut line = Line::new(config, self.source, stage.doors.quic)?;
        line.set_nonblocking()?;
        line.send(if self.far == Far::HalfHello { 1 } else { usize::MAX })?;
        self.line = Some(line);
        Ok(())
    }

    /// Takes what it wants of the answers.
    fn go_on(&mut self) -> Result<()> {
        let Some(line) = &mut self.line else { return Ok(()) };
        if matches!(self.far, Far::HalfHello | Far::Hello) {
            return Ok(());
        }
        while let Some(datagram) = line.receive()? {
            // A long header of the type Retry (RFC 9000 §17.2.5).
            let is_retry = datagram.first().is_some_and(|first| first & 0xf0 == 0xf0);
            if is_retry || self.far == Far::Handshake {
                line.take(datagram);
                line.send(usize::MAX)?;
            }
        }
        Ok(())
    }
}

/// How long others took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn note(mut self, who: &str, what: &str, tally: &mut Tally) {
        self.0.sort();
        let median = self.0.get(self.0.len() / 2).copied().unwrap_or_default();
        let slowest = self.0.last().copied().unwrap_or_default();
        tally.note(format!("{who}: {what}"), self.0.len() as f64);
        tally.note(format!("{who}: median ms"), median.as_secs_f64() * 1e3);
        tally.note(format!("{who}: slowest ms"), slowest.as_secs_f64() * 1e3);
    }
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let config = Clients::new(stage.certificates, Exchange::Offered, false)?.quic()?;
    let (mut tally, (guests, failed), (pings, lost)) = thread::scope(|scope| {
        let guests = scope.spawn(|| come(&config, stage));
        let pings = scope.spawn(|| ping(&config, stage));
        let tally = besiege(&config, stage);
        (tally, guests.join().unwrap_or_default(), pings.join().unwrap_or_default())
    });
    tally.served = guests.0.len() as u64;
    guests.note("clients that meant it", "served", &mut tally);
    tally.note("clients that meant it: in vain", f64::from(failed));
    pings.note("a client that was there", "pings", &mut tally);
    if let Some(lost) = lost {
        tally.blame(format!("a client that was there: {lost}"));
    }
    if let Err(error) = visit(&config, stage, Instant::now() + PATIENCE) {
        tally.blame(format!("a client that came when all was over: {error:#}"));
    }
    Ok(tally)
}

/// The hostile, until the time is up.
fn besiege(config: &ClientConfig, stage: &Stage<'_>) -> Tally {
    let count = stage.size(2_000, 200);
    let began = Instant::now();
    let hostile = |at: usize| Hostile {
        far: FAR[at / SOURCES % FAR.len()],
        source: Ipv4Addr::new(127, 0, 0, 11 + (at % SOURCES) as u8),
        line: None,
        next: began + REST * at as u32 / count as u32,
    };
    let mut crowd: Vec<_> = (0..count).map(hostile).collect();
    let mut tally = Tally::default();
    while Instant::now() < stage.until {
        for hostile in &mut crowd {
            let now = Instant::now();
            if now >= stage.until {
                break;
            }
            let went = if now >= hostile.next {
                hostile.next = now + REST;
                tally.opened += 1;
                hostile.begin(config, stage)
            } else {
                hostile.go_on()
            };
            // What this machine refuses is no fault of the broker's.
            tally.unreachable += u64::from(went.is_err());
        }
        thread::sleep(TICK);
    }
    tally.held = crowd.iter().filter(|hostile| hostile.line.is_some()).count() as u64;
    tally
}

/// Clients that mean it, one after the other until the time is up; also how many were not let in.
fn come(config: &ClientConfig, stage: &Stage<'_>) -> (Times, u32) {
    let (mut times, mut failed) = (Times::default(), 0);
    while Instant::now() < stage.until {
        let began = Instant::now();
        match visit(config, stage, stage.until) {
            Ok(()) => times.0.push(began.elapsed()),
            // The time was up before the broker had answered.
            Err(_) if Instant::now() >= stage.until => break,
            Err(_) => failed += 1,
        }
        thread::sleep(GUEST_REST);
    }
    (times, failed)
}

/// One of them.
fn visit(config: &ClientConfig, stage: &Stage<'_>, until: Instant) -> Result<()> {
    Client::connect(config, stage.doors.quic, "guest", until).map(drop)
}

/// A client that was there when the hostile came; also what became of it, if it did not stay.
fn ping(config: &ClientConfig, stage: &Stage<'_>) -> (Times, Option<String>) {
    let mut times = Times::default();
    let mut talk = || -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut client = Client::connect(config, stage.doors.quic, "there", until)?;
        while Instant::now() < stage.until {
            let began = Instant::now();
            client.ping(began + PATIENCE)?;
            times.0.push(began.elapsed());
            thread::sleep(PING_REST);
        }
        Ok(())
    };
    let lost = talk().err().map(|error| format!("{error:#}"));
    (times, lost)
}
