//! Connecting and subscribing over blocking sockets, before any measuring begins.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame;

/// How long any single answer of a broker may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Connections from one source address, safely below the number of ports that the kernel hands out.
const CONNECTIONS_PER_SOURCE: u32 = 20_000;

/// Opens a TCP connection; `nth` picks the source address, so that ports do not run out.
///
/// # Errors
/// Those of the socket calls.
pub fn open(address: SocketAddr, nth: u32) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    let block = nth / CONNECTIONS_PER_SOURCE;
    if block > 0 && address.ip().is_loopback() && address.is_ipv4() {
        let host = u8::try_from(block + 1).context("too many connections")?;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&address.into()).with_context(|| format!("cannot connect to {address}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends CONNECT without waiting for the answer.
///
/// # Errors
/// Those of `write`.
pub fn send_connect(stream: &mut TcpStream, client_identifier: &str) -> Result<()> {
    let mut bytes = Vec::new();
    frame::push_connect(&mut bytes, client_identifier, true);
    Ok(stream.write_all(&bytes)?)
}

/// Waits for the CONNACK that accepts.
///
/// # Errors
/// When the broker refuses, closes, or sends anything else.
pub fn expect_connack(stream: &mut TcpStream) -> Result<()> {
    let answer: [u8; 4] = read_answer(stream).context("no CONNACK")?;
    ensure!(answer == [frame::CONNACK, 2, 0, 0], "refused: CONNACK {answer:02x?}");
    Ok(())
}

/// Connects a client.
///
/// # Errors
/// See [`open`] and [`expect_connack`].
pub fn connect(address: SocketAddr, nth: u32, client_identifier: &str) -> Result<TcpStream> {
    let mut stream = open(address, nth)?;
    send_connect(&mut stream, client_identifier)?;
    expect_connack(&mut stream)?;
    Ok(stream)
}

/// Connects a client whose Session outlives the connection; whether it was there before.
///
/// # Errors
/// When the broker refuses, closes, or sends anything else.
pub fn resume(address: SocketAddr, nth: u32, client_identifier: &str) -> Result<(TcpStream, bool)> {
    let mut stream = open(address, nth)?;
    send_resume(&mut stream, client_identifier)?;
    let is_present = expect_resumed(&mut stream)?;
    Ok((stream, is_present))
}

/// Sends a CONNECT for a Session that outlives the connection, without waiting for the answer.
///
/// # Errors
/// Those of `write`.
pub fn send_resume(stream: &mut TcpStream, client_identifier: &str) -> Result<()> {
    let mut bytes = Vec::new();
    frame::push_connect(&mut bytes, client_identifier, false);
    Ok(stream.write_all(&bytes)?)
}

/// Waits for the CONNACK that accepts; whether the Session was there before.
///
/// # Errors
/// When the broker refuses, closes, or sends anything else.
pub fn expect_resumed(stream: &mut TcpStream) -> Result<bool> {
    let answer: [u8; 4] = read_answer(stream).context("no CONNACK")?;
    ensure!(answer[..2] == [frame::CONNACK, 2], "not a CONNACK: {answer:02x?}");
    ensure!(answer[2] <= 1 && answer[3] == 0, "refused: CONNACK {answer:02x?}");
    Ok(answer[2] == 1)
}

/// Subscribes to one Topic Filter and waits for the SUBACK that grants it.
///
/// # Errors
/// When the broker grants another QoS, closes, or sends anything else.
pub fn subscribe(stream: &mut TcpStream, topic_filter: &str, qos: u8) -> Result<()> {
    let mut bytes = Vec::new();
    frame::push_subscribe(&mut bytes, 1, topic_filter, qos);
    stream.write_all(&bytes)?;
    let answer: [u8; 5] = read_answer(stream).context("no SUBACK")?;
    if answer != [frame::SUBACK, 3, 0, 1, qos] {
        bail!("subscription to {topic_filter} not granted at QoS {qos}: {answer:02x?}");
    }
    Ok(())
}

/// Sends DISCONNECT and waits until the broker has closed, so that the Session is away for sure.
///
/// # Errors
/// When the broker sends anything, or keeps the connection.
pub fn leave(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&[frame::DISCONNECT, 0])?;
    let read = stream.read(&mut [0; 16]).context("the connection stays open")?;
    ensure!(read == 0, "something came after DISCONNECT");
    Ok(())
}

fn read_answer<const LEN: usize>(stream: &mut TcpStream) -> Result<[u8; LEN]> {
    let mut answer = [0; LEN];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
