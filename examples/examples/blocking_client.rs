//! `ClientConnection` on a blocking `std::net::TcpStream`: no async runtime anywhere.
//!
//! The state machine does no IO. This program owns the socket, the clock and both buffers, and
//! shows the whole contract: hand in bytes and time, write what comes out, come back at the
//! deadline. It subscribes, publishes one message to itself, and leaves.
//!
//! Run it beside a broker: `cargo run -p dunlin-examples --example blocking_client`, with the
//! broker's address as an argument when it is not 127.0.0.1:1883.

use bytes::BytesMut;
use dunlin_protocol::codec::{
    Connect, ConnectProperties, Disconnect, ProtocolVersion, QoS, ReasonCode, SubscribeProperties,
    Subscription, SubscriptionOptions, Text, TopicFilter, TopicName, TransmitBuf,
};
use dunlin_protocol::{
    ClientConfig, ClientConnection, ClientEvent, Instant, Message, Progress, Session,
};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(error.as_ref()),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let mut socket = TcpStream::connect(address)?;

    // The state machine's time is a number that we bring: microseconds since our own start.
    let start = std::time::Instant::now();
    let now = || Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(0));

    let (mut input, mut output) = (BytesMut::new(), TransmitBuf::new());
    let mut connection = ClientConnection::new(now(), config(), Session::new(), &mut output)?;

    loop {
        // 1. Write what waits. There may be several pieces: headers, and payloads by reference.
        while !output.is_empty() {
            let mut pieces = [&[][..]; 1];
            output.pieces(&mut pieces);
            let written = socket.write(pieces[0])?;
            output.advance(written);
        }
        if let Some(end) = connection.end() {
            println!("over: {end}");
            return Ok(());
        }

        // 2. Wait for bytes, but not beyond the deadline of the state machine: Keep Alive.
        let deadline = connection.poll_timeout();
        let timeout = deadline.map(|at| at.saturating_since(now()).max(Duration::from_millis(1)));
        socket.set_read_timeout(timeout)?;
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk) {
            Ok(0) => connection.handle_network_closed(),
            Ok(read) => input.extend_from_slice(&chunk[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                connection.handle_timeout(now(), &mut output);
            }
            Err(error) => return Err(error.into()),
        }

        // 3. Hand in the bytes, one packet a call, and act on what they mean.
        loop {
            match connection.handle_input(now(), &mut input, &mut output) {
                Progress::Event(event) => handle(event, &mut connection, now(), &mut output)?,
                Progress::Packet => {}
                Progress::NeedInput | Progress::Closed => break,
            }
        }
    }
}

fn handle(
    event: ClientEvent,
    connection: &mut ClientConnection,
    now: Instant,
    output: &mut TransmitBuf,
) -> Result<(), Box<dyn Error>> {
    match event {
        ClientEvent::Connected { .. } => {
            let topic_filter = TopicFilter::from_static("greetings/#");
            let options =
                SubscriptionOptions { maximum_qos: QoS::AtLeastOnce, ..Default::default() };
            let subscriptions = vec![Subscription { topic_filter, options }];
            connection.subscribe(now, SubscribeProperties::default(), subscriptions, output)?;
        }
        ClientEvent::SubAck(suback) => {
            println!("subscribed: {:?}", suback.reason_codes);
            let mut message = Message::new(TopicName::from_static("greetings/en"), "hello");
            message.qos = QoS::AtLeastOnce;
            connection.publish(now, &Arc::new(message), output)?;
        }
        ClientEvent::Publish(publish) => {
            let message = &publish.message;
            println!("{}: {}", message.topic_name, String::from_utf8_lossy(&message.payload));
            // We have taken care of it: only now does the acknowledgement leave.
            if let Some(ack) = publish.ack {
                connection.acknowledge(now, ack, ReasonCode::Success, output)?;
            }
            connection.disconnect(now, &Disconnect::new(ReasonCode::Success), output)?;
        }
        other => println!("{other:?}"),
    }
    Ok(())
}

fn config() -> ClientConfig {
    ClientConfig {
        connect: Connect {
            protocol_version: ProtocolVersion::V5,
            bridge: false,
            clean_start: true,
            keep_alive: 30,
            client_identifier: Text::default(),
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        },
        connect_timeout: Duration::from_secs(10),
        in_flight_max: 16,
        topic_alias_outbound_max: 0,
    }
}

/// Says what went wrong, with what caused it.
fn report(error: &dyn Error) -> ExitCode {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
