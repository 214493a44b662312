//! The load: clients with persistent sessions, each with its own way of life.

mod changing;
mod gate;
pub(crate) mod link;
mod payload;
pub(crate) mod publisher;
mod retained;
pub(crate) mod subscriber;
mod wills;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use dunlin_client::QoS;
use dunlin_testkit::Random;
use tokio::sync::watch;

use crate::ledger::{Ledger, Wanted};

use self::link::Link;
use self::payload::payload;
use self::retained::Retained;
use self::wills::Wills;

/// How many Topic Names a publisher has.
const STREAMS_EACH: usize = 3;

/// How many clients a group has.
const GROUP: usize = 3;

/// What all clients share.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    /// Whether publishers publish.
    publishing: Arc<watch::Sender<bool>>,
    /// Whether subscribers come and go.
    moving: Arc<watch::Sender<bool>>,
}

/// All clients that stay for the whole run.
pub(crate) struct Clients {
    stage: Stage,
    links: Vec<Link>,
    retained: Retained,
    wills: Wills,
}

impl Stage {
    pub(crate) fn new(address: SocketAddr, ledger: Arc<Ledger>) -> Self {
        let told = || Arc::new(watch::channel(false).0);
        Self { address, ledger, publishing: told(), moving: told() }
    }

    /// Tells all publishers to publish, or to stop.
    pub(crate) fn publish(&self, yes: bool) {
        self.publishing.send_replace(yes);
    }

    fn publishing(&self) -> watch::Receiver<bool> {
        self.publishing.subscribe()
    }

    fn moving(&self) -> watch::Receiver<bool> {
        self.moving.subscribe()
    }
}

/// Waits until it is so; pending for ever when the run is over.
async fn until(watch: &mut watch::Receiver<bool>, is: bool) {
    if watch.wait_for(|now| *now == is).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Clients {
    /// Connects and subscribes all of them; nothing is published yet.
    pub(crate) async fn start(
        stage: &Stage,
        publishers: usize,
        random: &mut Random,
    ) -> Result<Self> {
        let mut links = Vec::new();
        let all = Wanted::default();
        let one = |publisher: usize| Wanted { publisher: Some(publisher), number: None };
        let of_number = |number| Wanted { publisher: None, number: Some(number) };
        // Those that stay: everything, in both versions; and one stream of each at QoS 1.
        for (number, (wanted, qos)) in
            [(all, QoS::ExactlyOnce), (all, QoS::ExactlyOnce), (of_number(1), QoS::AtLeastOnce)]
                .into_iter()
                .enumerate()
        {
            let name = format!("staying-{number}");
            links.push(subscriber::staying(stage, &name, number % 2 == 0, wanted, qos).await?);
        }
        for number in 0..6 {
            let name = format!("coming-{number}");
            let wanted = one(number % publishers);
            let seed = random.next_u64();
            let is_v5 = number % 2 == 0;
            links.push(subscriber::coming_and_going(stage, &name, is_v5, wanted, seed).await?);
        }
        for number in 0..4 {
            let name = format!("changing-{number}");
            let wanted = one((number * 3 + 1) % publishers);
            links.push(
                changing::start(stage, &name, number % 2 == 0, wanted, random.next_u64()).await?,
            );
        }
        links.extend(subscriber::group(stage, GROUP, random).await?);
        for number in 0..publishers {
            links.push(publisher::start(stage, number, STREAMS_EACH, random.next_u64()).await?);
        }
        let retained = Retained::start(stage, random.next_u64()).await?;
        let wills = Wills::start(stage).await?;
        Ok(Self { stage: stage.clone(), links, retained, wills })
    }

    /// How many clients there are, without those whose Wills are awaited.
    pub(crate) fn len(&self) -> usize {
        self.links.len() + self.retained.len() + 1
    }

    /// Publishers publish, subscribers come and go, and clients with Wills connect.
    pub(crate) async fn go(&mut self) {
        self.stage.moving.send_replace(true);
        self.stage.publishing.send_replace(true);
        self.retained.go();
        self.wills.connect().await;
    }

    /// The broker is about to be killed.
    pub(crate) fn before_kill(&mut self) {
        self.retained.note();
    }

    /// The broker was killed: those with Wills stay away.
    pub(crate) fn after_kill(&mut self) {
        self.wills.leave();
    }

    /// The broker is there again: looks at the retained messages before they are set anew.
    pub(crate) async fn after_start(&mut self) {
        self.retained.check().await;
    }

    /// Publishers stop, and everybody comes back; waits until all is connected and acknowledged.
    /// `false` when that takes longer than this.
    pub(crate) async fn calm(&mut self, patience: Duration) -> bool {
        self.stage.publishing.send_replace(false);
        self.stage.moving.send_replace(false);
        self.retained.stop();
        let began = tokio::time::Instant::now();
        loop {
            let connected = self.links.iter().all(Link::is_connected);
            let pending = self.stage.ledger.pending() + self.retained.pending();
            if connected && pending == 0 {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Who is not connected now.
    pub(crate) fn away(&self) -> Vec<String> {
        let away = self.links.iter().filter(|link| !link.is_connected());
        away.map(|link| link.name.clone()).collect()
    }

    /// How many Wills have not come yet.
    pub(crate) fn wills_missing(&self) -> u64 {
        self.wills.missing()
    }

    /// What has not come by now does not come.
    pub(crate) async fn settle(&mut self) {
        self.wills.settle();
        self.retained.check_last().await;
        self.stage.ledger.settle();
    }
}
