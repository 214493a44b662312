//! Wills: of clients that are connected when the broker is killed. Each is published at most once;
//! that of a client whose session goes on must be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use dunlin_client::{Client, QoS, Will};

use super::Stage;
use super::link::{Link, Session, builder};
use crate::ledger::{Kind, Ledger};

/// How many clients with a Will there are at a time.
const CLIENTS: usize = 4;

/// A Will that was accepted.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    is_owed: bool,
    received: u32,
}

/// The clients with Wills, and the subscriber that gets them.
pub(crate) struct Wills {
    stage: Stage,
    _watching: Link,
    accounts: Arc<Mutex<BTreeMap<u64, Account>>>,
    clients: Vec<(u64, bool, Client)>,
    next: u64,
}

impl Wills {
    pub(super) async fn start(stage: &Stage) -> Result<Self> {
        let session = Session { name: "watching-wills", is_v5: true };
        let watching = Link::connect(stage, session, None).await?;
        let accounts: Arc<Mutex<BTreeMap<u64, Account>>> = Arc::default();
        let mut subscription =
            watching.client.subscribe("w/#", QoS::ExactlyOnce).buffer(100_000).await?;
        let (ledger, entered) = (Arc::clone(&stage.ledger), Arc::clone(&accounts));
        tokio::spawn(async move {
            while let Some(received) = subscription.next().await {
                let number = std::str::from_utf8(received.payload()).map(str::parse);
                match number {
                    Ok(Ok(number)) => enter(&ledger, &mut lock(&entered), number),
                    _ => ledger.finding(Kind::Corrupt, "a Will's payload"),
                }
            }
        });
        Ok(Self {
            stage: stage.clone(),
            _watching: watching,
            accounts,
            clients: Vec::new(),
            next: 0,
        })
    }

    /// Connects the clients, each with a Will of its own.
    pub(super) async fn connect(&mut self) {
        for number in 0..CLIENTS {
            self.next += 1;
            // Half of them have a session that goes on, half end with their connection.
            let goes_on = number.is_multiple_of(2);
            let name = format!("will-{number}");
            let Ok(builder) = builder(&self.stage, Session { name: &name, is_v5: goes_on }) else {
                continue;
            };
            let will =
                Will::new(format!("w/{number}"), self.next.to_string()).qos(QoS::ExactlyOnce);
            let builder = builder.clean_start(true).will(will).no_reconnect();
            if let Ok((client, events)) = builder.connect().await {
                drop(events);
                lock(&self.accounts).insert(self.next, Account::default());
                self.clients.push((self.next, goes_on, client));
            }
        }
    }

    /// The broker was killed. What each was owed then, it still is.
    pub(super) fn leave(&mut self) {
        for (number, goes_on, client) in self.clients.drain(..) {
            if let Some(account) = lock(&self.accounts).get_mut(&number) {
                account.is_owed = goes_on;
            }
            drop(client);
        }
    }

    /// How many that are owed have not come.
    pub(super) fn missing(&self) -> u64 {
        let accounts = lock(&self.accounts);
        accounts.values().filter(|account| account.is_owed && account.received == 0).count() as u64
    }

    /// Closes the accounts.
    pub(super) fn settle(&mut self) {
        for (number, account) in lock(&self.accounts).iter_mut() {
            if account.is_owed && account.received == 0 {
                account.is_owed = false;
                let what = format!("Will {number} of a client whose session goes on");
                self.stage.ledger.finding(Kind::WillLost, &what);
            }
        }
    }
}

fn enter(ledger: &Ledger, accounts: &mut BTreeMap<u64, Account>, number: u64) {
    let account = accounts.entry(number).or_default();
    account.received += 1;
    ledger.will_received();
    if account.received > 1 {
        ledger.finding(Kind::WillDoubled, &format!("Will {number}"));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
