//! A run: cycles of load, end, start, calm and comparison.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dunlin_testkit::Random;

use crate::broker::Broker;
use crate::clients::{Clients, Stage};
use crate::ledger::{Kind, Ledger};
use crate::report::Report;
use crate::{Arguments, Fault, power_cut};

/// How long clients may take to come back and get their acknowledgements.
const CALM: Duration = Duration::from_secs(60);

/// Without a delivery for so long, what is owed does not come.
const QUIET: Duration = Duration::from_secs(6);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

/// How often a starting broker is ended again, in percent.
const DURING_START: u64 = 15;

/// Runs cycles until one breaks a promise or the time is up.
///
/// # Errors
/// When the broker can't be started or ends by itself.
pub(crate) async fn run(arguments: &Arguments, seed: u64, folder: &Path) -> Result<Report> {
    let mut random = Random::new(seed);
    let mut broker = Broker::new(arguments.launch(folder)?)?;
    broker.spawn()?;
    broker.wait_until_ready().await?;
    let ledger = Arc::new(Ledger::default());
    let stage = Stage::new(broker.address(), Arc::clone(&ledger));
    let clients = Clients::start(&stage, arguments.publishers, &mut random).await?;
    println!("seed {seed}, {} clients, {}", clients.len(), folder.display());
    let report = Report::new(arguments, seed);
    let mut run = Run { arguments, broker, ledger, clients, report, random, began: Instant::now() };
    run.cycles().await?;
    run.report.end(run.began.elapsed(), run.ledger.totals());
    Ok(run.report)
}

struct Run<'a> {
    arguments: &'a Arguments,
    broker: Broker,
    ledger: Arc<Ledger>,
    clients: Clients,
    report: Report,
    random: Random,
    began: Instant,
}

impl Run<'_> {
    async fn cycles(&mut self) -> Result<()> {
        let time = Duration::from_secs_f64(self.arguments.minutes.max(0.0) * 60.0);
        let cycles = self.arguments.cycles.unwrap_or(u64::MAX);
        let mut told = Instant::now();
        while self.report.cycles < cycles && self.began.elapsed() < time {
            let is_calm = self.cycle().await?;
            self.report.cycles += 1;
            self.report.resident(self.broker.resident());
            let totals = self.ledger.totals();
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                println!("{}", self.report.progress(self.began.elapsed(), &totals));
            }
            let goes_on = self.arguments.keep_going || !self.arguments.is_promised();
            if !is_calm || (!totals.findings.is_empty() && !goes_on) {
                break;
            }
        }
        Ok(())
    }

    /// One cycle; `false` when the clients do not come to rest.
    async fn cycle(&mut self) -> Result<bool> {
        self.clients.go().await;
        self.pause(50..=1500).await;
        self.clients.before_kill();
        self.end()?;
        self.clients.after_kill();
        self.start().await?;
        self.clients.after_start().await;
        // The load goes on for a while: what was resent meets what is new.
        self.pause(0..=300).await;
        if !self.clients.calm(CALM).await {
            let away = self.clients.away();
            let pending = self.ledger.pending();
            let latest = self.ledger.latest(&away);
            let away = away.join(", ");
            let what =
                format!("{pending} publishes without an outcome; not connected: {away}\n{latest}");
            self.ledger.finding(Kind::Stuck, &what);
            return Ok(false);
        }
        self.drain().await;
        self.clients.settle().await;
        if self.broker.ended()?.is_some() {
            // Says how, with the end of the log.
            self.broker.kill()?;
        }
        Ok(true)
    }

    async fn pause(&mut self, millis: std::ops::RangeInclusive<u64>) {
        let time = Duration::from_millis(self.random.between(millis));
        tokio::time::sleep(time).await;
    }

    /// Kills the broker, and cuts its power if it is to be.
    fn end(&mut self) -> Result<()> {
        self.broker.kill()?;
        let cuts = match self.arguments.fault {
            Fault::Kill => false,
            Fault::Power => true,
            Fault::Both => self.random.chance(50),
        };
        if !cuts {
            self.report.kills += 1;
            self.ledger.happened("broker killed");
            return Ok(());
        }
        // Now and then nothing comes to the disk by chance.
        let kept_percent = *self.random.pick(&[0, 50, 50, 50]);
        let launch = self.broker.launch();
        let cut = power_cut::cut(&launch.data(), &launch.shadow(), kept_percent, &mut self.random)
            .context("cutting the power")?;
        self.report.power_cut(cut);
        let text = format!("broker's power cut, {} of {} pages left", cut.kept, cut.unsynced);
        self.ledger.happened(text);
        Ok(())
    }

    /// Starts the broker; now and then it is ended again while it starts.
    async fn start(&mut self) -> Result<()> {
        loop {
            let began = Instant::now();
            self.broker.spawn()?;
            if self.random.chance(DURING_START) {
                let usual = self.report.usual_restart().as_millis() as u64;
                self.pause(0..=usual.max(5)).await;
                self.report.during_start += 1;
                self.end()?;
                continue;
            }
            self.broker.wait_until_ready().await?;
            self.report.restarted(began.elapsed());
            self.ledger.happened("broker started");
            return Ok(());
        }
    }

    /// Waits until all has come that is owed, or nothing comes any more.
    async fn drain(&self) {
        let began = Instant::now();
        let mut latest = (0, began);
        loop {
            let (missing, delivered) = self.ledger.missing();
            if missing + self.clients.wills_missing() == 0 {
                return;
            }
            if delivered != latest.0 {
                latest = (delivered, Instant::now());
            }
            if latest.1.elapsed() > QUIET || began.elapsed() > CALM {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
