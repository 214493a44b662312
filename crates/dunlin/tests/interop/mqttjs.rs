//! MQTT.js over WebSocket, within TLS and without it.

use crate::process::Process;
use std::path::Path;
use std::process::Command;

#[test]
fn mqttjs_speaks_to_itself_over_websocket() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = env!("CARGO_BIN_EXE_dunlin");
    let mut command = Command::new(program);
    command.args(["cert", "--out", "certs"]).current_dir(folder.path());
    assert!(command.output().expect("it can be started").status.success());
    let wss = "wss://127.0.0.1:0?certificate=certs/server.pem&key=certs/server.key";
    let mut command = Command::new(program);
    command.args(["--listen", "ws://127.0.0.1:0", "--listen", wss]).current_dir(folder.path());
    let mut broker = Process::spawn("dunlin", &mut command);
    broker.end_input();
    let mut port = |scheme: &str| -> u16 {
        broker.wait_for("it listened", |line| {
            let start = format!("listening on {scheme}://127.0.0.1:");
            line.trim().rsplit_once(&start)?.1.parse().ok()
        })
    };
    let (plain, secure) = (port("ws"), port("wss"));
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("lies in target");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/mqttjs_peer.cjs");
    let ca = folder.path().join("certs/ca.pem");
    // Its own choice of a path is none.
    let plain = [format!("ws://127.0.0.1:{plain}"), format!("ws://127.0.0.1:{plain}/mqtt")];
    let secure = [format!("wss://localhost:{secure}/mqtt")];
    for (version, qos) in [("4", "0"), ("4", "2"), ("5", "1")] {
        for url in plain.iter().chain(&secure) {
            let mut command = Command::new("node");
            command.env("NODE_PATH", built.join("peers/mqtt/node_modules"));
            command.args([script, url, version, qos]);
            if url.starts_with("wss") {
                command.arg(&ca);
            }
            let mut client = Process::spawn("MQTT.js", &mut command);
            client.wait_for("its message", |line| (line == "big 300000 true").then_some(()));
            client.wait_for("its end", |line| (line == "closed").then_some(()));
            assert!(client.wait_success(), "{}", client.history());
        }
    }
}
