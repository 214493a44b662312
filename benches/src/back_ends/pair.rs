//! Two clients that are logged in: one publishes at a fixed rate, the other reads.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{USER, push_login};
use crate::frame::push_publish;
use crate::handshake;
use crate::statistics::Latencies;

/// The Topic Name of all messages.
const TOPIC_NAME: &str = "quiet/pair";

/// The two connections.
#[derive(Debug)]
pub struct Pair {
    publisher: TcpStream,
    subscriber: TcpStream,
    sent: u64,
}

impl Pair {
    /// Logs both in by the password file.
    ///
    /// # Errors
    /// When the broker refuses one of them.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let join = |name: &str| -> Result<TcpStream> {
            let mut stream = handshake::open(address, 0)?;
            let mut bytes = Vec::new();
            push_login(&mut bytes, name, USER.0, USER.1);
            stream.write_all(&bytes)?;
            handshake::expect_connack(&mut stream)?;
            Ok(stream)
        };
        let (publisher, mut subscriber) = (join("pair-publisher")?, join("pair-subscriber")?);
        handshake::subscribe(&mut subscriber, TOPIC_NAME, 0)?;
        Ok(Self { publisher, subscriber, sent: 0 })
    }

    /// Sends messages at their appointed times, so many a second, and reads each before the next; its
    /// latency counts from its appointed time, so that none is left out because the broker is slow.
    ///
    /// # Errors
    /// When a message does not come, or another one does.
    pub fn measure(&mut self, per_second: u32, length: Duration) -> Result<Latencies> {
        let period = Duration::from_secs(1) / per_second;
        let began = Instant::now();
        let mut samples = Vec::new();
        let mut at = began;
        while at < began + length {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.send_one()?;
            samples.push(at.elapsed());
            at += period;
        }
        Ok(Latencies::new(samples))
    }

    fn send_one(&mut self) -> Result<()> {
        let mut frame = Vec::new();
        push_publish(&mut frame, 0, TOPIC_NAME, 0, &self.sent.to_be_bytes());
        self.publisher.write_all(&frame)?;
        let mut read = vec![0; frame.len()];
        self.subscriber.read_exact(&mut read).context("a message is lost")?;
        ensure!(read == frame, "another message came");
        self.sent += 1;
        Ok(())
    }
}
