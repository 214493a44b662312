//! `dunlin` and `dunlin broker`: starting, announcing, stopping.

use crate::program::{Running, run};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// A broker on a port of its own.
pub(crate) struct Broker {
    pub(crate) port: String,
    pub(crate) running: Running,
}

impl Broker {
    pub(crate) fn start(args: &[&str]) -> Self {
        let running = Running::start(&[args, &["--listen", "mqtt://127.0.0.1:0"]].concat());
        let version = running.line().expect("says its version");
        assert_eq!(version, format!("dunlin {}", env!("CARGO_PKG_VERSION")));
        let line = running.line().expect("says where it listens");
        let port = line.strip_prefix("listening on mqtt://127.0.0.1:").expect("listens there");
        assert_ne!(port, "0");
        Self { port: port.to_owned(), running }
    }
}

/// A broker with these listeners, each as a URL with its options, and where they are: URLs without.
pub(crate) fn listening(urls: &[String]) -> (Running, Vec<String>) {
    let mut args = vec!["broker"];
    args.extend(urls.iter().flat_map(|url| ["--listen", url]));
    let broker = Running::start(&args);
    assert!(broker.line().unwrap().starts_with("dunlin "));
    let address = |_| {
        let line = broker.line().unwrap();
        line.strip_prefix("listening on ").expect(&line).to_owned()
    };
    let addresses = urls.iter().map(address).collect();
    (broker, addresses)
}

/// The port of such a URL.
pub(crate) fn port_of(url: &str) -> String {
    let after = url.rsplit(':').next().expect("a port");
    after.split('/').next().expect("a port").to_owned()
}

#[test]
fn it_says_where_it_listens_and_how_to_stop_it() {
    for args in [&[][..], &["broker"]] {
        let broker = Broker::start(&[args, &["--workers", "2"]].concat());
        let rest: Vec<String> = (0..4).filter_map(|_| broker.running.line()).collect();
        assert_eq!(
            rest,
            [
                "2 workers",
                "state lives in memory and ends with the broker; --data FOLDER keeps it",
                "clients need no credentials: programs on this machine may connect",
                "stop with Ctrl-C"
            ]
        );
    }
}

#[test]
fn both_signals_stop_it_with_success() {
    for signal in ["INT", "TERM"] {
        let broker = Broker::start(&[]);
        broker.running.signal(signal);
        let ended = broker.running.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{signal}");
    }
}

#[test]
fn two_signals_at_once_are_one_wish() {
    let broker = Broker::start(&[]);
    // A halted process gets all of them together when it goes on.
    for signal in ["STOP", "TERM", "INT", "CONT"] {
        broker.running.signal(signal);
    }
    let ended = broker.running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_address_in_use_is_one_message_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", taken.local_addr().unwrap());
    let ended = run(&["--listen", &url]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.starts_with(&format!("error: {url} can't be opened: ")), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn a_client_that_breaks_the_protocol_again_and_again_does_not_fill_the_log() {
    let broker = Broker::start(&[]);
    for _ in 0..500 {
        let mut socket =
            TcpStream::connect(format!("127.0.0.1:{}", broker.port)).expect("a broker");
        // A PINGREQ before CONNECT.
        socket.write_all(&[0xc0, 0]).expect("the broker reads");
        socket.read_to_end(&mut Vec::new()).expect("it is closed");
    }
    broker.running.signal("TERM");
    let ended = broker.running.end();
    let lines: Vec<&str> =
        ended.stderr.lines().filter(|line| line.contains("broke the protocol")).collect();
    // 20 at once, and as many more as there were seconds.
    assert!((20..250).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines[0].contains("unsaid=0"), "{}", lines[0]);
}

#[test]
fn who_is_one_too_many_for_its_address_is_told_of_with_it() {
    let set = ["--workers", "1", "--set", "limits.connections_per_address_max=1"];
    let broker = Broker::start(&set);
    let address = format!("127.0.0.1:{}", broker.port);
    let _first = TcpStream::connect(&address).expect("a broker");
    let second = TcpStream::connect(&address).expect("a broker");
    let line = broker.running.wait_for_within("limits.connections_per_address_max is reached");
    let peer = second.local_addr().expect("an address");
    assert!(line.contains(&format!("peer=\"{peer}\"")), "{line}");
}
