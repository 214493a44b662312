//! How handshakes share the thread with connections that stand: a few steps of them in a turn, and what
//! else is ready goes first. A signature takes longer than all that a turn does for data.

#[cfg(test)]
mod tests;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

/// Steps of handshakes in a turn.
const STEPS: usize = 4;

/// What drives a connection.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The steps of all endpoints.
#[derive(Debug)]
pub(super) struct Pace {
    steps: Semaphore,
    /// Whose driver is the next that is spawned.
    next: Mutex<Option<Arc<Handshake>>>,
}

/// Whether a connection's handshake is over.
#[derive(Debug, Default)]
pub(super) struct Handshake(AtomicBool);

impl Handshake {
    /// From now on it goes on whenever it can.
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells that a driver can go on.
#[derive(Debug, Default)]
struct Ready(Notify);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Pace {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { steps: Semaphore::new(STEPS), next: Mutex::default() })
    }

    /// Accepts a connection, which is the first step of its handshake.
    pub(super) async fn accept<T>(
        &self,
        handshake: &Arc<Handshake>,
        accept: impl FnOnce() -> T,
    ) -> T {
        let step = self.steps.acquire().await;
        self.set_next(Some(handshake.clone()));
        let accepted = accept();
        self.set_next(None);
        yield_now().await;
        drop(step);
        accepted
    }

    fn set_next(&self, next: Option<Arc<Handshake>>) -> Option<Arc<Handshake>> {
        std::mem::replace(&mut self.next.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    /// Drives a connection step by step, and without this once its handshake is over.
    async fn drive(self: Arc<Self>, mut driver: Driver, handshake: Arc<Handshake>) {
        let ready = Arc::new(Ready::default());
        let waker = Waker::from(ready.clone());
        while !handshake.is_over() {
            let step = self.steps.acquire().await;
            let driven = driver.as_mut().poll(&mut Context::from_waker(&waker));
            yield_now().await;
            drop(step);
            if driven.is_ready() {
                return;
            }
            ready.0.notified().await;
        }
        driver.await;
    }
}

/// Tokio, with the drivers of handshakes at that pace.
#[derive(Debug)]
pub(super) struct PacedRuntime(pub(super) Arc<Pace>);

impl Runtime for PacedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Driver) {
        match self.0.set_next(None) {
            Some(handshake) => drop(tokio::spawn(self.0.clone().drive(future, handshake))),
            // The driver of the endpoint itself.
            None => drop(tokio::spawn(future)),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
