//! A producer: it sends as fast as its window allows, and notes what the broker says to each message.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::link::{Link, PATIENCE};
use super::wire::{self, Answer, LAST, Stamp};

/// How soon a last message that was refused is sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// One client that publishes.
#[derive(Debug)]
pub(super) struct Producer {
    link: Link,
    number: u32,
    topic_name: String,
    payload_len: usize,
    /// The message under way by each Packet Identifier, from 1 on.
    under_way: Vec<Option<u32>>,
    answers: Vec<Option<Answer>>,
    out: Vec<u8>,
}

impl Producer {
    pub(super) fn connect(
        address: SocketAddr,
        number: u32,
        window: u16,
        payload_len: usize,
    ) -> Result<Self> {
        let (link, _) = Link::connect(address, &format!("producer-{number}"))?;
        Ok(Self {
            link,
            number,
            topic_name: format!("ceiling/{number}"),
            payload_len,
            under_way: vec![None; window.into()],
            answers: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Sends until it is told to end, and then one last message, again and again until there is room
    /// for it. Gives what became of each before that.
    ///
    /// # Errors
    /// When the broker ends the connection, leaves a message without an answer, or has no room for the
    /// last one in time.
    pub(super) fn run(mut self, is_ending: &AtomicBool) -> Result<Vec<Answer>> {
        while !is_ending.load(Ordering::Relaxed) {
            self.send_window()?;
            self.take_answers()?;
        }
        while self.under_way.iter().any(Option::is_some) {
            self.take_answers()?;
        }
        self.send_last().with_context(|| format!("producer {}", self.number))?;
        let answers: Option<Vec<_>> = self.answers.into_iter().collect();
        answers.context("a message without an answer")
    }

    fn push(&mut self, slot: usize, sequence: u32) {
        self.under_way[slot] = Some(sequence);
        let packet_identifier = u16::try_from(slot + 1).expect("a window has at most 65,535");
        let stamp = Stamp { producer: self.number, sequence };
        let len = self.payload_len;
        wire::push_publish(&mut self.out, &self.topic_name, packet_identifier, stamp, len);
    }

    fn send_window(&mut self) -> Result<()> {
        for slot in 0..self.under_way.len() {
            if self.under_way[slot].is_none() {
                let sequence = u32::try_from(self.answers.len()).context("too many messages")?;
                self.answers.push(None);
                self.push(slot, sequence);
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let sent = self.link.send(&self.out);
        self.out.clear();
        sent
    }

    /// Waits for answers, and notes them.
    fn take_answers(&mut self) -> Result<()> {
        let mut silent = Duration::ZERO;
        while !self.link.fill()? {
            silent += super::link::TICK;
            ensure!(silent < PATIENCE, "the broker leaves messages without an answer");
        }
        while let Some(frame) = self.link.next_frame()? {
            let (packet_identifier, answer) = wire::answer(&frame)?;
            let slot = usize::from(packet_identifier).wrapping_sub(1);
            let sequence = self.under_way.get_mut(slot).and_then(Option::take);
            let sequence = sequence.context("an answer to a message that is not under way")?;
            if sequence == LAST {
                self.answers.push(Some(answer));
            } else {
                self.answers[sequence as usize] = Some(answer);
            }
        }
        Ok(())
    }

    fn send_last(&mut self) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            self.push(0, LAST);
            self.flush()?;
            let before = self.answers.len();
            while self.answers.len() == before {
                self.take_answers()?;
            }
            if self.answers.pop() == Some(Some(Answer::Acknowledged)) {
                return Ok(());
            }
            ensure!(
                waited < PATIENCE,
                "there is still no room for a message {PATIENCE:?} after the load has ended"
            );
            thread::sleep(AGAIN);
            waited += AGAIN;
        }
    }
}
