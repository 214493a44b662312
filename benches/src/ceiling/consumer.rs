//! A consumer: a Session that is owed every message; it is away, or reads slowly, until the load ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::link::{Link, PATIENCE, TICK};
use super::wire::{Arrived, LAST};
use crate::frame::{self, PUBACK};

/// How often somebody who is away looks whether the load has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What a consumer does until the load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// It is not connected.
    Away,
    /// It takes and acknowledges one message in this time.
    Slow(Duration),
}

/// One Session that has subscribed to all messages.
#[derive(Debug)]
pub(super) struct Consumer {
    address: SocketAddr,
    client_identifier: String,
    habit: Habit,
    link: Option<Link>,
    /// The places of the messages that have come, by producer.
    arrived: Vec<Vec<u32>>,
    /// Producers whose last message has come.
    done: Vec<bool>,
    acks: Vec<u8>,
}

impl Consumer {
    /// Makes the Session.
    pub(super) fn subscribe(
        address: SocketAddr,
        number: u32,
        habit: Habit,
        producers: u32,
    ) -> Result<Self> {
        let client_identifier = format!("consumer-{number}");
        let (mut link, _) = Link::connect(address, &client_identifier)?;
        link.subscribe(&["ceiling/#"], 1)?;
        let link = match habit {
            Habit::Away => {
                link.leave()?;
                None
            }
            Habit::Slow(_) => Some(link),
        };
        Ok(Self {
            address,
            client_identifier,
            habit,
            link,
            arrived: vec![Vec::new(); producers as usize],
            done: vec![false; producers as usize],
            acks: Vec::new(),
        })
    }

    /// Takes messages until the last one of each producer is there. Gives the places of all others, by
    /// producer, in the order in which they came.
    ///
    /// # Errors
    /// When the broker ends the connection, has forgotten the Session, or is silent before the end.
    pub(super) fn run(mut self, is_ending: &AtomicBool) -> Result<Vec<Vec<u32>>> {
        let name = self.client_identifier.clone();
        self.take_all(is_ending).with_context(|| name)?;
        Ok(self.arrived)
    }

    fn take_all(&mut self, is_ending: &AtomicBool) -> Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.come_back(is_ending)?,
        };
        let mut silent = Duration::ZERO;
        while self.done.contains(&false) {
            silent = if link.fill()? { Duration::ZERO } else { silent + TICK };
            ensure!(
                silent < PATIENCE || !is_ending.load(Ordering::Relaxed),
                "nothing has come for {PATIENCE:?}, and not all has come that is owed: {} messages",
                self.arrived.iter().map(Vec::len).sum::<usize>()
            );
            while self.take_one(&mut link)? {
                if let Habit::Slow(time) = self.habit
                    && !is_ending.load(Ordering::Relaxed)
                {
                    thread::sleep(time);
                    self.flush(&mut link)?;
                }
            }
            self.flush(&mut link)?;
        }
        Ok(())
    }

    fn come_back(&self, is_ending: &AtomicBool) -> Result<Link> {
        while !is_ending.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        let (link, is_present) = Link::connect(self.address, &self.client_identifier)?;
        ensure!(is_present, "the Session is gone");
        Ok(link)
    }

    /// Notes one message; whether there was one.
    fn take_one(&mut self, link: &mut Link) -> Result<bool> {
        let Some(frame) = link.next_frame()? else { return Ok(false) };
        let arrived = Arrived::read(&frame)?;
        let stamp = arrived.stamp()?;
        let producer = stamp.producer as usize;
        let places = self.arrived.get_mut(producer).context("a message of nobody")?;
        if stamp.sequence == LAST {
            self.done[producer] = true;
        } else {
            places.push(stamp.sequence);
        }
        frame::push_ack(&mut self.acks, PUBACK, arrived.packet_identifier);
        Ok(true)
    }

    fn flush(&mut self, link: &mut Link) -> Result<()> {
        let sent = link.send(&self.acks);
        self.acks.clear();
        sent
    }
}
