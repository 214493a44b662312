//! A thread that looks at the files of certificates from time to time, and says under `$SYS` how
//! they are.

use super::certificates::{Certificates, earliest_end};
use crate::worker::{Peer, WorkerMessage};
use dunlin_transport::tls::Dated;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running watcher; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Nothing is ever sent.
    _stop: Sender<()>,
}

impl Watcher {
    /// Starts the thread. It looks as often as this; without it, never.
    pub(crate) fn start(
        certificates: Vec<Arc<Certificates>>,
        every: Option<Duration>,
        peer: Peer,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (stop, stopped) = mpsc::channel::<()>();
        report(&certificates, &peer);
        let thread =
            std::thread::Builder::new().name("dunlin-files".to_owned()).spawn(move || {
                loop {
                    let waited = match every {
                        Some(every) => stopped.recv_timeout(every),
                        None => stopped.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    };
                    if waited != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    certificates.iter().for_each(|certificates| certificates.look());
                    report(&certificates, &peer);
                }
            })?;
        Ok((Self { _stop: stop }, thread))
    }
}

/// Tells the worker that speaks under `$SYS`.
pub(crate) fn report(certificates: &[Arc<Certificates>], peer: &Peer) {
    let counts = certificates.iter().map(|certificates| certificates.counts());
    let (reloads, failures) = counts.fold((0, 0), |(reloads, failures), counts| {
        (reloads + counts.reloads, failures + counts.failures)
    });
    let ends = [("tls/not-after", Dated::Certificate), ("tls/next-update", Dated::RevocationList)];
    let ends = ends.map(|(name, dated)| {
        let end = earliest_end(certificates, dated);
        (name, end.map_or_else(String::new, |end| end.to_string()))
    });
    let counts = [("tls/reloads", reloads), ("tls/reload-failed", failures)];
    let counts = counts.map(|(name, count): (_, u64)| (name, count.to_string()));
    peer.send(WorkerMessage::Report(counts.into_iter().chain(ends).collect()));
}
