//! One connection of QUIC on a socket of its own, driven by hand: so it can stop in the midst of its
//! handshake, as no library lets a client do.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;
use dunlin_bench::frame;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, StreamId, VarInt,
};

/// What a server's certificate has to name.
const SERVER_NAME: &str = "localhost";

/// The longest datagram that is read.
const DATAGRAM_LEN: usize = 2048;

/// A connection that does nothing by itself.
#[derive(Debug)]
pub(crate) struct Line {
    socket: UdpSocket,
    server: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    is_connected: bool,
    lost: Option<String>,
}

impl Line {
    /// From an address of this machine; nothing is sent yet.
    ///
    /// # Errors
    /// Those of the system, or a configuration of no use.
    pub(crate) fn new(config: &ClientConfig, source: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((source, 0)).context("binding a socket of UDP")?;
        let settings = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(settings, None, false, None);
        let begun = endpoint.connect(Instant::now(), config.clone(), server, SERVER_NAME);
        let (handle, connection) = begun.context("beginning a connection")?;
        let (is_connected, lost) = (false, None);
        Ok(Self { socket, server, endpoint, handle, connection, is_connected, lost })
    }

    /// Never waits for a datagram.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Sends so many datagrams of those that are due.
    ///
    /// # Errors
    /// Those of the system, but for a full socket, which loses what it does not take.
    pub(crate) fn send(&mut self, most: usize) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(DATAGRAM_LEN);
        for _ in 0..most {
            buffer.clear();
            let Some(transmit) = self.connection.poll_transmit(Instant::now(), 1, &mut buffer)
            else {
                break;
            };
            match self.socket.send_to(&buffer[..transmit.size], self.server) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next datagram, if it comes in time, or at once from a socket that does not wait.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn receive(&self) -> io::Result<Option<BytesMut>> {
        let mut buffer = [0; DATAGRAM_LEN];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Ok(Some(BytesMut::from(&buffer[..len]))),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a datagram, and what follows from it.
    pub(crate) fn take(&mut self, datagram: BytesMut) {
        let now = Instant::now();
        let mut answer = Vec::new();
        let event = self.endpoint.handle(now, self.server, None, None, datagram, &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
        self.settle();
    }

    /// Brings its events where they belong.
    fn settle(&mut self) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason.to_string()),
                _ => {}
            }
        }
    }

    /// Goes on until something is there.
    ///
    /// # Errors
    /// The connection is lost, or the time is up.
    fn drive<T>(
        &mut self,
        until: Instant,
        mut wanted: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T> {
        loop {
            self.send(usize::MAX)?;
            if let Some(found) = wanted(self) {
                self.send(usize::MAX)?;
                return Ok(found);
            }
            if let Some(lost) = &self.lost {
                bail!("the connection is lost: {lost}");
            }
            let now = Instant::now();
            ensure!(now < until, "no answer in time");
            let due = self.connection.poll_timeout().unwrap_or(until).min(until);
            // A timeout of nothing would be none.
            let left = due.saturating_duration_since(now).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
            match self.receive()? {
                Some(datagram) => self.take(datagram),
                None => {
                    self.connection.handle_timeout(Instant::now());
                    self.settle();
                }
            }
        }
    }
}

/// A client of MQTT 3.1.1 on the stream of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    line: Line,
    stream: StreamId,
}

impl Client {
    /// Connects by then.
    ///
    /// # Errors
    /// When it is not accepted in time.
    pub(crate) fn connect(
        config: &ClientConfig,
        server: SocketAddr,
        client_identifier: &str,
        until: Instant,
    ) -> Result<Self> {
        let mut line = Line::new(config, Ipv4Addr::LOCALHOST, server)?;
        let stream = line.drive(until, |line| {
            line.is_connected.then(|| line.connection.streams().open(Dir::Bi)).flatten()
        })?;
        let mut client = Self { line, stream };
        let mut bytes = Vec::new();
        frame::push_connect(&mut bytes, client_identifier, true);
        let answer = client.ask(&bytes, 4, until)?;
        ensure!(answer == [frame::CONNACK, 2, 0, 0], "refused: CONNACK {answer:02x?}");
        Ok(client)
    }

    /// Sends a PINGREQ, and waits for its answer.
    ///
    /// # Errors
    /// There is none by then, or another.
    pub(crate) fn ping(&mut self, until: Instant) -> Result<()> {
        let answer = self.ask(&[frame::PINGREQ, 0], 2, until)?;
        ensure!(answer == [frame::PINGRESP, 0], "{answer:02x?} instead of PINGRESP");
        Ok(())
    }

    /// Sends something, and reads so many bytes.
    fn ask(&mut self, bytes: &[u8], len: usize, until: Instant) -> Result<Vec<u8>> {
        let stream = self.stream;
        let written = self.line.connection.send_stream(stream).write(bytes)?;
        ensure!(written == bytes.len(), "{written} of {} bytes were taken", bytes.len());
        let mut came = Vec::new();
        self.line.drive(until, |line| {
            let mut recv = line.connection.recv_stream(stream);
            if let Ok(mut chunks) = recv.read(true) {
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    came.extend_from_slice(&chunk.bytes);
                }
                let _ = chunks.finalize();
            }
            (came.len() >= len).then_some(())
        })?;
        Ok(came)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.line.connection.close(Instant::now(), VarInt::from_u32(0), bytes::Bytes::new());
        // Who is not told finds out by itself.
        let _ = self.line.send(usize::MAX);
    }
}
