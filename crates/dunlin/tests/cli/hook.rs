//! A broker that asks a back end over HTTP about logins: what it logs says what the back end does, and
//! shows no secret.

use crate::broker::Broker;
use crate::program::run;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::channel;

/// Answers each question, of so many before it, with the status and body that this gives.
fn serve(listener: &TcpListener, answer: impl Fn(usize) -> (&'static str, &'static str)) {
    for (asked, stream) in listener.incoming().enumerate() {
        let mut stream = stream.expect("a request");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"}") {
            stream.read_exact(&mut byte).expect("a whole request");
            request.push(byte[0]);
        }
        let (status, body) = answer(asked);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).expect("sent");
    }
}

#[test]
fn secrets_are_in_no_log() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("auth.http.url=http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || serve(&listener, |_| ("200 OK", r#"{"allow": true}"#)));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, "o1-OpenSesame\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner's");
    let bearer = format!("auth.http.bearer_file={}", file.display());
    for asked in ["trace,ureq=trace", "info, ureq_proto::util=trace"] {
        let ended = run(&["--set", &url, "--set", &bearer, "--log", asked]);
        assert_eq!(ended.code, Some(2), "{asked}: {ended:?}");
        assert!(
            ended.stderr.contains("would write the secret of auth.http.bearer_file"),
            "{ended:?}"
        );
    }
    // Not even if somebody asks for all there is.
    let broker = Broker::start(&["--set", &url, "--set", &bearer, "--log", "trace"]);
    let to = ["pub", "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1", "-V", "5"];
    let ended = run(&[&to[..], &["-u", "gauge", "-P", "o2-OpenBarley"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    broker.running.signal("TERM");
    let ended = broker.running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("TRACE"), "{ended:?}");
    // A dump of bytes would have them in pieces.
    for secret in ["OpenSesame", "OpenBarley", "Sesame", "Barley", "o1-O", "o2-O", "Bearer"] {
        assert!(!ended.stderr.contains(secret), "{secret}: {}", ended.stderr);
    }
}

#[test]
fn another_fault_of_a_back_end_that_fails_on_is_told_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (sender, questions) = channel();
    std::thread::spawn(move || {
        serve(&listener, |asked| {
            // At the end of the test nobody listens.
            let _ = sender.send(());
            if asked < 5 { ("200 OK", "lies") } else { ("503 Service Unavailable", "") }
        });
    });
    // One that is well is never late, however busy the machine is.
    let set = ["--set", &format!("auth.http.url={url}"), "--set", "auth.http.timeout_millis=10000"];
    let broker = Broker::start(&set);
    let to = ["pub", "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1", "-V", "5"];
    let mut asked = 0;
    while asked < 6 {
        let ended = run(&[&to[..], &["-u", "gauge", "-P", "x"]].concat());
        assert_ne!(ended.code, Some(0), "{ended:?}");
        asked += questions.try_iter().count();
    }
    let lies = "the answer is no JSON object";
    broker.running.wait_for_within(&format!(" auth.http: {url}: {lies}"));
    broker.running.wait_for_within(&format!("5 times in a row {url} has failed: {lies}"));
    broker.running.wait_for_within(&format!(" auth.http: {url}: the answer has the status 503"));
}
