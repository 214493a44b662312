//! The queues of the front, and who shares its places.

use super::super::{Door, Front, FrontParts};
use super::*;
use crate::admission::Admission;
use crate::config::Limits;
use crate::core::Durability;
use crate::net::{Acceptor, Listening, Stream};
use mio::Poll;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A front behind a proxy on this machine, and the address of its door.
fn front() -> (Front, TcpListener) {
    with_limits(10, 10, 40)
}

/// The same with so many places, of which so many may be of one address, and so many that may wait.
fn with_limits(places: usize, per_address: usize, waiting: usize) -> (Front, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let acceptor = Acceptor::new(&Listening::Tcp(unused), Durability::Memory, 0).unwrap();
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut front = Front::new(FrontParts {
        poll: Poll::new().unwrap(),
        doors: vec![Door { acceptor, url: String::new(), proxies, tls: None, web_socket: None }],
        peers: Vec::new(),
        is_stopping: Arc::default(),
        calls: std::sync::mpsc::channel().1,
        admission: Admission::new(&Limits::default()),
        limits: PlaceLimits {
            half_open_max: places,
            half_open_per_address_max: per_address,
            timeout: Duration::from_secs(600),
        },
    });
    front.places.waiting_max = waiting;
    (front, listener)
}

fn admit(front: &mut Front, listener: &TcpListener, closes: bool) -> TcpStream {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    if closes {
        client.shutdown(std::net::Shutdown::Both).unwrap();
        // Its end has arrived.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 0);
    }
    stream.set_nonblocking(true).unwrap();
    let stream = Stream::tcp(mio::net::TcpStream::from_std(stream), peer);
    let half_open = front.half_open(0, stream, None);
    front.admit(half_open);
    client
}

#[test]
fn who_has_gone_is_forgotten_though_one_stays_and_there_is_room() {
    let (mut front, listener) = front();
    let stays = admit(&mut front, &listener, false);
    for _ in 0..300 {
        admit(&mut front, &listener, true);
        front.end_late(Clock::now());
        let places = &mut front.places;
        places.forget_gone();
        assert_eq!(places.places.len() - places.free.len(), 1);
        assert!(places.silent.len() <= 2 + GONE_MAX && places.arrivals.len() <= 2 + GONE_MAX);
    }
    assert!(
        front.places.silent.iter().any(|entry| entry.place == 0 && front.places.is_there(*entry))
    );
    drop(stays);
}

#[test]
fn who_waits_has_its_turn_though_a_crowd_came_first() {
    let (mut front, listener) = with_limits(1, 10, 10);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(come(&mut front, &listener, 1));
    }
    assert_eq!(front.places.waiting.len(), 10, "one has a place, and the others are too many");
    assert!(!front.may_take());
    clients.push(come(&mut front, &listener, 2));
    assert_eq!(front.places.waiting.len(), 10, "one of the crowd has left for it");
    let turns: Vec<_> = (0..3)
        .map(|_| {
            front.give_up(0, "it has to make room");
            front.fill_places(Clock::now());
            front.places.places[0].as_ref().and_then(|half_open| half_open.address).unwrap()
        })
        .collect();
    assert_eq!(turns, [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 1]].map(IpAddr::from));
    assert!(front.may_take(), "who comes is taken while handshakes come to nothing");
}

#[test]
fn places_are_for_others_though_a_crowd_fills_the_queue() {
    let (mut front, listener) = with_limits(4, 2, 3);
    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(come(&mut front, &listener, 1));
    }
    let here = |front: &Front| front.places.places.iter().flatten().count();
    assert_eq!((here(&front), front.places.waiting.len()), (2, 3));
    assert!(front.may_take(), "others may have the places that are left");
    clients.push(come(&mut front, &listener, 2));
    assert_eq!((here(&front), front.places.waiting.len()), (3, 3));
    clients.push(come(&mut front, &listener, 3));
    assert!(!front.may_take(), "no place is left");
    // What comes to nothing by itself counts as well.
    clients.clear();
    let end_all = |front: &mut Front| {
        // Their ends may be on their way.
        while here(front) > 0 {
            (0..4).for_each(|at| front.go_on(at));
        }
    };
    end_all(&mut front);
    assert!(!front.places.is_besieged());
    while !front.places.waiting.is_empty() {
        front.fill_places(Clock::now());
        end_all(&mut front);
    }
    assert!(front.places.is_besieged());
    front.places.age(Clock::now() + Duration::from_secs(10));
    assert!(!front.places.is_besieged());
}

#[test]
fn a_crowd_makes_room_early_for_an_address_that_has_none() {
    let (mut front, listener) = with_limits(4, 10, 10);
    let mut clients: Vec<_> = (0..6).map(|_| come(&mut front, &listener, 1)).collect();
    let base = Clock::now();
    let pass = |front: &mut Front, millis| {
        front.places.silent.iter_mut().for_each(|entry| entry.since = base);
        front.places.places.iter_mut().flatten().for_each(|half_open| half_open.heard_at = base);
        front.fill_places(base + Duration::from_millis(millis));
    };
    let has_place =
        |front: &Front, last| front.places.by_address.contains_key(&IpAddr::from([10, 0, 0, last]));
    clients.push(come(&mut front, &listener, 2));
    pass(&mut front, 150);
    assert!(!has_place(&front, 2), "handshakes may just take their time");
    (0..5).for_each(|_| front.places.note_end(false));
    pass(&mut front, 99);
    assert!(!has_place(&front, 2));
    pass(&mut front, 150);
    assert!(has_place(&front, 2));
    // The others of the crowd wait as ever.
    let waiting = front.places.waiting.len();
    pass(&mut front, 150);
    assert_eq!(front.places.waiting.len(), waiting);
    pass(&mut front, 1_000);
    assert!(front.places.waiting.len() < waiting);
    // Where each has one place nobody is a crowd.
    let (mut front, listener) = with_limits(4, 10, 16);
    clients.extend((1..=5).map(|last| come(&mut front, &listener, last)));
    (0..5).for_each(|_| front.places.note_end(false));
    pass(&mut front, 150);
    assert!((1..=4).all(|last| has_place(&front, last)));
}

#[test]
fn nobody_has_to_go_while_there_are_places_for_those_who_wait() {
    let (mut front, listener) = with_limits(100, 100, 100);
    let _clients: Vec<_> = (0..200).map(|_| come(&mut front, &listener, 1)).collect();
    assert!(front.places.waiting.len() == 100 && !front.may_take());
    for at in 0..100 {
        front.remove(at);
    }
    front.fill_places(Clock::now());
    assert_eq!(front.places.waiting.len(), 100 - super::super::ACCEPTS_PER_TURN);
    front.places.waiting_max = front.places.waiting.len();
    assert!(front.places.has_room() && !front.may_take(), "the others are for those who wait");
    front.fill_places(Clock::now());
    assert!(front.places.waiting.is_empty() && front.may_take());
}

fn come(front: &mut Front, listener: &TcpListener, last: u8) -> TcpStream {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = Stream::tcp(mio::net::TcpStream::from_std(stream), peer);
    let half_open = front.half_open(0, stream, Some([10, 0, 0, last].into()));
    front.admit(half_open);
    client
}
