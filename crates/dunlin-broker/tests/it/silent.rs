//! Who connects and then says nothing, or next to nothing, before MQTT begins: nobody else waits long
//! for them.

use crate::limits::Watcher;
use crate::peer::PATIENCE;
use crate::web_client::Site;
use dunlin_broker::config::{Config, Listener, WebSocketListener};
use dunlin_broker::{Broker, Limits};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// Handshakes that would go on for ever.
fn limits(half_open_max: usize) -> Limits {
    Limits { half_open_max, handshake_timeout_secs: 3600, ..Limits::default() }
}

/// A connection that says nothing, from an address of this machine.
fn socket(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address");
    socket.connect(&to.into()).expect("it listens");
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

const HOME: [u8; 4] = [127, 0, 0, 1];

/// Whether the broker has closed it.
fn is_closed(mut socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).expect("an option");
    let is_closed = match socket.read(&mut [0]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    socket.set_nonblocking(false).expect("an option");
    is_closed
}

#[test]
fn the_one_who_was_silent_longest_makes_room() {
    for site in [true, false].map(|is_secure| Site::new(is_secure, limits(3), |_| {})) {
        let to = site.broker.addresses()[0];
        let mut silent: Vec<_> = (0..3).map(|_| socket(HOME, to)).collect();
        site.join("patient");
        assert_eq!(silent.remove(0).read(&mut [0]).expect("an end"), 0);
        assert!(silent.iter().all(|socket| !is_closed(socket)), "one place was enough");
    }
}

#[test]
fn who_goes_on_is_kept_though_it_came_first() {
    let site = Site::new(false, limits(2), |_| {});
    let to = site.broker.addresses()[0];
    let mut busy = socket(HOME, to);
    let mut silent = socket(HOME, to);
    let (stop, stopped) = mpsc::channel::<()>();
    let sending = std::thread::spawn(move || {
        let timeout = Err(mpsc::RecvTimeoutError::Timeout);
        while stopped.recv_timeout(Duration::from_millis(50)) == timeout {
            busy.write_all(b"G").expect("it is kept");
        }
        busy
    });
    site.join("patient");
    assert_eq!(silent.read(&mut [0]).expect("an end"), 0);
    drop(stop);
    assert!(!is_closed(&sending.join().expect("it ends")));
}

#[test]
fn who_sends_a_byte_now_and_then_makes_room_in_the_end() {
    let site = Site::new(false, limits(2), |_| {});
    let to = site.broker.addresses()[0];
    let (stop, stopped) = mpsc::channel::<()>();
    let mut slow: Vec<_> = (0..2).map(|_| socket(HOME, to)).collect();
    let sending = std::thread::spawn(move || {
        // As slow as one may without being silent.
        while stopped.recv_timeout(Duration::from_millis(200))
            == Err(mpsc::RecvTimeoutError::Timeout)
        {
            for socket in &mut slow {
                // One of them is closed in the end.
                let _ = socket.write_all(b"G");
            }
        }
    });
    site.join("patient");
    drop(stop);
    sending.join().expect("it ends");
}

#[test]
fn a_crowd_at_one_door_does_not_block_the_other() {
    let listener = |port: &str| Listener::tcp(format!("127.0.0.1:{port}").parse().expect("one"));
    let listeners =
        ["0", "0"].map(|port| listener(port).with_web_socket(WebSocketListener::default()));
    let config =
        Config { listeners: listeners.into(), workers: 1, limits: limits(1), ..Config::default() };
    let broker = Broker::builder().config(config).start().expect("free ports");
    let crowd: Vec<_> = (0..10).map(|_| socket(HOME, broker.addresses()[0])).collect();
    let mut other = socket(HOME, broker.addresses()[1]);
    other.write_all(b"GET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n").expect("it is taken");
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert!(crowd.iter().any(|socket| !is_closed(socket)), "all of the crowd came first");
}

#[test]
fn an_address_has_no_more_handshakes_than_it_may() {
    const N: usize = 2;
    let few = Limits { half_open_per_address_max: N, sys_interval_secs: 1, ..limits(100) };
    let site = Site::new(false, few, |_| {});
    let mut watcher = Watcher::new(&site.broker, "half_open_per_address_max");
    let to = site.broker.addresses()[0];
    let silent: Vec<_> = (0..N).map(|_| socket([127, 0, 0, 2], to)).collect();
    watcher.wait_for(0);
    // Others have room of their own, and whose handshake is over is not counted.
    let _clients: Vec<_> = (0..2 * N).map(|at| site.join(&format!("c-{at}"))).collect();
    assert!(silent.iter().all(|socket| !is_closed(socket)), "nobody waits for their places");
    // Those beyond wait until the first of them make room.
    let crowd: Vec<_> = (0..9 * N).map(|_| socket([127, 0, 0, 2], to)).collect();
    watcher.wait_for(9 * N);
    for mut socket in silent.iter().chain(&crowd[..N]) {
        assert_eq!(socket.read(&mut [0]).expect("an end"), 0);
    }
    assert!(!is_closed(&crowd[9 * N - 1]), "nobody waits for its place");
    site.join("patient");
}
