//! A disk that is full, hangs, fails or is read-only, while clients go on: nothing false is
//! acknowledged, what needs no disk goes on, and all is well again when the disk is.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use dunlin_client::{Client, ConnectError, PublishError, QoS, ReasonCode, Subscription};
use dunlin_testkit::Random;

use crate::broker::{Broker, Launch};
use crate::clients::link::{Link, Session, builder};
use crate::clients::{Stage, publisher, subscriber};
use crate::ledger::{Kind, Ledger, Wanted};
use crate::{Arguments, power_cut};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long nothing may be acknowledged while the disk is out of order.
const SILENCE: Duration = Duration::from_secs(2);

/// While a sync hangs and too little waits for a refusal, a client that waited so long waits.
const WAITS: Duration = Duration::from_secs(8);

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trouble {
    /// There is no more room
    Full,
    /// A sync does not return
    Hang,
    /// A sync fails, and what it was for is lost
    Fail,
    /// Nothing can be written
    ReadOnly,
    /// The file system of --on is filled for real, by a file beside the data
    Filled,
}

impl Trouble {
    /// As the preloaded library is told.
    const fn control(self) -> &'static str {
        match self {
            Self::Full => "write-room 20000\n",
            Self::Hang => "sync-delay-ms 3600000\n",
            Self::Fail => "sync-fails\n",
            Self::ReadOnly => "read-only\n",
            Self::Filled => "",
        }
    }

    /// The trouble begins.
    fn begin(self, launch: &Launch) -> Result<()> {
        match (self, &launch.on) {
            (Self::Filled, Some(on)) => fill(&on.join(FILLER)),
            (Self::Filled, None) => bail!("name a small file system: --on DIR"),
            _ => fs::write(launch.control(), self.control()).context("telling the library"),
        }
    }

    /// The trouble is over.
    fn end(self, launch: &Launch) -> Result<()> {
        let file = match (self, &launch.on) {
            (Self::Filled, Some(on)) => on.join(FILLER),
            _ => launch.control(),
        };
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))
    }
}

/// Takes all the room that a small file system has.
fn fill(file: &Path) -> Result<()> {
    let mut filler = fs::File::create(file).context("making a file to fill the disk with")?;
    // Down to the last page.
    for size in [1 << 20, 1 << 12] {
        let bytes = vec![0xff; size];
        for _ in 0..FILLER_MAX / size {
            match filler.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
    }
    if filler.metadata()?.len() >= FILLER_MAX as u64 {
        fs::remove_file(file)?;
        bail!("the file system is too large to be filled");
    }
    Ok(())
}

/// Takes the room on a file system that is filled for real.
const FILLER: &str = "filler";

/// More is not taken.
const FILLER_MAX: usize = 1 << 30;

/// How the trouble ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The disk is well again.
    Recovery,
    /// The power is cut while it is out of order.
    PowerCut,
}

/// Plays all that was asked for; gives whether it went as it must.
pub(crate) async fn run(arguments: &Arguments, seed: u64, folder: &Path) -> Result<bool> {
    let mut is_well = true;
    for trouble in &arguments.disk {
        for end in [End::Recovery, End::PowerCut] {
            let folder = folder.join(format!("{trouble:?}-{end:?}"));
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            println!("disk: {trouble:?}, then {end:?}");
            let outcome = play(arguments, *trouble, end, seed, &folder).await;
            // On a small file system what is left would be in the way of the next.
            if let (Some(on), Some(name)) = (&arguments.on, folder.file_name()) {
                let _ = fs::remove_dir_all(on.join(name));
            }
            if let Err(error) = outcome {
                println!("  FAILED: {error:#}");
                is_well = false;
            }
        }
    }
    Ok(is_well)
}

async fn play(
    arguments: &Arguments,
    trouble: Trouble,
    end: End,
    seed: u64,
    folder: &Path,
) -> Result<()> {
    let mut scene = Scene::new(arguments, seed, folder).await?;
    scene.stage.publish(true);
    scene.wait_for_acknowledgements(200).await.context("before the trouble")?;
    trouble.begin(scene.broker.launch())?;
    let went = scene.during(trouble).await;
    if went.is_err() || end == End::Recovery {
        trouble.end(scene.broker.launch())?;
        went?;
    } else {
        scene.cut_power(trouble).await?;
    }
    scene.after(end).await
}

/// One broker, and those who use it.
struct Scene {
    broker: Broker,
    ledger: Arc<Ledger>,
    stage: Stage,
    links: Vec<Link>,
    /// Who is away while the disk is out of order.
    away: usize,
    probe: Client,
    live: Client,
    live_subscription: Subscription,
    random: Random,
}

impl Scene {
    async fn new(arguments: &Arguments, seed: u64, folder: &Path) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut broker = Broker::new(arguments.launch(folder)?)?;
        broker.spawn()?;
        broker.wait_until_ready().await?;
        let ledger = Arc::new(Ledger::default());
        let stage = Stage::new(broker.address(), Arc::clone(&ledger));
        let all = Wanted::default();
        let mut links = vec![
            subscriber::staying(&stage, "there", true, all, QoS::ExactlyOnce).await?,
            subscriber::staying(&stage, "there-3", false, all, QoS::ExactlyOnce).await?,
            subscriber::staying(&stage, "away", true, all, QoS::ExactlyOnce).await?,
        ];
        let away = 2;
        // Of the four one speaks MQTT 3.1.1: it can't be refused and has to wait.
        for number in 0..4 {
            links.push(publisher::start(&stage, number, 2, random.next_u64()).await?);
        }
        // A session that all messages of the probe are owed to, and that nobody looks at.
        let sink = Link::connect(&stage, Session { name: "sink", is_v5: true }, None).await?;
        let mut kept = sink.client.subscribe("p/#", QoS::AtLeastOnce).buffer(100_000).await?;
        tokio::spawn(async move { while kept.next().await.is_some() {} });
        sink.gate.set_open(false);
        links.push(sink);
        let plain = async |name: &str| {
            let url = format!("mqtt://{}", stage.address);
            let (client, _) = Client::builder(&url)?.client_identifier(name).connect().await?;
            anyhow::Ok(client)
        };
        let (probe, live) = (plain("probe").await?, plain("live").await?);
        let live_subscription = live.subscribe("z/#", QoS::AtMostOnce).await?;
        links[away].gate.set_open(false);
        Ok(Self { broker, ledger, stage, links, away, probe, live, live_subscription, random })
    }

    fn acknowledged(&self) -> u64 {
        self.ledger.totals().acknowledged.iter().sum()
    }

    async fn wait_for_acknowledgements(&self, more: u64) -> Result<()> {
        let (began, from) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < from + more {
            let had = self.acknowledged() - from;
            ensure!(began.elapsed() < PATIENCE, "only {had} publishes were acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What must be so while the disk is out of order.
    async fn during(&mut self, trouble: Trouble) -> Result<()> {
        let began = Instant::now();
        let mut quiet_since = (self.acknowledged(), Instant::now());
        while quiet_since.1.elapsed() < SILENCE {
            let acknowledged = self.acknowledged();
            if acknowledged != quiet_since.0 {
                quiet_since = (acknowledged, Instant::now());
            }
            ensure!(began.elapsed() < PATIENCE, "acknowledgements do not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("  acknowledgements stopped after {:?}", quiet_since.1.duration_since(began));
        self.qos_0_goes_on().await?;
        if trouble == Trouble::Hang {
            // A sync that takes its time is waited for; only when too much waits one is refused.
            self.flood().await;
        }
        self.publisher_is_refused(trouble).await?;
        self.new_session_is_refused(trouble).await?;
        self.qos_0_goes_on().await?;
        let false_ones = self.acknowledged() - quiet_since.0;
        println!("  acknowledged meanwhile: {false_ones}");
        ensure!(self.broker.ended()?.is_none(), "the broker has ended");
        Ok(())
    }

    async fn qos_0_goes_on(&mut self) -> Result<()> {
        let began = Instant::now();
        for number in 0..20_u8 {
            self.live.publish("z/live", vec![number]).await?;
            let next = tokio::time::timeout(PATIENCE, self.live_subscription.next()).await;
            let received = next.context("QoS 0 does not go on")?.context("the stream ended")?;
            ensure!(received.payload()[..] == [number], "another message came");
        }
        println!("  QoS 0 goes on: 20 round trips in {:?}", began.elapsed());
        Ok(())
    }

    /// Messages of half a megabyte for a session that is away, none of which is waited for.
    async fn flood(&self) {
        let payload = bytes::Bytes::from(vec![0; 500_000]);
        let (mut clients, mut messages) = (0, 0);
        for number in 0..6 {
            let session = Session { name: &format!("flood-{number}"), is_v5: true };
            // Without a session of its own: it is to publish, not to wait for its CONNACK.
            let Ok(builder) = builder(&self.stage, session) else { continue };
            let builder = builder.clean_start(true).session_expiry_interval(Duration::ZERO);
            let Ok((client, _)) = builder.connect().await else { continue };
            clients += 1;
            for _ in 0..40 {
                let message = client.publish("p/flood", payload.clone()).qos(QoS::AtLeastOnce);
                messages += u32::from(message.send().await.is_ok());
            }
            tokio::spawn(async move {
                tokio::time::sleep(2 * PATIENCE).await;
                drop(client);
            });
        }
        println!("  {clients} more clients send {messages} messages of half a megabyte");
    }

    /// An MQTT 5.0 publisher is told, sooner or later.
    async fn publisher_is_refused(&self, trouble: Trouble) -> Result<()> {
        let began = Instant::now();
        loop {
            let publish = self.probe.publish("p/probe", "probe").qos(QoS::AtLeastOnce);
            match tokio::time::timeout(Duration::from_secs(5), publish).await {
                Ok(Err(PublishError::Refused { reason_code, .. })) => {
                    ensure!(reason_code == ReasonCode::QuotaExceeded, "refused: {reason_code}");
                    println!("  a publisher is refused (0x97) after {:?}", began.elapsed());
                    return Ok(());
                }
                Ok(Ok(_)) => bail!("a publish was acknowledged that nothing can keep"),
                Ok(Err(error)) => bail!("the probe's publish: {error}"),
                Err(_) if trouble == Trouble::Hang && began.elapsed() > WAITS => {
                    println!("  a publisher waits, neither acknowledged nor refused");
                    return Ok(());
                }
                Err(_) => {}
            }
            ensure!(began.elapsed() < PATIENCE, "a publisher is not refused");
        }
    }

    async fn new_session_is_refused(&self, trouble: Trouble) -> Result<()> {
        let session = Session { name: "new", is_v5: true };
        match builder(&self.stage, session)?.no_reconnect().connect().await {
            Err(ConnectError::Refused { reason_code: ReasonCode::ServerUnavailable, .. }) => {
                println!("  a new session is refused (0x88)");
                Ok(())
            }
            Err(ConnectError::Timeout(_)) if trouble == Trouble::Hang => {
                println!("  a new session waits, neither confirmed nor refused");
                Ok(())
            }
            Err(error) => bail!("a new session: {error}"),
            Ok(_) => bail!("a new session was confirmed that nothing can keep"),
        }
    }

    async fn cut_power(&mut self, trouble: Trouble) -> Result<()> {
        self.broker.kill()?;
        let launch = self.broker.launch();
        trouble.end(launch)?;
        let kept = *self.random.pick(&[0, 50]);
        let cut = power_cut::cut(&launch.data(), &launch.shadow(), kept, &mut self.random)?;
        println!("  power cut: {} unsynced pages, {} of them left", cut.unsynced, cut.kept);
        self.broker.spawn()?;
        self.broker.wait_until_ready().await?;
        Ok(())
    }

    /// Everybody comes back, gets on, and gets all that was acknowledged.
    async fn after(&mut self, end: End) -> Result<()> {
        let began = Instant::now();
        self.wait_for_acknowledgements(200).await.context("after the trouble")?;
        println!("  publishers get on after {:?}", began.elapsed());
        if end == End::Recovery {
            let session = Session { name: "new", is_v5: true };
            let connecting = builder(&self.stage, session)?.connect();
            let (_client, events) = connecting.await.context("a new session after the trouble")?;
            drop(events);
        }
        self.links[self.away].gate.set_open(true);
        self.stage.publish(false);
        let began = Instant::now();
        loop {
            let (missing, _) = self.ledger.missing();
            let pending = self.ledger.pending();
            if missing + pending as u64 == 0 {
                break;
            }
            if began.elapsed() > PATIENCE {
                let names: Vec<String> = self.links.iter().map(|link| link.name.clone()).collect();
                let latest = self.ledger.latest(&names);
                println!("  {missing} owed, {pending} publishes without an outcome\n{latest}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.ledger.pending() > 0 {
            self.ledger.finding(Kind::Stuck, "publishes without an outcome");
        }
        self.ledger.settle();
        let totals = self.ledger.totals();
        let acknowledged: u64 = totals.acknowledged.iter().sum();
        let (delivered, refused) = (totals.delivered, totals.refused);
        println!("  acknowledged {acknowledged}, refused {refused}, delivered {delivered}");
        for (kind, first) in &totals.first {
            println!("  {}: {}, first {first}", kind.name(), totals.findings[kind]);
        }
        ensure!(totals.findings.is_empty(), "a promise was broken");
        ensure!(self.broker.ended()?.is_none(), "the broker has ended");
        Ok(())
    }
}
