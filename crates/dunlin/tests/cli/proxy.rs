//! What an operator is told of PROXY headers: where none is expected, and where one should have come.

use crate::program::{Running, run};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x07\x5b";
const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x05\x02\0\0\0\0\0";

/// Sends this, and waits until the broker has closed the connection.
fn send(port: &str, bytes: &[u8]) {
    let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a broker");
    // Only a test that fails waits this long.
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("an option");
    // It may be closed before all of it is written.
    let _ = socket.write_all(bytes);
    match socket.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed: {other:?}"),
    }
}

#[test]
fn what_goes_wrong_with_proxy_headers_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(run(&["cert", "--out", &path("")]).code, Some(0));
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let secure = format!("mqtts://127.0.0.1:0?certificate={certificate}&key={key}");
    let urls = [
        "mqtt://127.0.0.1:0",
        &secure,
        "ws://127.0.0.1:0",
        "mqtt://127.0.0.1:0?proxy_from=127.0.0.1",
        "ws://127.0.0.1:0?proxy_from=127.0.0.1",
        "mqtt://127.0.0.1:0?proxy_from=10.0.0.0/8",
    ];
    let patient = ["limits.connect_timeout_secs=3600", "limits.handshake_timeout_secs=3600"];
    let patient = patient.map(|set| ["--set", set]).concat();
    let listen = urls.map(|url| ["--listen", url]).concat();
    let args = [&["broker", "--allow-anonymous"][..], &patient, &listen].concat();
    let broker = Running::start(&args);
    assert!(broker.line().unwrap().starts_with("dunlin "));
    let listeners = urls.map(|_| {
        let line = broker.line().unwrap();
        line.strip_prefix("listening on ").expect(&line).to_owned()
    });
    let told = |listener: &str, bytes: &[&[u8]], peer: &str, words: &str| {
        let port = listener.rsplit(':').next().expect("a port");
        send(port, &bytes.concat());
        let line = broker.wait_for_within(words);
        assert!(line.contains(&format!("listener=\"{listener}\"")), "{line}");
        assert!(line.contains(&format!("peer=\"{peer}:")), "{line}");
    };
    let [plain, secure, web, proxied, proxied_web, strange] = listeners;
    for listener in [&plain, &secure, &web] {
        for header in [V1, V2] {
            let words =
                "a PROXY header came to a listener without proxy_from; if it is from a proxy";
            told(listener, &[header, CONNECT], "127.0.0.1", words);
        }
        // Nothing follows that could be waited for.
        told(listener, &[b"PROXY "], "127.0.0.1", "a PROXY header came");
    }
    for listener in [&proxied, &proxied_web] {
        told(listener, &[V1, V2], "192.0.2.7", "a second PROXY header came behind the first");
        let closed = "a connection from an address of proxy_from was closed: ";
        let missing = format!("{closed}the connection does not begin with a PROXY header; have");
        told(listener, &[CONNECT], "127.0.0.1", &missing);
        let wrong = format!("{closed}a PROXY line that is not as the protocol writes it; have");
        told(listener, &[b"PROXY TCP4 here there\r\n"], "127.0.0.1", &wrong);
    }
    let words = "a connection was closed, as its address is none of proxy_from; if it is a proxy";
    told(&strange, &[V1, CONNECT], "127.0.0.1", words);
}
