//! What `dunlin pub` says of a connection that does not come about: for each mistake that is often made
//! one message, which names the mend.

use crate::broker::{listening, port_of};
use crate::program::{Ended, Running, run};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use tempfile::TempDir;

/// An authority and certificates in files: `NAME.pem` and `NAME.key`.
struct Files {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new(authority: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, authority);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        Self { folder, ca }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A certificate of the authority's for this machine, changed like that.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        self.make(name, true, change);
    }

    /// The same, signed by its own key.
    fn sign_self(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        self.make(name, false, change);
    }

    fn make(&self, name: &str, by_authority: bool, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = match by_authority {
            true => params.signed_by(&key, &self.ca).unwrap(),
            false => params.self_signed(&key).unwrap(),
        };
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A listener that shows the certificate of this name.
    fn listener(&self, scheme: &str, name: &str) -> String {
        let (certificate, key) =
            (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("{scheme}://127.0.0.1:0?certificate={certificate}&key={key}")
    }
}

/// A broker with these listeners, and their ports.
fn broker(listeners: &[String]) -> (Running, Vec<String>) {
    let (broker, urls) = listening(listeners);
    (broker, urls.iter().map(|url| port_of(url)).collect())
}

/// What is said of a message that can't be published there.
fn publish(url: &str, more: &[&str]) -> Ended {
    run(&[&["pub", "-L", url, "-t", "a", "-m", "b"], more].concat())
}

/// The connection fails with this message, or one that begins with it.
#[track_caller]
fn check(ended: &Ended, message: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    let is_right = match message.strip_suffix("...") {
        Some(start) => ended.stderr.starts_with(&format!("error: {start}")),
        None => ended.stderr == format!("error: {message}\n"),
    };
    assert!(is_right && ended.stderr.lines().count() == 1, "{message}\n{ended:?}");
}

#[test]
fn a_brokers_certificate_that_is_refused_is_told_of_with_the_mend() {
    let (files, strange, namesake) = (Files::new("A"), Files::new("B"), Files::new("A"));
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap().subject_alt_names
    };
    files.sign("good", |_| {});
    files.sign("ended", |params| params.not_after = date_time_ymd(2021, 2, 3));
    files.sign("early", |params| params.not_before = date_time_ymd(3000, 2, 3));
    files.sign("elsewhere", |params| {
        params.subject_alt_names = named(&["a.example", "*.b.example", "127.0.0.9", "::9"]);
    });
    let many = ["a.example", "b.example", "c.example", "d.example", "e.example", "f.example"];
    files.sign("many", |params| params.subject_alt_names = named(&many));
    files.sign("nameless", |params| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, "localhost");
    });
    files.sign("clients", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    files.sign_self("own", |_| {});
    files.sign_self("authority", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let names =
        ["good", "ended", "early", "elsewhere", "many", "nameless", "clients", "own", "authority"];
    let listeners = names.map(|name| files.listener("mqtts", name));
    let (_broker, ports) = broker(&listeners);
    let (ca, strange) = (files.path("ca.pem"), strange.path("ca.pem"));
    let namesake = namesake.path("ca.pem");
    let trusting = ["--cafile", &ca];
    for (name, flags, message) in [
        (
            "good",
            &["--cafile", &strange][..],
            format!(
                "no authority in {strange} has signed the broker's certificate; give --cafile the \
                 certificate of the one that has"
            ),
        ),
        (
            "good",
            &["--cafile", &namesake],
            format!(
                "the authority in {namesake} has the name of the one that has signed the broker's \
                 certificate, but another key; give --cafile the certificate of the one that has"
            ),
        ),
        (
            "good",
            &["--tls-use-os-certs"],
            "no authority that this machine trusts has signed the broker's certificate; give the \
             certificate of the one that has with --cafile FILE"
                .to_owned(),
        ),
        (
            "own",
            &["--tls-use-os-certs"],
            "the broker's certificate has signed itself; if it is the right one, trust it with \
             --cafile FILE"
                .to_owned(),
        ),
        (
            "own",
            &trusting,
            format!(
                "the broker's certificate has signed itself, and is not in {ca}; if it is the right \
                 one, give it to --cafile"
            ),
        ),
        (
            "authority",
            &["--cafile", &files.path("authority.pem")],
            "the broker shows the certificate of an authority (CA:TRUE) as its own; give it one that \
             an authority has signed, as `dunlin cert` does"
                .to_owned(),
        ),
        (
            "elsewhere",
            &trusting,
            "the broker's certificate is for a.example, *.b.example, 127.0.0.9, ::9, not for \
             localhost; connect by such a name or say it with --server-name, or take any name with \
             --insecure"
                .to_owned(),
        ),
        (
            "many",
            &trusting,
            "the broker's certificate is for a.example, b.example, c.example, d.example, e.example \
             and others, not for localhost; connect by such a name or say it with --server-name, or \
             take any name with --insecure"
                .to_owned(),
        ),
        (
            "nameless",
            &trusting,
            "the broker's certificate is for no name or address (a Common Name does not count), and \
             so not for localhost; give the broker one of that name, as `dunlin cert --server \
             localhost` does"
                .to_owned(),
        ),
        (
            "ended",
            &trusting,
            "the broker's certificate has ended (2021-02-03T00:00:00Z); it has to be renewed, unless \
             the clock of this machine is wrong: it says 2..."
                .to_owned(),
        ),
        (
            "early",
            &trusting,
            "the broker's certificate has not begun (3000-02-03T00:00:00Z); set the clock of this \
             machine, which says 2..."
                .to_owned(),
        ),
        (
            "clients",
            &trusting,
            "the broker's certificate is not for servers; give the broker one whose purposes have \
             serverAuth, as `dunlin cert --server` does"
                .to_owned(),
        ),
    ] {
        let port = &ports[names.iter().position(|known| *known == name).unwrap()];
        let ended = publish(&format!("mqtts://localhost:{port}"), flags);
        check(&ended, &format!("no TLS with localhost:{port}: {message}"));
    }
    // The mends do mend: each by what its message says.
    let mended = |name: &str, flags: &[&str]| {
        let port = &ports[names.iter().position(|known| *known == name).unwrap()];
        publish(&format!("mqtts://localhost:{port}"), flags).check(0, "", "");
    };
    mended("good", &trusting);
    mended("own", &["--cafile", &files.path("own.pem")]);
    mended("elsewhere", &[&trusting[..], &["--insecure"]].concat());
    mended("elsewhere", &[&trusting[..], &["--server-name", "some.b.example"]].concat());
}

#[test]
fn a_client_whose_certificate_is_refused_is_told_what_the_broker_wants() {
    let (files, strange, namesake) = (Files::new("A"), Files::new("B"), Files::new("A"));
    files.sign("server", |_| {});
    strange.sign("stranger", |_| {});
    namesake.sign("namesake", |_| {});
    files.sign("good", |params| params.serial_number = Some(SerialNumber::from(1_u64)));
    files.sign("revoked", |params| params.serial_number = Some(SerialNumber::from(2_u64)));
    files.sign("ended", |params| params.not_after = date_time_ymd(2021, 2, 3));
    files.sign("servers", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(2_u64),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2200, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&files.ca).unwrap().pem().unwrap();
    fs::write(files.path("revoked.crl"), list).unwrap();
    let (ca, crl) = (files.path("ca.pem"), files.path("revoked.crl"));
    let mutual =
        |scheme| format!("{}&client_ca={ca}&client_crl={crl}", files.listener(scheme, "server"));
    let (_broker, ports) = broker(&[mutual("mqtts"), mutual("wss")]);
    let state = files.path("state");
    let kept = ["-q", "1", "-i", "k", "--session-file", &state];
    let refused = "the broker refuses the certificate of --cert: ";
    for (shown, message) in [
        (None, "the broker demands a certificate; add --cert FILE and --key FILE".to_owned()),
        (
            Some((&strange, "stranger")),
            format!(
                "{refused}it does not trust the authority that has signed it; show one of an \
                 authority of the broker's"
            ),
        ),
        (
            Some((&namesake, "namesake")),
            format!(
                "{refused}it can't verify its signature; show one that an authority of the broker's \
                 has signed"
            ),
        ),
        (
            Some((&files, "ended")),
            format!(
                "{refused}it has ended, or not begun, by the broker's clock; renew it, or set the \
                 clock"
            ),
        ),
        (Some((&files, "revoked")), format!("{refused}it was revoked; show another one")),
        (
            Some((&files, "servers")),
            format!(
                "{refused}it is not for clients, or of a kind that the broker does not take; show \
                 one whose purposes have clientAuth, as `dunlin cert --client` does"
            ),
        ),
    ] {
        let shown = shown.map(|(files, name)| {
            (files.path(&format!("{name}.pem")), files.path(&format!("{name}.key")))
        });
        let mut flags = vec!["--cafile", &ca];
        if let Some((cert, key)) = &shown {
            flags.extend(["--cert", cert, "--key", key]);
        }
        for (scheme, port, more) in
            [("mqtts", &ports[0], &[][..]), ("mqtts", &ports[0], &kept), ("wss", &ports[1], &[])]
        {
            let url = format!("{scheme}://localhost:{port}");
            let ended = publish(&url, &[&flags[..], more].concat());
            check(&ended, &format!("no TLS with localhost:{port}: {message}"));
        }
    }
    let (cert, key) = (files.path("good.pem"), files.path("good.key"));
    let good = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    publish(&format!("mqtts://localhost:{}", ports[0]), &good).check(0, "", "");
}

/// Every scheme at every listener.
#[test]
fn who_comes_to_the_wrong_port_is_told_by_which_scheme_to_come() {
    let files = Files::new("A");
    files.sign("server", |_| {});
    let schemes = ["mqtt", "mqtts", "ws", "wss"];
    let is_secure = |scheme| matches!(scheme, "mqtts" | "wss");
    let listeners = schemes.map(|scheme| match is_secure(scheme) {
        true => files.listener(scheme, "server"),
        false => format!("{scheme}://127.0.0.1:0"),
    });
    let (broker, ports) = broker(&listeners);
    let (ca, state) = (files.path("ca.pem"), files.path("state"));
    let kept = ["-q", "1", "-i", "k", "--session-file", &state];
    let tls = "PEER: the broker speaks TLS there; write mqtts:// (or wss:// if it has WebSocket), or \
               add --cafile FILE";
    let silence = "PEER: the broker closed the connection without an answer; if it has ";
    let web_socket = format!("{silence}WebSocket there, write wss://");
    let either = format!("{silence}TLS there, write mqtts://, and if it has WebSocket, ws://");
    let no_tls =
        "no TLS with PEER: the connection was closed; if the broker has no TLS there, write ";
    let no_tls_mqtt = format!("{no_tls}mqtt://, or ws:// if it has WebSocket");
    let no_tls_web = format!("{no_tls}ws://, or mqtt:// if it has no WebSocket either");
    let upgrade_tls = "no WebSocket with PEER: the broker speaks TLS there; write wss://, or mqtts:// \
                       if it has no WebSocket";
    let upgrade_silence = "no WebSocket with PEER: the connection was closed without an answer; if \
                           the broker has no WebSocket there, write ";
    let upgrade_plain = format!("{upgrade_silence}mqtt://, and if it has TLS, wss://");
    let upgrade_secure = format!("{upgrade_silence}mqtts://");
    let to_tls = "a client without TLS came to a listener with TLS";
    let from_tls = "a TLS client came to a listener without TLS";
    let to_web = "a client of MQTT without WebSocket came to a listener for WebSocket";
    let from_web = "an HTTP client came to a listener of MQTT";
    for (asked, listens, message, told) in [
        ("mqtt", "mqtts", tls, to_tls),
        ("mqtt", "ws", &either, to_web),
        ("mqtt", "wss", tls, to_tls),
        ("mqtts", "mqtt", &no_tls_mqtt, from_tls),
        ("mqtts", "ws", &no_tls_mqtt, from_tls),
        ("mqtts", "wss", &web_socket, to_web),
        ("ws", "mqtt", &upgrade_plain, from_web),
        ("ws", "mqtts", upgrade_tls, to_tls),
        ("ws", "wss", upgrade_tls, to_tls),
        ("wss", "mqtt", &no_tls_web, from_tls),
        ("wss", "mqtts", &upgrade_secure, from_web),
        ("wss", "ws", &no_tls_web, from_tls),
    ] {
        let port = &ports[schemes.iter().position(|scheme| *scheme == listens).unwrap()];
        let url = format!("{asked}://localhost:{port}");
        let secure = if is_secure(asked) { &["--cafile", &ca][..] } else { &[] };
        for more in [&[][..], &kept] {
            let ended = publish(&url, &[secure, more].concat());
            check(&ended, &message.replace("PEER", &format!("localhost:{port}")));
            let line = broker.wait_for_within(told);
            let listener = format!("listener=\"{listens}://127.0.0.1:{port}");
            assert!(line.contains(&listener) && line.contains("peer=\"127.0.0.1:"), "{line}");
        }
    }
}

/// What a server of HTTP answers, and nothing else.
fn serve(answer: &'static str) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = server.accept() {
            let read = client.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            client.write_all(answer.as_bytes()).unwrap();
            // Closing over what was not read would be a reset, which takes the answer with it.
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    port
}

#[test]
fn what_a_web_server_answers_is_told_of_with_the_mend() {
    let other_path = "give the broker's path, as in ws://HOST:PORT/PATH";
    for (status, message) in [
        ("404 Not Found", format!("there is nothing at /a (status 404); {other_path}")),
        ("200 OK", format!("there is a web page at /a (status 200); {other_path}")),
        (
            "401 Unauthorized",
            "the server, or a proxy before it, wants a login over HTTP (status 401), for which this \
             program has no flag; let MQTT pass without one"
                .to_owned(),
        ),
        (
            "403 Forbidden",
            "the server, or a proxy before it, forbids it (status 403); have it let clients in that \
             send no Origin"
                .to_owned(),
        ),
        (
            "426 Upgrade Required",
            format!(
                "the server takes no WebSocket at /a (status 426); {other_path}, or write wss:// if \
                 it has TLS there"
            ),
        ),
        (
            "502 Bad Gateway",
            "the server, or a proxy before it, fails (status 502); see whether the broker behind it \
             runs"
                .to_owned(),
        ),
        (
            "301 Moved\r\nLocation: https://b.example/mqtt",
            "the server leads elsewhere (status 301), to https://b.example/mqtt; connect there, with \
             ws:// in place of http://, and wss:// of https://"
                .to_owned(),
        ),
        ("418 Teapot", format!("the server answers with status 418; {other_path}")),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let port = serve(answer.leak());
        let ended = publish(&format!("ws://127.0.0.1:{port}/a?secret"), &[]);
        check(&ended, &format!("no WebSocket with 127.0.0.1:{port}: {message}"));
    }
    let port = serve("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let http = "a server of HTTP answers there; write ws:// for MQTT over WebSocket";
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let kept = ["-q", "1", "-i", "k", "--session-file", state.to_str().unwrap()];
    for more in [&[][..], &kept] {
        let ended = publish(&format!("mqtt://127.0.0.1:{port}"), more);
        check(&ended, &format!("127.0.0.1:{port}: {http}"));
    }
    let ended = publish(&format!("mqtts://127.0.0.1:{port}"), &["--tls-use-os-certs"]);
    let message = "a server of HTTP without TLS answers there; write ws://";
    check(&ended, &format!("no TLS with 127.0.0.1:{port}: {message}"));
    let port = serve("220 mail.example ESMTP\r\n");
    let ended = publish(&format!("ws://127.0.0.1:{port}"), &[]);
    let message = "what answers is not the head of an HTTP/1.1 message; if the broker has no \
                   WebSocket there, write mqtt://, and if it has TLS, wss://";
    check(&ended, &format!("no WebSocket with 127.0.0.1:{port}: {message}"));
}

/// A web server that has TLS says so in HTTP within it.
#[test]
fn a_web_server_with_tls_is_one_for_wss() {
    let files = Files::new("A");
    files.sign("server", |_| {});
    let (_broker, ports) = broker(&[files.listener("wss", "server")]);
    let (port, ca) = (&ports[0], files.path("ca.pem"));
    let url = format!("wss://localhost:{port}/elsewhere");
    let message = "there is nothing at /elsewhere (status 404); give the broker's path, as in \
                   ws://HOST:PORT/PATH";
    let ended = publish(&url, &["--cafile", &ca]);
    check(&ended, &format!("no WebSocket with localhost:{port}: {message}"));
}

#[cfg(feature = "quic")]
#[test]
fn what_quic_does_not_come_about_for_is_told_of_with_the_mend() {
    let (files, strange) = (Files::new("A"), Files::new("B"));
    files.sign("server", |_| {});
    strange.sign("stranger", |_| {});
    let (ca, other) = (files.path("ca.pem"), strange.path("ca.pem"));
    let open = files.listener("quic", "server");
    let (_broker, ports) = broker(&[open.clone(), format!("{open}&client_ca={ca}")]);
    let (cert, key) = (strange.path("stranger.pem"), strange.path("stranger.key"));
    let state = files.path("state");
    for (host, port, flags, message) in [
        (
            "localhost",
            &ports[0],
            &["--cafile", &other][..],
            format!(
                "no authority in {other} has signed the broker's certificate; give --cafile the \
                 certificate of the one that has"
            ),
        ),
        (
            "127.0.0.1",
            &ports[0],
            &["--cafile", &ca],
            "the broker's certificate is for localhost, not for 127.0.0.1; connect by such a name \
             or say it with --server-name, or take any name with --insecure"
                .to_owned(),
        ),
        (
            "localhost",
            &ports[0],
            &["--cafile", &ca, "--tls-alpn", "h3"],
            "the server speaks QUIC there, but not for MQTT; give the port of a broker's quic:// \
             listener, and leave out --tls-alpn"
                .to_owned(),
        ),
        (
            "localhost",
            &ports[1],
            &["--cafile", &ca],
            "the broker demands a certificate; add --cert FILE and --key FILE".to_owned(),
        ),
        (
            "localhost",
            &ports[1],
            &["--cafile", &ca, "--cert", &cert, "--key", &key],
            "the broker refuses the certificate of --cert: it does not trust the authority that has \
             signed it; show one of an authority of the broker's"
                .to_owned(),
        ),
    ] {
        for more in [&[][..], &["-q", "1", "-i", "k", "--session-file", &state]] {
            let ended = publish(&format!("quic://{host}:{port}"), &[flags, more].concat());
            check(&ended, &format!("no TLS with {host}:{port}: {message}"));
        }
    }
}
