//! Answers that wait for their time, on a thread that does nothing else.

use crate::worker::{Peer, WorkerMessage};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant as Clock;

/// Answers that may wait; further ones go at once, so that waiting costs nobody memory.
const WAITING_MAX: usize = 1_000;

/// The way to the thread, which ends when nobody has one any more.
#[derive(Clone, Debug)]
pub(super) struct Later {
    sender: Sender<Answer>,
    waiting: Arc<AtomicUsize>,
}

/// An answer for a worker, and its time.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) at: Clock,
    /// The worker, by its place among the peers.
    pub(super) worker: usize,
    pub(super) message: WorkerMessage,
}

impl Later {
    pub(super) fn start(peers: &[Peer]) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (peers, counted) = (peers.to_vec(), waiting.clone());
        let thread = std::thread::Builder::new()
            .name("dunlin-login-later".to_owned())
            .spawn(move || run(&peers, &receiver, &counted))?;
        Ok((Self { sender, waiting }, thread))
    }

    /// Lets an answer wait for its time; gives it back if too many do.
    pub(super) fn wait(&self, answer: Answer) -> Result<(), Answer> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(answer);
        }
        self.sender.send(answer).map_err(|refused| refused.0)
    }
}

fn run(peers: &[Peer], receiver: &Receiver<Answer>, waiting: &AtomicUsize) {
    // By their time, and among equals in their order.
    let mut answers: BTreeMap<(Clock, u64), Answer> = BTreeMap::new();
    for number in 0.. {
        let received = match answers.first_key_value() {
            Some(((at, _), _)) => receiver.recv_timeout(at.saturating_duration_since(Clock::now())),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(answer) => {
                answers.insert((answer.at, number), answer);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The workers have ended.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Clock::now();
        while let Some(first) = answers.first_entry()
            && first.key().0 <= now
        {
            let Answer { worker, message, .. } = first.remove();
            waiting.fetch_sub(1, Ordering::Relaxed);
            peers[worker].send(message);
        }
    }
}
