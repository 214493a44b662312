//! A client while it plays its part: a process, a thread, or somebody's own.

use super::{Client, Seat};
use crate::Exchange;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// More of what a program prints is read and forgotten.
const PRINTED_MAX: usize = 4 << 20;

/// More lines of its standard error are read and forgotten: the record is for packets.
const NOTED_MAX: usize = 2000;

/// A client that was started; dropping it ends it.
#[derive(Debug)]
pub(super) struct Player {
    child: Option<Child>,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Player {
    /// Starts the client. What its program prints on standard error goes into the record.
    ///
    /// # Errors
    /// When the program can't be started.
    pub(super) fn start(client: &Client, seat: &Seat, exchange: &Exchange) -> io::Result<Self> {
        let printed = Arc::default();
        let child = match client {
            Client::ByHand(_) => None,
            Client::Function(function) => {
                let (function, seat) = (*function, seat.clone());
                thread::Builder::new().spawn(move || function(seat))?;
                None
            }
            Client::Command(words) => {
                let mut words = words.iter().map(|word| seat.fill(word));
                let program = words.next().unwrap_or_default();
                let mut child = Command::new(program)
                    .args(words)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
                let into = Arc::clone(&printed);
                thread::spawn(move || read(stdout, |text| keep(&into, text)));
                let exchange = exchange.clone();
                let mut noted = 0;
                thread::spawn(move || read(stderr, |text| note(&exchange, text, &mut noted)));
                Some(child)
            }
        };
        Ok(Self { child, printed })
    }

    /// How the program ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// How often the program printed this text so far; `None` when nobody can know.
    pub(super) fn printed(&self, text: &str) -> Option<usize> {
        self.child.as_ref()?;
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        Some(String::from_utf8_lossy(&printed).matches(text).count())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Fails when it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(from: Option<impl Read>, mut what: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        what(&chunk[..count]);
    }
}

fn keep(printed: &Mutex<Vec<u8>>, text: &[u8]) {
    let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    let room = PRINTED_MAX.saturating_sub(printed.len());
    printed.extend_from_slice(&text[..text.len().min(room)]);
}

fn note(exchange: &Exchange, text: &[u8], noted: &mut usize) {
    for line in String::from_utf8_lossy(text).lines() {
        if *noted == NOTED_MAX {
            return;
        }
        *noted += 1;
        exchange.event("client", format!("prints {line:?}"));
    }
}
