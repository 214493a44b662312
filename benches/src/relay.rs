//! A relay that looks like a broker and is none: it forwards PUBLISH frames as they came, to ends
//! that it is told beforehand. No matching, no sessions, no checks: what it costs, the operating
//! system costs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::connection::Connection;
use crate::frame::{self, Frame};
use crate::traffic::Shape;

const LISTENER: Token = Token(usize::MAX);

/// A relay that is listening.
#[derive(Debug)]
pub struct Relay {
    shape: Shape,
    poll: Poll,
    events: Events,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    /// Places in `clients` that are free.
    vacant: Vec<usize>,
    routes: Routes,
    scratch: Vec<u8>,
}

/// Where frames go; apart from the clients, so that both can be borrowed at once.
#[derive(Debug, Default)]
struct Routes {
    /// The subscriber of each number, as an index of `clients`.
    subscribers: Vec<Option<usize>>,
    /// Fan-out: what this turn owes to every subscriber.
    broadcast: Vec<u8>,
    /// Shared subscription: the subscriber that got the last frame.
    turn: usize,
    /// Clients with output to flush.
    touched: Vec<usize>,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    /// The number at the end of the Client Identifier.
    number: usize,
    is_subscriber: bool,
}

/// What to do with a frame.
enum Task {
    Forward,
    Answer,
    Close,
}

impl Relay {
    /// Listens on `address`.
    ///
    /// # Errors
    /// Those of `bind` and `listen`.
    pub fn bind(address: SocketAddr, shape: Shape) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            shape,
            poll,
            events: Events::with_capacity(1024),
            listener,
            clients: Vec::new(),
            vacant: Vec::new(),
            routes: Routes::default(),
            scratch: vec![0; 256 * 1024],
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Reads what is ready from every ready socket, then writes once to each touched connection.
    ///
    /// # Errors
    /// Those of `epoll_wait` and `accept`; a failing connection is dropped instead.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut scratch = std::mem::take(&mut self.scratch);
        for event in &events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let index = event.token().0;
            if event.is_writable() {
                self.with_connection(index, Connection::flush);
            }
            if event.is_readable() {
                self.read(index, &mut scratch);
            }
        }
        self.events = events;
        self.scratch = scratch;
        self.flush();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let index = self.vacant.pop().unwrap_or(self.clients.len());
            let connection = Connection::from_mio(stream, self.poll.registry(), Token(index))?;
            let client = Client { connection, number: 0, is_subscriber: false };
            if index == self.clients.len() {
                self.clients.push(Some(client));
            } else {
                self.clients[index] = Some(client);
            }
        }
    }

    fn read(&mut self, index: usize, scratch: &mut [u8]) {
        loop {
            let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
            let filled = match client.connection.fill(scratch) {
                Ok(Some(filled)) => filled,
                Ok(None) => return,
                Err(_) => return self.close(index),
            };
            let bytes = &scratch[..filled.len];
            // Neighbouring PUBLISH frames are copied as one run.
            let (mut used, mut run_start) = (0, 0);
            loop {
                let frame = match frame::split_frame(&bytes[used..]) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => return self.close(index),
                };
                match self.handle_frame(index, &frame) {
                    Task::Forward => {}
                    Task::Answer => {
                        self.forward(index, &bytes[run_start..used]);
                        run_start = used + frame.len;
                    }
                    Task::Close => return self.close(index),
                }
                used += frame.len;
            }
            self.forward(index, &bytes[run_start..used]);
            self.with_connection(index, |connection| {
                connection.keep(&bytes[used..]);
                Ok(())
            });
            if !filled.more {
                return;
            }
        }
    }

    /// Answers as little as MQTT demands; what has no answer is dropped.
    fn handle_frame(&mut self, index: usize, frame: &Frame<'_>) -> Task {
        let Some(client) = self.clients[index].as_mut() else { return Task::Close };
        let output = &mut client.connection.output;
        let before = output.len();
        let task = if frame.is_publish() {
            match frame.publish() {
                Ok(publish) => match publish.qos {
                    0 => {}
                    1 => frame::push_ack(output, frame::PUBACK, publish.packet_identifier),
                    _ => frame::push_ack(output, frame::PUBREC, publish.packet_identifier),
                },
                Err(_) => return Task::Close,
            }
            Task::Forward
        } else {
            let identifier = frame.packet_identifier().unwrap_or_default();
            match frame.first {
                frame::CONNECT => {
                    client.number = trailing_number(frame.body);
                    output.extend_from_slice(&[frame::CONNACK, 2, 0, 0]);
                }
                frame::SUBSCRIBE => {
                    let [high, low] = identifier.to_be_bytes();
                    let qos = frame.body.last().copied().unwrap_or_default();
                    output.extend_from_slice(&[frame::SUBACK, 3, high, low, qos]);
                    client.is_subscriber = true;
                    self.routes.set_subscriber(client.number, Some(index));
                }
                frame::PINGREQ => output.extend_from_slice(&[frame::PINGRESP, 0]),
                frame::PUBREC => frame::push_ack(output, frame::PUBREL, identifier),
                frame::PUBREL => frame::push_ack(output, frame::PUBCOMP, identifier),
                frame::DISCONNECT => return Task::Close,
                _ => {}
            }
            Task::Answer
        };
        if client.connection.output.len() > before {
            self.routes.touch(index, &mut client.connection);
        }
        task
    }

    /// Hands whole PUBLISH frames of one client to those who receive them.
    fn forward(&mut self, from: usize, frames: &[u8]) {
        if frames.is_empty() {
            return;
        }
        let number = match self.shape {
            Shape::FanOut => return self.routes.broadcast.extend_from_slice(frames),
            Shape::FanIn => 0,
            Shape::Pairs | Shape::Wildcards => {
                self.clients[from].as_ref().map_or(0, |client| client.number)
            }
            Shape::Shared => return self.share(frames),
        };
        self.forward_to(number, frames);
    }

    /// Hands each frame to the subscriber after the one that got the last.
    fn share(&mut self, frames: &[u8]) {
        let mut used = 0;
        while let Ok(Some(frame)) = frame::split_frame(&frames[used..]) {
            self.routes.turn = (self.routes.turn + 1) % self.routes.subscribers.len().max(1);
            self.forward_to(self.routes.turn, &frames[used..used + frame.len]);
            used += frame.len;
        }
    }

    fn forward_to(&mut self, number: usize, frames: &[u8]) {
        let Some(&Some(index)) = self.routes.subscribers.get(number) else { return };
        if let Some(client) = &mut self.clients[index] {
            client.connection.output.extend_from_slice(frames);
            self.routes.touch(index, &mut client.connection);
        }
    }

    fn flush(&mut self) {
        let broadcast = std::mem::take(&mut self.routes.broadcast);
        if !broadcast.is_empty() {
            for place in 0..self.routes.subscribers.len() {
                if let Some(index) = self.routes.subscribers[place] {
                    self.with_connection(index, |connection| connection.flush_with(&broadcast));
                }
            }
        }
        self.routes.broadcast = broadcast;
        self.routes.broadcast.clear();
        let mut touched = std::mem::take(&mut self.routes.touched);
        for index in touched.drain(..) {
            self.with_connection(index, |connection| {
                connection.touched = false;
                connection.flush()
            });
        }
        self.routes.touched = touched;
    }

    /// Does something with a connection that is still there; an error ends it.
    fn with_connection(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Connection) -> io::Result<()>,
    ) {
        let client = self.clients.get_mut(index).and_then(Option::as_mut);
        if client.is_some_and(|client| act(&mut client.connection).is_err()) {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(client) = self.clients[index].take() {
            if client.is_subscriber {
                self.routes.set_subscriber(client.number, None);
            }
            self.vacant.push(index);
        }
    }
}

impl Routes {
    fn set_subscriber(&mut self, number: usize, index: Option<usize>) {
        if self.subscribers.len() <= number {
            self.subscribers.resize(number + 1, None);
        }
        self.subscribers[number] = index;
    }

    fn touch(&mut self, index: usize, connection: &mut Connection) {
        if !connection.touched {
            connection.touched = true;
            self.touched.push(index);
        }
    }
}

/// The decimal number with which `bytes` end, at most six digits of it.
fn trailing_number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev().take(6).take_while(|byte| byte.is_ascii_digit());
    digits
        .zip([1, 10, 100, 1_000, 10_000, 100_000])
        .fold(0, |sum, (&digit, weight)| sum + usize::from(digit - b'0') * weight)
}
