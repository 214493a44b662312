//! Another implementation of QUIC, aioquic in Python, against ours.

use crate::process::{Process, environment_python};
use std::path::Path;
use std::process::Command;

/// A broker in this folder with one listener, and its port.
fn start(folder: &Path, port: u16) -> (Process, u16) {
    let url = format!("quic://127.0.0.1:{port}?certificate=certs/server.pem&key=certs/server.key");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let mut broker = Process::spawn("dunlin", command.args(["--listen", &url]).current_dir(folder));
    broker.end_input();
    let port = broker.wait_for("it listened", |line| {
        line.trim().rsplit_once("listening on quic://127.0.0.1:")?.1.parse().ok()
    });
    (broker, port)
}

#[test]
fn aioquic_speaks_to_itself_and_is_told_of_a_broker_that_was_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["cert", "--out", "certs"]).current_dir(folder.path());
    assert!(command.output().expect("it can be started").status.success());
    let (mut broker, port) = start(folder.path(), 0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/aioquic_peer.py");
    let mut command = Command::new(environment_python());
    command.arg("-B").arg(script).arg(port.to_string()).arg(folder.path().join("certs/ca.pem"));
    let mut peer = Process::spawn("aioquic", &mut command);
    let mut done = |what: &str| peer.wait_for(what, |line| line.starts_with(what).then_some(()));
    done("messages crossed");
    done("messages crossed with other keys and identifiers");
    done("a client said goodbye");
    done("not let in");
    done("kill the broker");
    broker.kill();
    let (_broker, _) = start(folder.path(), port);
    peer.write_line("it is back");
    assert!(peer.wait_success(), "{}", peer.history());
    assert!(peer.history().contains("told of the restart"), "{}", peer.history());
}
