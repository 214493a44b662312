//! Clients of a script against a server that greets and closes.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

/// Clients that say their number, wait for a greeting in two parts, and come once more.
#[derive(Default)]
struct Polite {
    greetings: Vec<String>,
    visits: [usize; 3],
    ended: usize,
}

impl Script for Polite {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        self.visits[client] += 1;
        out.push(b'0' + client as u8);
    }

    fn received(
        &mut self,
        _client: usize,
        input: &[u8],
        _out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        if input.len() < 7 {
            return (0, Next::Stay);
        }
        tally.served += 1;
        self.greetings.push(String::from_utf8_lossy(input).into_owned());
        (input.len(), Next::Stay)
    }

    fn ended(&mut self, client: usize, _tally: &mut Tally) -> Next {
        self.ended += 1;
        if self.visits[client] < 2 { Next::Again(Duration::ZERO) } else { Next::Stay }
    }

    fn is_over(&self) -> bool {
        self.ended == 6
    }
}

#[test]
fn all_clients_are_served_and_come_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for _ in 0..6 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut number = [0];
            stream.read_exact(&mut number).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.write_all(&[b' ', number[0]]).unwrap();
        }
    });
    let until = Instant::now() + Duration::from_secs(60);
    let mut script = Polite::default();
    let tally = run(Course { address, clients: 3, until }, &mut script).unwrap();
    server.join().unwrap();
    script.greetings.sort();
    let expected = ["hello 0", "hello 0", "hello 1", "hello 1", "hello 2", "hello 2"];
    assert_eq!(script.greetings, expected);
    assert_eq!((tally.opened, tally.served, tally.closed), (6, 6, 6));
    assert_eq!((tally.held, tally.unreachable), (0, 0));
}

#[test]
fn who_finds_nobody_is_counted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // Long enough for each to try, also where it gets no processor for a while.
    let until = Instant::now() + Duration::from_secs(3);
    let tally = run(Course { address, clients: 2, until }, &mut Polite::default()).unwrap();
    assert_eq!((tally.opened, tally.held), (0, 0));
    assert!(tally.unreachable >= 2);
}
