//! The driver's side of the Session Store: gathers changes, has them stored one group at a time,
//! and knows what is stored.
//!
//! While one group is stored the next one gathers. The store is on a thread for blocking work
//! then, so that a slow disk stops what relies on it and nothing else.

use crate::{SessionChange, SessionStore, StoreError, StoredSession};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a change waits for company on which nothing waits: without it a message is published
/// again after a crash, which is allowed, or an exchange completed again, which is harmless.
const LINGER: Duration = Duration::from_secs(1);

type Stored = (Box<dyn SessionStore>, Result<(), StoreError>);

pub(crate) struct Keeper {
    /// Away while it stores.
    store: Option<Box<dyn SessionStore>>,
    storing: Option<JoinHandle<Stored>>,
    gathered: Vec<SessionChange>,
    /// How many changes were recorded; how many of them, from the first on, are relied on, are
    /// being stored, are stored.
    recorded: u64,
    needed: u64,
    storing_upto: u64,
    stored: u64,
    /// Who is to be told that so many are stored.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    linger: Option<Pin<Box<Sleep>>>,
    failure: Option<StoreError>,
}

impl Keeper {
    pub(crate) fn new(store: Box<dyn SessionStore>) -> Self {
        Self {
            store: Some(store),
            storing: None,
            gathered: Vec::new(),
            recorded: 0,
            needed: 0,
            storing_upto: 0,
            stored: 0,
            waiting: VecDeque::new(),
            linger: None,
            failure: None,
        }
    }

    /// What is stored; to be called once, first.
    pub(crate) async fn load(&mut self) -> Result<StoredSession, StoreError> {
        let Some(mut store) = self.store.take() else { return Err(StoreError::Gone) };
        let loading = spawn_blocking(move || {
            let loaded = store.load();
            (store, loaded)
        });
        let loaded = match loading.await {
            Ok((store, loaded)) => {
                self.store = Some(store);
                loaded
            }
            Err(_) => Err(StoreError::Gone),
        };
        if let Err(error) = &loaded {
            self.failure = Some(error.clone());
        }
        loaded
    }

    /// Records a change on which nothing relies but those that follow it.
    pub(crate) fn record(&mut self, change: SessionChange) {
        self.gathered.push(change);
        self.recorded += 1;
    }

    /// Records a change that must be stored before anything that is sent from now on.
    pub(crate) fn record_first(&mut self, change: SessionChange) {
        self.record(change);
        self.needed = self.recorded;
    }

    /// Tells once all that was recorded is stored; never, if that fails.
    pub(crate) fn tell_when_stored(&mut self, waiter: oneshot::Sender<()>) {
        if self.stored == self.recorded {
            let _ = waiter.send(());
            return;
        }
        self.needed = self.recorded;
        self.waiting.push_back((self.recorded, waiter));
    }

    /// Up to which change all must be stored before what is sent now may leave.
    pub(crate) const fn needed(&self) -> u64 {
        self.needed
    }

    pub(crate) const fn stored(&self) -> u64 {
        self.stored
    }

    pub(crate) const fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }

    /// Moves storing along; ready when something was stored, or failed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.failure.is_some() {
            return Poll::Pending;
        }
        if self.storing.is_none() && !self.is_due(cx) {
            return Poll::Pending;
        }
        self.begin();
        ready!(self.poll_storing(cx));
        // The next group does not wait for the driver's turn; its outcome does.
        if self.failure.is_none() && self.needed > self.stored {
            self.begin();
        }
        Poll::Ready(())
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if self.gathered.is_empty() {
            self.linger = None;
            return false;
        }
        if self.needed > self.stored {
            return true;
        }
        let linger =
            self.linger.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        linger.as_mut().poll(cx).is_ready()
    }

    fn begin(&mut self) {
        if self.storing.is_some() || self.gathered.is_empty() {
            return;
        }
        let Some(mut store) = self.store.take() else { return };
        self.linger = None;
        self.storing_upto = self.recorded;
        let changes = std::mem::take(&mut self.gathered);
        self.storing = Some(spawn_blocking(move || {
            let appended = changes.iter().try_for_each(|change| store.append(change));
            let stored = appended.and_then(|()| store.sync());
            (store, stored)
        }));
    }

    fn poll_storing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(storing) = &mut self.storing else { return Poll::Ready(()) };
        let outcome = ready!(Pin::new(storing).poll(cx));
        self.storing = None;
        let failure = match outcome {
            Ok((store, stored)) => {
                self.store = Some(store);
                stored.err()
            }
            Err(_) => Some(StoreError::Gone),
        };
        if failure.is_some() {
            self.failure = failure;
            self.waiting.clear();
            return Poll::Ready(());
        }
        self.stored = self.storing_upto;
        while let Some((upto, _)) = self.waiting.front()
            && *upto <= self.stored
        {
            if let Some((_, waiter)) = self.waiting.pop_front() {
                let _ = waiter.send(());
            }
        }
        Poll::Ready(())
    }

    /// Returns once all that was recorded is stored, or that has failed.
    pub(crate) async fn finish(&mut self) -> Result<(), StoreError> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if self.stored == self.recorded {
                return Ok(());
            }
            self.begin();
            std::future::poll_fn(|cx| self.poll_storing(cx)).await;
        }
    }
}
