//! Loads that store and fetch, against a broker of a few lines that makes one mistake.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use dunlin_benches::bulk::Bulk;
use dunlin_benches::frame;
use dunlin_benches::retained::Retained;

const RETAINED: Retained =
    Retained { messages: 3, payload_len: 8, bulk: Bulk { publishers: 1, window: 4 } };

/// Accepts one client, and answers its packets: CONNECT, then the further ones with the answers
/// given, one for each.
fn serve(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || converse(&listener, &answers));
    address
}

/// Ends early when the client has seen enough.
fn converse(listener: &TcpListener, answers: &[Vec<u8>]) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    read_packet(&mut stream)?;
    stream.write_all(&[frame::CONNACK, 2, 0, 0])?;
    for answer in answers {
        read_packet(&mut stream)?;
        stream.write_all(answer)?;
    }
    // The client closes first, so that it reads all that was written.
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn read_packet(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    assert!(header[1] < 0x80, "packets of these tests are short");
    stream.read_exact(&mut vec![0; header[1].into()])
}

/// A SUBACK and the retained messages of the given numbers, each with the given first byte.
fn delivery(messages: &[(u32, u8)]) -> Vec<u8> {
    let mut bytes = vec![frame::SUBACK, 3, 0, 1, 1];
    for (identifier, &(number, first)) in (1..).zip(messages) {
        let start = bytes.len();
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(RETAINED.payload_len, b'.');
        frame::push_publish(&mut bytes, 1, "retained/0/0", identifier, &payload);
        bytes[start] = first;
    }
    bytes
}

#[track_caller]
fn check_delivery(messages: &[(u32, u8)], expected: Option<&str>) {
    let nothing = Vec::new;
    // SUBSCRIBE, three PUBACK, PINGREQ.
    let pong = vec![frame::PINGRESP, 0];
    let address = serve(vec![delivery(messages), nothing(), nothing(), nothing(), pong]);
    let outcome = RETAINED.deliver(address).map_err(|error| format!("{error:#}"));
    match expected {
        None => outcome.unwrap(),
        Some(text) => assert!(outcome.unwrap_err().contains(text), "{text}"),
    }
}

#[test]
fn retained_messages_have_to_come_once_each_and_with_the_flag() {
    check_delivery(&[(2, 0x33), (0, 0x33), (1, 0x33)], None);
    check_delivery(&[(2, 0x33), (0, 0x33), (2, 0x33)], Some("message 2 came again"));
    check_delivery(&[(2, 0x33), (0, 0x33), (3, 0x33)], Some("was never published"));
    check_delivery(&[(2, 0x33), (0, 0x32), (1, 0x33)], Some("RETAIN is not"));
    check_delivery(&[(2, 0x33), (0, 0x3B), (1, 0x33)], Some("DUP is set"));
    check_delivery(&[(2, 0x33), (0, 0x35), (1, 0x33)], Some("another QoS"));
}

#[test]
fn acknowledgements_have_to_come_in_the_order_of_the_messages() {
    let check = |identifiers: [u8; 3]| {
        let answers = identifiers.map(|identifier| vec![frame::PUBACK, 2, 0, identifier]);
        RETAINED.set(serve(answers.into())).map_err(|error| format!("{error:#}"))
    };
    check([1, 2, 3]).unwrap();
    assert_eq!(check([1, 3, 2]).unwrap_err(), "PUBACK for 3 came when 2 was due");
    assert_eq!(check([1, 1, 2]).unwrap_err(), "PUBACK for 1 came when 2 was due");
}
