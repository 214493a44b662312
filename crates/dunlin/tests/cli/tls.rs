//! `dunlin cert`, and pub and sub over TLS with what it makes, and over WebSocket.

use crate::broker::{listening, port_of};
use crate::program::{Ended, Running, command, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for out in ["certs", "strange"] {
            let path = folder.path().join(out);
            run(&["cert", "--out", path.to_str().unwrap()]).check(
                0,
                &format!(
                    "{0}/ca.pem, {0}/ca.key: the authority: whom clients trust\n\
                     {0}/server.pem, {0}/server.key: localhost, 127.0.0.1, ::1\n\
                     {0}/client.pem, {0}/client.key: the client client\n",
                    path.display()
                ),
                "",
            );
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A listener that shows the server's certificate.
    pub(crate) fn listener(&self, scheme: &str) -> String {
        let (certificate, key) = (self.path("certs/server.pem"), self.path("certs/server.key"));
        format!("{scheme}://127.0.0.1:0?certificate={certificate}&key={key}")
    }
}

/// A broker with a listener for each of these options, and their ports.
fn broker(certificates: &Certificates, options: &[&str]) -> (Running, Vec<String>) {
    let url = |options: &&str| format!("{}{options}", certificates.listener("mqtts"));
    let (broker, urls) = listening(&options.iter().map(url).collect::<Vec<_>>());
    (broker, urls.iter().map(|url| port_of(url)).collect())
}

#[test]
fn a_message_crosses_with_tls_on_both_sides() {
    let certificates = Certificates::new();
    let mutual = format!("&client_ca={}", certificates.path("certs/ca.pem"));
    let (_broker, ports) = broker(&certificates, &["", &mutual]);
    let ca = certificates.path("certs/ca.pem");
    let sub = Running::start(&[
        "sub", "-p", &ports[0], "--cafile", &ca, "-t", "a", "-q", "2", "-C", "3", "-d",
    ]);
    sub.wait_for("< SUBACK");
    let (cert, key) =
        (certificates.path("certs/client.pem"), certificates.path("certs/client.key"));
    let long = "x".repeat(300_000);
    let file = certificates.path("long");
    fs::write(&file, &long).unwrap();
    let own = ["pub", "-p", &ports[1], "--cafile", &ca, "--cert", &cert, "--key", &key, "-t", "a"];
    let url = format!("mqtts://localhost:{}/a", ports[0]);
    let state = certificates.path("state");
    for more in [&["-m", "short", "-q", "2"][..], &["-f", &file, "-q", "1"]] {
        run(&[&own[..], more].concat()).check(0, "", "");
    }
    let kept = ["pub", "-L", &url, "--cafile", &ca, "-i", "k", "--session-file", &state];
    run(&[&kept[..], &["-m", "kept", "-q", "2"]].concat()).check(0, "", "");
    for expected in ["short", &long, "kept"] {
        assert_eq!(sub.line().as_deref(), Some(expected));
    }
    assert_eq!(sub.end().code, Some(0));
}

#[test]
fn who_is_not_trusted_is_told_why() {
    let certificates = Certificates::new();
    let mutual = format!("&client_ca={}", certificates.path("certs/ca.pem"));
    let (broker, ports) = broker(&certificates, &["", &mutual]);
    let (ca, strange) = (certificates.path("certs/ca.pem"), certificates.path("strange/ca.pem"));
    let (cert, key) =
        (certificates.path("strange/client.pem"), certificates.path("strange/client.key"));
    let fails = |args: &[&str], reason: &str| {
        let ended = run(&[&["pub", "-t", "a", "-m", "b", "-q", "1"][..], args].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    };
    // The authorities have the same name.
    fails(&["-p", &ports[0], "--cafile", &strange], "but another key");
    // Whom the operating system trusts has not signed it.
    fails(&["-p", &ports[0], "--tls-use-os-certs"], "no authority that this machine trusts");
    fails(&["-p", &ports[0], "-h", "127.0.0.2", "--cafile", &ca], "nobody listens");
    fails(&["-p", &ports[1], "--cafile", &ca], "add --cert FILE and --key FILE");
    broker.wait_for_within("a client was refused for its certificate: peer sent no certificates");
    let shown = ["-p", &ports[1], "--cafile", &ca, "--cert", &cert, "--key", &key];
    fails(&shown, "the broker refuses the certificate of --cert");
    let refused = "a client was refused for its certificate: invalid peer certificate: ";
    let line = broker.wait_for_within(refused);
    assert!(line.contains("peer=\"127.0.0.1:") && line.contains("listener=\"mqtts://"), "{line}");
    fails(&["-p", &ports[0]], "the broker speaks TLS there; write mqtts:// ");
}

#[test]
fn the_name_of_the_server_is_asked_for_and_expected_in_place_of_the_host() {
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(&format!("certs/{name}"));
    let (own, ca) = (certificates.path("own"), path("ca.pem"));
    fs::create_dir(&own).unwrap();
    for name in ["ca.pem", "ca.key"] {
        fs::copy(path(name), format!("{own}/{name}")).unwrap();
    }
    run(&["cert", "--out", &own, "--server", "b.test"]);
    // Who asks for another name is shown the certificate of localhost.
    let listener = |scheme: &str| {
        let certificate = format!("{}|{own}/server.pem", path("server.pem"));
        let key = format!("{}|{own}/server.key", path("server.key"));
        format!("{scheme}://127.0.0.1:0?certificate={certificate}&key={key}")
    };
    let schemes = ["mqtts", "wss", "quic"];
    let schemes = &schemes[..if cfg!(feature = "quic") { 3 } else { 2 }];
    let (_broker, urls) =
        listening(&schemes.iter().map(|scheme| listener(scheme)).collect::<Vec<_>>());
    for url in &urls {
        let publish = |name: &str| {
            let target = ["pub", "-L", url, "--cafile", &ca, "--server-name", name];
            run(&[&target[..], &["-t", "a", "-m", "b", "-q", "1"]].concat())
        };
        publish("b.test").check(0, "", "");
        publish("localhost").check(0, "", "");
        let ended = publish("c.test");
        assert_eq!(ended.code, Some(1), "{url}: {ended:?}");
        assert!(ended.stderr.contains(", not for c.test; "), "{url}: {ended:?}");
    }
    let ended = run(&["sub", "--server-name", "a b", "-t", "a"]);
    ended.check(
        2,
        "",
        "error: --server-name: \"a b\" is no name that a certificate could have; give that of a host, \
         or an address\n",
    );
}

#[cfg(feature = "quic")]
#[test]
fn who_is_refused_by_quic_for_its_certificate_is_told_of() {
    let certificates = Certificates::new();
    let ca = certificates.path("certs/ca.pem");
    let (broker, urls) = listening(&[format!("{}&client_ca={ca}", certificates.listener("quic"))]);
    let ended = run(&["pub", "-L", &urls[0], "--cafile", &ca, "-t", "a", "-m", "b", "-q", "1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    broker.wait_for_within("a client of QUIC was refused for its certificate: ");
}

#[test]
fn an_authority_in_the_folder_is_used_again() {
    let certificates = Certificates::new();
    let out = certificates.path("certs");
    let read = |name: &str| fs::read(Path::new(&out).join(name)).unwrap();
    let before = (read("ca.pem"), read("server.pem"), read("client.pem"));
    let lamp = run(&["cert", "--out", &out, "--client", "lamp-7"]);
    lamp.check(0, &format!("{out}/lamp-7.pem, {out}/lamp-7.key: the client lamp-7\n"), "");
    assert_eq!(before, (read("ca.pem"), read("server.pem"), read("client.pem")));
    for (name, mode) in [("ca.key", 0o600), ("lamp-7.key", 0o600), ("lamp-7.pem", 0o644)] {
        let found = fs::metadata(Path::new(&out).join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let mutual = format!("&client_ca={out}/ca.pem");
    let (_broker, ports) = broker(&certificates, &[&mutual]);
    let (ca, cert, key) =
        (format!("{out}/ca.pem"), format!("{out}/lamp-7.pem"), format!("{out}/lamp-7.key"));
    let args = ["pub", "-p", &ports[0], "--cafile", &ca, "--cert", &cert, "--key", &key];
    run(&[&args[..], &["-t", "a", "-m", "b", "-q", "1"]].concat()).check(0, "", "");
    for (args, message) in [
        (&["--client", "a/b"][..], "--client \"a/b\": letters, digits and any of -_.@ make a name"),
        (&["--client", "server"], "--client \"server\": that name is taken"),
    ] {
        let ended = run(&[&["cert", "--out", &out][..], args].concat());
        ended.check(2, "", &format!("error: {message}\n"));
    }
}

#[test]
fn a_file_that_is_of_no_use_is_named_before_anything_runs() {
    let certificates = Certificates::new();
    let path = |name: &str| certificates.path(name);
    for (certificate, key, message) in [
        ("none", "certs/server.key", "none: it can't be read: "),
        ("certs/server.key", "certs/server.key", "server.key: there is no certificate in it"),
        ("certs/server.pem", "certs/ca.pem", "ca.pem: there is no key in it"),
        ("certs/server.pem", "certs/client.key", "client.key: it is not the key of "),
    ] {
        let (certificate, key) = (path(certificate), path(key));
        let url = format!("mqtts://127.0.0.1:0?certificate={certificate}&key={key}");
        for check in [&[][..], &["--check"]] {
            let args = [&["broker", "--listen", &url], check].concat();
            let ended = Ended::of(command(&args).output().unwrap());
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
            assert!(ended.stderr.contains(message), "{ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        }
    }
}

#[test]
fn messages_cross_within_web_sockets() {
    let certificates = Certificates::new();
    let secure = certificates.listener("wss").replace(":0?", ":0/here?");
    let (_broker, urls) = listening(&["ws://127.0.0.1:0".to_owned(), secure]);
    let (plain, secure) = (&urls[0], urls[1].replace("127.0.0.1", "localhost"));
    let ca = certificates.path("certs/ca.pem");
    let sub = Running::start(&["sub", "-L", plain, "-t", "a", "-q", "2", "-C", "3", "-d"]);
    sub.wait_for("< SUBACK");
    let long = "x".repeat(300_000);
    let file = certificates.path("long");
    fs::write(&file, &long).unwrap();
    let state = certificates.path("state");
    for args in [
        &["-L", plain, "-f", &file, "-q", "1"][..],
        &["-L", &secure, "--cafile", &ca, "-m", "secure", "-q", "2"],
        &["-L", plain, "-i", "k", "--session-file", &state, "-m", "kept", "-q", "2"],
    ] {
        run(&[&["pub", "-t", "a"], args].concat()).check(0, "", "");
    }
    for expected in [&long, "secure", "kept"] {
        assert_eq!(sub.line().as_deref(), Some(expected));
    }
    assert_eq!(sub.end().code, Some(0));
    let elsewhere = run(&["pub", "-L", &format!("{plain}/elsewhere"), "-t", "a", "-m", "b"]);
    assert_eq!(elsewhere.code, Some(1), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("no WebSocket with"), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("404"), "{elsewhere:?}");
}

#[test]
fn a_certificate_names_a_user_whose_session_no_other_gets() {
    let certificates = Certificates::new();
    let (ca, out) = (certificates.path("certs/ca.pem"), certificates.path("certs"));
    assert_eq!(run(&["cert", "--out", &out, "--client", "pump"]).code, Some(0));
    let (broker, ports) = broker(&certificates, &[&format!("&client_ca={ca}")]);
    let run_as = |name: &str, command: &str, more: &[&str]| {
        let (cert, key) = (format!("{out}/{name}.pem"), format!("{out}/{name}.key"));
        let own = [
            command, "-p", &ports[0], "--cafile", &ca, "--cert", &cert, "--key", &key, "-i", "one",
            "-V", "5", "-t", "a",
        ];
        run(&[&own[..], more].concat()).code
    };
    assert_eq!(run_as("client", "sub", &["-c", "-x", "100", "-E"]), Some(0));
    // The Reason Code, 0x87.
    assert_eq!(run_as("pump", "pub", &["-n"]), Some(135));
    let line = broker.wait_for_within("the session of its Client Identifier is another user's");
    for part in ["client_identifier=\"one\"", "user_name=\"pump\"", "owner=\"client\""] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(run_as("client", "pub", &["-n"]), Some(0));
    // Its session has gone with that one's Clean Start.
    assert_eq!(run_as("pump", "pub", &["-n"]), Some(0));
}
