//! The load: all publishers and subscribers of a run on one thread and one epoll instance.
//!
//! A turn reads what is ready from every ready socket, books it, and writes once to each connection
//! that has something to say; publishers then fill their windows with one write each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Poll, Token};

use self::arrivals::{Books, Pacing, handle_deliveries};
use self::publisher::{Publisher, handle_acks};
use crate::connection::Connection;
use crate::frame;
use crate::handshake::{self, PATIENCE};
use crate::ledger::ReceiverLedger;
use crate::statistics::Latencies;
use crate::traffic::{Shape, Traffic, publisher_identifier, subscriber_identifier};

mod arrivals;
mod publisher;

const SCRATCH_LEN: usize = 256 * 1024;

/// Publishers and subscribers, connected and subscribed.
///
/// Tokens number the publishers first, then the subscribers.
#[derive(Debug)]
pub struct Load {
    traffic: Traffic,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    connections: Vec<Connection>,
    publishers: Vec<Publisher>,
    receivers: Vec<ReceiverLedger>,
    books: Books,
}

impl Load {
    /// Connects all clients of `traffic` to the broker at `address` and subscribes.
    ///
    /// # Errors
    /// When the parameters are out of bounds or the broker refuses a client.
    pub fn connect(address: SocketAddr, traffic: Traffic) -> Result<Self> {
        traffic.validate()?;
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        let mut streams = Vec::new();
        for index in 0..traffic.publishers() {
            streams.push(handshake::connect(address, index, &publisher_identifier(index))?);
        }
        for index in 0..traffic.subscribers() {
            let nth = traffic.publishers() + index;
            let client_identifier = subscriber_identifier(index);
            let mut stream = if traffic.persistent {
                handshake::resume(address, nth, &client_identifier)?.0
            } else {
                handshake::connect(address, nth, &client_identifier)?
            };
            for topic_filter in traffic.topic_filters(index) {
                handshake::subscribe(&mut stream, &topic_filter, traffic.qos)?;
            }
            streams.push(stream);
        }
        for (index, stream) in streams.into_iter().enumerate() {
            connections.push(Connection::new(stream, poll.registry(), Token(index))?);
        }
        Ok(Self {
            traffic,
            poll,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH_LEN],
            connections,
            publishers: (0..traffic.publishers()).map(|n| Publisher::new(&traffic, n)).collect(),
            receivers: (0..traffic.subscribers())
                .map(|subscriber| {
                    let (first, count) = traffic.publishers_of(subscriber);
                    match traffic.shape {
                        Shape::Shared => ReceiverLedger::sharing(first, count, traffic.topics),
                        _ => ReceiverLedger::new(first, count, traffic.topics),
                    }
                })
                .collect(),
            books: Books::default(),
        })
    }

    /// Lets every publisher send so many messages, as fast as its window allows, and waits until all
    /// are delivered and acknowledged. Returns the number of deliveries.
    ///
    /// # Errors
    /// A [`Fault`](crate::ledger::Fault) in what arrived, or a broker that went silent with messages still under way.
    pub fn run(&mut self, messages_each: u32) -> Result<u64> {
        let target = self.books.delivered + self.traffic.deliveries(messages_each);
        for (index, publisher) in self.publishers.iter_mut().enumerate() {
            let limit = publisher.ledger.sent().checked_add(messages_each);
            publisher.limit = limit.context("sequence numbers have run out")?;
            self.books.mark_ready(publisher, index);
        }
        loop {
            self.fill_windows()?;
            if self.books.delivered == target && self.is_settled() {
                return Ok(self.traffic.deliveries(messages_each));
            }
            self.turn(Some(PATIENCE), target)?;
        }
    }

    /// Publishes at a fixed rate whatever comes back, and returns how long after its appointed time
    /// each message arrived. Spins between messages, so that the load adds no wake-up of its own.
    ///
    /// # Errors
    /// Those of [`Load::run`], and a broker that falls a whole window behind.
    pub fn run_paced(&mut self, rate: u32, messages: u32) -> Result<Latencies> {
        ensure!(self.connections.len() == 2, "pacing is for one publisher and one subscriber");
        ensure!(rate > 0, "a rate of at least 1/s");
        let target = self.books.delivered + u64::from(messages);
        let (first, start) = (self.publishers[0].ledger.sent(), Instant::now());
        let interval = Duration::from_secs(1) / rate;
        let samples = Vec::with_capacity(messages as usize);
        self.books.pacing = Some(Pacing { start, interval, first, samples });
        let mut sent = 0;
        let mut last_progress = (start, self.books.delivered);
        while self.books.delivered < target || !self.is_settled() {
            let now = Instant::now();
            while sent < messages && now >= start + interval * sent {
                let publisher = &mut self.publishers[0];
                if publisher.ledger.under_way() >= self.traffic.window {
                    bail!("the broker is {} messages behind {rate}/s", self.traffic.window);
                }
                publisher.push_message(&mut self.connections[0].output, &self.traffic);
                self.connections[0].flush()?;
                sent += 1;
            }
            self.turn(Some(Duration::ZERO), target)?;
            if self.books.delivered > last_progress.1 {
                last_progress = (now, self.books.delivered);
            } else if sent == messages && now - last_progress.0 > PATIENCE {
                bail!("stalled: {} deliveries are missing", target - self.books.delivered);
            }
        }
        let pacing = self.books.pacing.take().context("pacing was set above")?;
        Ok(Latencies::new(pacing.samples))
    }

    /// Takes the times that acknowledgements took, of a sample of the messages since the last call.
    pub fn take_acknowledged_after(&mut self) -> Latencies {
        Latencies::new(std::mem::take(&mut self.books.acknowledged_after))
    }

    /// Proves that nothing more comes: each subscriber sends a PINGREQ, and only PINGRESP may follow.
    ///
    /// # Errors
    /// A doubled or unknown message, if a delivery was still on its way.
    pub fn finish(mut self) -> Result<()> {
        let subscribers = self.publishers.len()..self.connections.len();
        let expected = subscribers.len();
        for index in subscribers {
            self.connections[index].output.extend_from_slice(&[frame::PINGREQ, 0]);
            self.connections[index].flush()?;
        }
        while self.books.pings_answered < expected {
            self.turn(Some(PATIENCE), self.books.delivered)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.ledger.under_way() == 0)
    }

    /// Waits for readiness, reads every ready socket, writes to every touched one.
    fn turn(&mut self, timeout: Option<Duration>, target: u64) -> Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        if self.events.is_empty() && timeout != Some(Duration::ZERO) {
            let missing = target.saturating_sub(self.books.delivered);
            bail!("stalled: nothing arrived for {PATIENCE:?}, {missing} deliveries are missing");
        }
        for event in &self.events {
            let index = event.token().0;
            if event.is_writable() {
                self.connections[index].flush()?;
            }
            if !event.is_readable() {
                continue;
            }
            loop {
                let connection = &mut self.connections[index];
                let filled = connection.fill(&mut self.scratch);
                let Some(filled) = filled.with_context(|| name_of(index, &self.traffic))? else {
                    break;
                };
                let bytes = &self.scratch[..filled.len];
                let output = &mut connection.output;
                let used = match index.checked_sub(self.publishers.len()) {
                    None => {
                        let publisher = &mut self.publishers[index];
                        self.books.mark_ready(publisher, index);
                        handle_acks(bytes, publisher, &mut self.books.acknowledged_after, output)
                    }
                    Some(subscriber) => handle_deliveries(
                        bytes,
                        &self.traffic,
                        &mut self.receivers[subscriber],
                        &mut self.publishers,
                        &mut self.books,
                        output,
                    ),
                };
                connection.keep(&bytes[used.with_context(|| name_of(index, &self.traffic))?..]);
                if !connection.output.is_empty() && !connection.touched {
                    connection.touched = true;
                    self.books.touched.push(index);
                }
                if !filled.more {
                    break;
                }
            }
        }
        for index in self.books.touched.drain(..) {
            self.connections[index].touched = false;
            self.connections[index].flush()?;
        }
        Ok(())
    }

    /// Lets each publisher whose window is half empty, or for whom little is left to send, fill it
    /// with one write. Waiting for half keeps the batches from depending on who wakes whom first.
    fn fill_windows(&mut self) -> Result<()> {
        for index in self.books.ready.drain(..) {
            let publisher = &mut self.publishers[index];
            publisher.ready = false;
            let room = self.traffic.window - publisher.ledger.under_way();
            let left = publisher.limit - publisher.ledger.sent();
            if room < left.min(self.traffic.window.div_ceil(2)) {
                continue;
            }
            let connection = &mut self.connections[index];
            for _ in 0..room.min(left) {
                publisher.push_message(&mut connection.output, &self.traffic);
            }
            connection.flush()?;
        }
        Ok(())
    }
}

fn name_of(index: usize, traffic: &Traffic) -> String {
    match index.checked_sub(traffic.publishers() as usize) {
        None => format!("publisher {index}"),
        Some(subscriber) => format!("subscriber {subscriber}"),
    }
}
