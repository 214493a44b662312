//! Other people's clients over TLS, with certificates that `dunlin cert` has made.

use crate::paho::driver::Paho;
use crate::process::Process;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A broker with a listener that shows a certificate, and one that asks for one as well.
struct Bed {
    folder: TempDir,
    port: u16,
    mutual_port: u16,
    _broker: Process,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for out in ["certs", "strange"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
            command.args(["cert", "--out", out]).current_dir(folder.path());
            assert!(command.output().expect("it can be started").status.success());
        }
        let url = "mqtts://127.0.0.1:0?certificate=certs/server.pem&key=certs/server.key";
        let mutual = format!("{url}&client_ca=certs/ca.pem");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["--listen", url, "--listen", &mutual]).current_dir(folder.path());
        let mut broker = Process::spawn("dunlin", &mut command);
        broker.end_input();
        let mut port = || {
            broker.wait_for("it listened", |line| {
                line.trim().rsplit_once("listening on mqtts://127.0.0.1:")?.1.parse().ok()
            })
        };
        let (port, mutual_port) = (port(), port());
        Self { folder, port, mutual_port, _broker: broker }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().expect("is UTF-8").to_owned()
    }

    /// One of Mosquitto's clients, which trusts an authority and shows a certificate if it has one.
    fn client(&self, program: &str, port: u16, authority: &str, shown: Option<&str>) -> Command {
        // Without a terminal the clients would keep their lines back until they end.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "localhost", "-p", &port.to_string()]);
        command.args(["--cafile", &self.file(&format!("{authority}/ca.pem"))]);
        if let Some(authority) = shown {
            command.args(["--cert", &self.file(&format!("{authority}/client.pem"))]);
            command.args(["--key", &self.file(&format!("{authority}/client.key"))]);
        }
        command
    }
}

#[test]
fn mosquitto_clients_speak_to_each_other() {
    let bed = Bed::new();
    for (version, qos) in [("mqttv31", "0"), ("mqttv311", "1"), ("mqttv5", "2")] {
        let mut command = bed.client("mosquitto_sub", bed.port, "certs", None);
        command.args(["-V", version, "-q", qos, "-t", version, "-C", "2", "-d"]);
        let mut subscriber = Process::spawn("mosquitto_sub", &mut command);
        subscriber.wait_for("its SUBACK", |line| line.contains("SUBACK").then_some(()));
        for (port, shown, payload) in
            [(bed.port, None, "by one"), (bed.mutual_port, Some("certs"), "by both")]
        {
            let mut command = bed.client("mosquitto_pub", port, "certs", shown);
            command.args(["-V", version, "-q", qos, "-t", version, "-m", payload]);
            let mut publisher = Process::spawn("mosquitto_pub", &mut command);
            assert!(publisher.wait_success(), "{}", publisher.history());
            subscriber.wait_for(payload, |line| (line == payload).then_some(()));
        }
        assert!(subscriber.wait_success(), "{}", subscriber.history());
    }
}

#[test]
fn paho_speaks_to_itself() {
    let bed = Bed::new();
    let mut paho = Paho::start();
    let (ca, cert, key) =
        (bed.file("certs/ca.pem"), bed.file("certs/client.pem"), bed.file("certs/client.key"));
    let ports = [bed.port.to_string(), bed.mutual_port.to_string()];
    for (name, port, version) in [("one", &ports[0], "3.1.1"), ("both", &ports[1], "5")] {
        let mut fields =
            vec![("id", name), ("version", version), ("clean", "1"), ("port", port), ("ca", &ca)];
        if name == "both" {
            fields.extend([("cert", cert.as_str()), ("key", &key)]);
        }
        paho.command(name, "connect", &fields);
        paho.expect(name, "connected");
    }
    paho.command("one", "subscribe", &[("filter", "a"), ("qos", "2")]);
    paho.expect("one", "subscribed");
    // More than a record holds.
    let payload = "5a".repeat(100_000);
    let fields = [("topic", "a"), ("payload", payload.as_str()), ("qos", "2"), ("retain", "0")];
    paho.command("both", "publish", &fields);
    assert_eq!(paho.expect("one", "message").message().payload.len(), 100_000);
}

#[test]
fn who_is_not_known_does_not_get_in() {
    let bed = Bed::new();
    for (port, authority, shown, is_in) in [
        (bed.port, "certs", None, true),
        (bed.port, "strange", None, false),
        (bed.mutual_port, "certs", None, false),
        (bed.mutual_port, "certs", Some("strange"), false),
        (bed.mutual_port, "certs", Some("certs"), true),
    ] {
        let mut command = bed.client("mosquitto_pub", port, authority, shown);
        command.args(["-t", "a", "-m", "b", "-q", "1"]);
        let mut publisher = Process::spawn("mosquitto_pub", &mut command);
        assert_eq!(publisher.wait_success(), is_in, "{shown:?}: {}", publisher.history());
    }
}

#[test]
fn openssl_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dunlin = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(args).current_dir(folder.path());
        command
    };
    for (out, server) in [("one", "localhost"), ("two", "lamps.example")] {
        let mut command = dunlin(&["cert", "--out", out, "--server", server]);
        assert!(command.output().expect("it can be started").status.success());
    }
    let url = "mqtts://127.0.0.1:0?certificate=one/server.pem|two/server.pem\
               &key=one/server.key|two/server.key";
    let mut broker = Process::spawn("dunlin", &mut dunlin(&["--listen", url]));
    broker.end_input();
    let port: u16 = broker.wait_for("it listened", |line| {
        line.trim().rsplit_once("listening on mqtts://127.0.0.1:")?.1.parse().ok()
    });
    for (name, authority) in [("lamps.example", "two"), ("localhost", "one"), ("b.example", "one")]
    {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("localhost:{port}"), "-servername", name]);
        command.args(["-verify_return_error", "-CAfile"]);
        command.arg(folder.path().join(authority).join("ca.pem"));
        let mut client = Process::spawn("openssl", &mut command);
        client.end_input();
        assert!(client.wait_success(), "{name}: {}", client.history());
    }
}

#[test]
fn openssl_agrees_on_versions_and_protocols() {
    let bed = Bed::new();
    for (options, is_in) in [
        (&["-tls1_2"][..], true),
        (&["-tls1_3"], true),
        (&["-tls1_3", "-alpn", "mqtt"], true),
        (&["-tls1_3", "-alpn", "http/1.1"], false),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], false),
    ] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("localhost:{}", bed.port)]);
        command.args(["-verify_return_error", "-CAfile", &bed.file("certs/ca.pem")]);
        let mut client = Process::spawn("openssl", command.args(options));
        client.end_input();
        assert_eq!(client.wait_success(), is_in, "{options:?}: {}", client.history());
    }
}
