//! `dunlin bench` over TLS, WebSocket and QUIC.

use super::{lossy, refused};
use crate::broker::{listening, port_of};
use crate::program::run;
use crate::tls::Certificates;
use serde_json::{Value, json};

/// Runs a scenario, of which nothing may be wrong.
#[track_caller]
fn clean(url: &str, flags: &[&str], scenario: &str, options: &[&str]) -> Value {
    let args = [&["bench", scenario, url, "--report", "json"], flags, options].concat();
    let ended = run(&args);
    let report: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {ended:?}"));
    assert_eq!(ended.code, Some(0), "{args:?}: {report:#}");
    assert_eq!(report["faults"]["sum"], 0, "{args:?}: {report:#}");
    assert_eq!(report["complaints"].as_array().map(Vec::len), Some(0), "{args:?}: {report:#}");
    report
}

#[test]
fn every_message_arrives_over_every_transport() {
    let certificates = Certificates::new();
    let ca = certificates.path("certs/ca.pem");
    let (cert, key) =
        (certificates.path("certs/client.pem"), certificates.path("certs/client.key"));
    let trust = ["--cafile", &ca];
    let both = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    let mutual = format!("{}&client_ca={ca}", certificates.listener("mqtts"));
    let (_broker, urls) = listening(&[
        "ws://127.0.0.1:0/".to_owned(),
        certificates.listener("wss"),
        certificates.listener("mqtts"),
        mutual,
        certificates.listener("quic"),
    ]);
    for (at, scheme, flags, name) in [
        (0, "ws", &[][..], "WebSocket"),
        (1, "wss", &trust, "WebSocket within TLS"),
        (2, "mqtts", &trust, "TLS"),
        (3, "mqtts", &both, "TLS"),
        (4, "quic", &trust, "QUIC"),
    ] {
        let url = format!("{scheme}://localhost:{}", port_of(&urls[at]));
        for (payload, qos, messages) in [("64", "mixed", 2000), ("200000", "1", 20)] {
            let count = messages.to_string();
            let options = ["--payload", payload, "--qos", qos, "--messages", &count];
            let sides = ["--publishers", "2", "--subscribers", "3", "--warm-up", "0"];
            let report = clean(&url, flags, "fan-in", &[&options[..], &sides].concat());
            assert_eq!(report["delivered"], 3 * messages, "{url}");
            assert_eq!(report["parameters"][1], json!({ "name": "transport", "value": name }));
        }
        let options = ["--duration", "1", "--rate", "1000", "--version", "5"];
        let report = clean(&url, flags, "soak", &options);
        assert!(report["figures"]["connections cut"].as_f64() > Some(0.0), "{report:#}");
        let sides = ["--publishers", "2", "--subscribers", "20", "--duration", "0.3"];
        clean(&url, flags, "reconnect", &sides);
        let trouble =
            ["--cut", "20@0.2", "--pause", "50@0.4-0.8", "--duration", "1", "--rate", "2000"];
        let report = clean(&url, flags, "pairs", &[&["--qos", "1"], &trouble[..]].concat());
        assert!(report["delivered"].as_u64() > Some(1500), "{url}: {report:#}");
    }
}

#[test]
fn every_message_arrives_though_datagrams_are_lost() {
    let certificates = Certificates::new();
    let ca = certificates.path("certs/ca.pem");
    let (_broker, urls) = listening(&[certificates.listener("quic")]);
    let port = port_of(&urls[0]).parse().expect("a port");
    let url = format!("quic://localhost:{}", lossy::relay(port, 9));
    let flags = ["--cafile", &ca];
    for qos in ["0", "1", "2"] {
        let options = ["--qos", qos, "--messages", "3000", "--clients", "3", "--warm-up", "0"];
        let report = clean(&url, &flags, "pairs", &options);
        assert_eq!(report["delivered"], 3000, "QoS {qos}");
    }
    // The goodbyes, too: a Session that stays would be a fault of the next run.
    let sides = ["--publishers", "2", "--subscribers", "20", "--messages", "2000"];
    clean(&url, &flags, "offline", &sides);
}

#[test]
fn a_broker_that_can_not_be_talked_to_is_told_of() {
    let certificates = Certificates::new();
    let (_broker, urls) = listening(&[
        certificates.listener("mqtts"),
        "ws://127.0.0.1:0/only".to_owned(),
        "mqtt://127.0.0.1:0".to_owned(),
        certificates.listener("quic"),
    ]);
    let [secure, web, plain, quic] = [0, 1, 2, 3].map(|at| port_of(&urls[at]));
    let strange = certificates.path("strange/ca.pem");
    let failed = "the handshake of TLS, QUIC or WebSocket has failed: ";
    for (url, flags, why) in [
        (
            format!("mqtts://localhost:{secure}"),
            &["--cafile", &strange][..],
            "invalid peer certificate: ",
        ),
        (
            format!("quic://localhost:{quic}"),
            &["--cafile", &strange],
            "the cryptographic handshake failed: error 51: invalid peer certificate: ",
        ),
        (format!("ws://localhost:{web}/other"), &[], "the server answers with status 404"),
        (format!("mqtts://localhost:{plain}"), &["--cafile", &strange], ""),
        (format!("ws://localhost:{secure}"), &[], "the server speaks TLS"),
    ] {
        let args = [&["pairs", &url, "--quiet"], flags].concat();
        refused(1, &args, &format!("{failed}{why}"));
    }
    let url = format!("mqtt://localhost:{plain}");
    let ca = certificates.path("certs/ca.pem");
    refused(
        2,
        &["pairs", &url, "--cafile", &ca],
        "the flags of TLS go with mqtts://, wss:// and quic://",
    );
    refused(
        2,
        &["pairs", "wss://localhost", "--server-name", "a b"],
        "--server-name: \"a b\" is no",
    );
    refused(
        2,
        &["pairs", "unix:///none"],
        "dunlin bench speaks MQTT over TCP, TLS, WebSocket and QUIC",
    );
    refused(
        2,
        &["pairs", "quic://localhost", "--server-name", "a b"],
        "--server-name: \"a b\" is no",
    );
    // Nobody listens for datagrams there, and the system says so.
    let url = format!("quic://127.0.0.1:{plain}");
    refused(
        1,
        &["pairs", &url, "--cafile", &ca],
        &format!("127.0.0.1:{plain} takes no connection: "),
    );
    refused(2, &["pairs", "mqtts://localhost", "--cafile", "/none"], "--cafile /none: ");
}
