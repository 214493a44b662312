//! A broker that asks a back end over HTTP about logins: nothing that it logs shows a secret.

use crate::broker::Broker;
use crate::program::run;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

/// A back end that lets everybody in.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a request");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"}") {
            stream.read_exact(&mut byte).expect("a whole request");
            request.push(byte[0]);
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"allow\": true}";
        stream.write_all(answer.as_bytes()).expect("sent");
    }
}

#[test]
fn secrets_are_in_no_log() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("auth.http.url=http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || serve(&listener));
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
