//! Listeners: where they listen, with which options, and who could come in.

use super::*;

#[test]
fn a_mistake_in_a_listener_is_named_with_its_line_and_its_mend() {
    let listener = |url: &str| format!("[[listeners]]\nurl = \"{url}\"\n");
    for (url, reason) in [
        ("127.0.0.1:1883", "\"127.0.0.1:1883\" has no scheme; write it as mqtt://127.0.0.1:1883"),
        ("unix://run/x", "\"run/x\" is no path of a socket; write it like unix:///run/dunlin.sock"),
        ("unix:///run/x?mode=888", "\"888\" is no mode of a file, such as 0660"),
        ("mqtt://127.0.0.1?mode=0660", "mode is for unix://, and mqtt:// has no file"),
        ("unix:///run/x?key=a", "key is for TLS, and unix:// has none; use mqtts://"),
        ("unix:///run/x?proxy_from=::1", "proxy_from is for addresses, and unix:// has none"),
        (
            "quic://127.0.0.1",
            if cfg!(feature = "quic") {
                "quic:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial"
            } else {
                "quic:// listeners are not in this build, which lacks the feature quic; use mqtt://, \
                 mqtts://, ws://, wss:// or unix://"
            },
        ),
        (
            "mtqq://127.0.0.1",
            "mtqq:// is no transport; use mqtt://ADDRESS:PORT, or mqtts, ws, wss or quic in its place",
        ),
        (
            "wss://127.0.0.1?key=a",
            "wss:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial",
        ),
        ("ws://127.0.0.1?key=a", "key is for TLS, and ws:// has none; use wss://"),
        (
            "mqtt://127.0.0.1?path=/a",
            "path is for WebSocket, and mqtt:// is none; use ws:// or wss://",
        ),
        (
            "mqtt://127.0.0.1/mqtt",
            "\"127.0.0.1/mqtt\" is no ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883",
        ),
        ("ws://127.0.0.1?path=a", "\"a\" is no path, such as /mqtt"),
        (
            "ws://127.0.0.1?origins=a",
            "\"a\" is no origin of web pages, such as https://example.org, nor * for all",
        ),
        (
            "mqtts://127.0.0.1?certificate=a",
            "mqtts:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial",
        ),
        (
            "mqtt://127.0.0.1?proxy_from=10.0.0.0/8|proxy",
            "proxy_from: \"proxy\" is no network; write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
        ),
        ("mqtt://127.0.0.1?key=a", "key is for TLS, and mqtt:// has none; use mqtts://"),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_certificate=optional",
            "client_certificate, client_crl and certificate_user need client_ca=FILE, whose \
             certificates clients may show",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_crl=c",
            "client_certificate, client_crl and certificate_user need client_ca=FILE, whose \
             certificates clients may show",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_ca=c&client_certificate=none",
            "client_ca is of no use with client_certificate=none; leave one of them out",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_certificate=none&client_ca=c",
            "client_ca is of no use with client_certificate=none; leave one of them out",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_ca=c&old_crl=yes",
            "\"yes\" is no old_crl; there are refuse and accept",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_ca=c&certificate_user=name",
            "\"name\" is no certificate_user; there are cn, dns, uri, email and subject",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&certificate_user=uri",
            "client_certificate, client_crl and certificate_user need client_ca=FILE, whose certificates \
             clients may show",
        ),
        (
            "mqtts://127.0.0.1?certificate=a&key=b&client_certificate=yes",
            "\"yes\" is no client_certificate; there are none, optional and required",
        ),
        (
            "mqtts://127.0.0.1?certificate=%4",
            "\"certificate=%4\" is no option of a listener; there are durability, mode, certificate, \
             key, client_ca, client_crl, client_certificate, old_crl, certificate_user, proxy_from, path, \
             origins",
        ),
        (
            "mqtt://127.0.0.1:99999",
            "\"127.0.0.1:99999\" is no ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883",
        ),
        ("mqtt://", "\"\" is no ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883"),
    ] {
        check_mistake(&listener(url), &format!("d.toml:2: listeners: {reason}"));
    }
    check_mistake(
        "[[listeners]]\nurl = 'mqtts://127.0.0.1'\ncertificate = 1",
        "d.toml:3: listeners: certificate must be a string",
    );
    check_mistake(
        "[[listeners]]\nurl = 'mqtts://127.0.0.1'\ncertficate = 'a'",
        "d.toml:3: unknown setting `certficate`; did you mean `certificate`?",
    );
    check_mistake(
        "listeners = []",
        "d.toml:1: listeners: at least one is needed, such as \"mqtt://127.0.0.1:1883\"",
    );
    check_mistake(
        "listeners = [\n{ uri = 'mqtt://127.0.0.1' }]",
        "d.toml:2: unknown setting `uri`; did you mean `url`?",
    );
    check_mistake(
        "[[listeners]]",
        "d.toml:1: listeners: expected { url = \"mqtt://ADDRESS:PORT\" }",
    );
    check_mistake(
        &listener("mqtt://0.0.0.0:1883"),
        "d.toml:2: listener mqtt://0.0.0.0:1883 can be reached from other machines, and anyone \
         could connect; say who may by an auth.password_file or a client_ca, either with mqtts://, \
         listen on 127.0.0.1, or set allow_anonymous = true (or --allow-anonymous) if that is meant",
    );
}

#[test]
fn a_fault_of_a_listener_is_named_with_its_own_line() {
    let tables = "[[listeners]]\nurl = 'mqtt://127.0.0.1:1'\n\n\
                  [[listeners]]\ndurability = 'memory'\nurl = 'mqtt://0.0.0.0:2'\n";
    let array = "listeners = [\n'mqtt://127.0.0.1:1',\n'mqtt://0.0.0.0:2']\n";
    for (text, start) in [
        (tables.to_owned(), "d.toml:6: listener mqtt://0.0.0.0:2 "),
        (format!("auth.password_file = 'p'\n{tables}"), "d.toml:7: passwords that come by"),
        (array.to_owned(), "d.toml:3: listener mqtt://0.0.0.0:2 "),
    ] {
        let error = from_file(&text).expect_err(&text).to_string();
        assert!(error.starts_with(start), "{error}");
    }
    let loaded = from_file(&tables.replace("0.0.0.0", "127.0.0.1")).expect("nobody is let in");
    let warnings = loaded.warnings();
    assert!(warnings[0].starts_with("d.toml:6: listeners: durability has no"), "{warnings:?}");
    // Those of a flag have no lines, also where the file has as many.
    let flags = [flag("--listen", "listeners", "mqtt://127.0.0.1:1,mqtt://0.0.0.0:2")];
    let file = Some((Path::new("d.toml"), array));
    let error = LoadedConfig::from_layers(file, &BTreeMap::new(), &flags).unwrap_err().to_string();
    assert!(error.starts_with("--listen: listener mqtt://0.0.0.0:2 "), "{error}");
}

#[test]
fn who_could_come_in_by_a_listener_and_what_keeps_them_out_is_told() {
    let tls = "mqtts://0.0.0.0?certificate=c&key=k";
    let optional = format!("{tls}&client_ca=a&client_certificate=optional");
    let proxied = "mqtt://127.0.0.1?proxy_from=127.0.0.1";
    for (url, reach, mend) in [
        (
            proxied,
            "serves a proxy, by which other machines reach it",
            "an auth.password_file, or mqtts:// with a client_ca, leave its proxy_from out, or set",
        ),
        (
            "ws://[::]?proxy_from=10.0.0.0/8",
            "can be reached from other machines",
            "an auth.password_file or a client_ca, either with wss://, listen on 127.0.0.1 without \
             proxy_from, or set",
        ),
        (
            tls,
            "can be reached from other machines",
            "an auth.password_file or a client_ca, listen on 127.0.0.1, or set",
        ),
        (
            &*optional,
            "can be reached from other machines",
            "an auth.password_file, or without client_certificate = optional, listen on 127.0.0.1, \
             or set",
        ),
    ] {
        let error = from_file(&format!("listeners = ['{url}']")).expect_err(url).to_string();
        let expected = format!("{reach}, and anyone could connect; say who may by {mend} allow_");
        assert!(error.contains(&expected), "{error}");
    }
    // What it names helps.
    for mended in [
        format!("listeners = ['{proxied}']\nauth.password_file = 'p'"),
        format!("listeners = ['{tls}']\nauth.password_file = 'p'"),
        format!("listeners = ['{tls}&client_ca=a']"),
        format!("listeners = ['{proxied}']\nallow_anonymous = true"),
        "listeners = ['mqtt://127.0.0.1']".to_owned(),
    ] {
        from_file(&mended).unwrap_or_else(|error| panic!("{mended}: {error}"));
    }
}

#[test]
fn listeners_that_cannot_be_open_together_are_named() {
    let quic = "quic://127.0.0.1:1?certificate=c&key=k";
    for (first, second, collide) in [
        ("mqtt://127.0.0.1:1", "ws://127.0.0.1:1", true),
        ("mqtt://127.0.0.1:1", "mqtt://127.0.0.1:2", false),
        ("mqtt://127.0.0.1:1", "mqtt://127.0.0.2:1", false),
        ("mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0", false),
        ("mqtt://0.0.0.0:1", "mqtt://127.0.0.1:1", true),
        ("mqtt://127.0.0.1:1", "mqtt://[::]:1", true),
        ("mqtt://0.0.0.0:1", "mqtt://[::]:1", true),
        ("mqtt://0.0.0.0:1", "mqtt://[::1]:1", false),
        ("mqtt://[::1]:1", "mqtt://[::]:1", true),
        ("mqtt://127.0.0.1:1", quic, false),
        (quic, quic, true),
        ("unix:///a", "unix:///a?mode=0660", true),
        ("unix:///a", "unix:///b", false),
        ("unix:///a", "mqtt://127.0.0.1:1", false),
    ] {
        if [first, second].contains(&quic) && !cfg!(feature = "quic") {
            continue;
        }
        let text = format!("allow_anonymous = true\nlisteners = [\n'{first}',\n'{second}']");
        let told = from_file(&text).err().map(|error| error.to_string());
        assert_eq!(told.is_some(), collide, "{text}: {told:?}");
        assert!(told.is_none_or(|told| told.starts_with("d.toml:4: listeners: ")), "{text}");
    }
}

#[test]
fn a_listener_with_tls_prints_as_what_it_was_read_from() {
    let text = "[[listeners]]\nurl = 'mqtts://0.0.0.0'\ncertificate = 'a b,c.pem'\nkey = 'k&%.pem'\n\
                client_ca = 'ca.pem'\nold_crl = 'accept'\ncertificate_user = 'uri'\nproxy_from = '10.0.0.0/8 ::1'\ndurability = 'written'";
    let loaded = from_file(text).expect("its clients are known by certificates");
    let [listener] = &loaded.config.listeners[..] else { panic!("one listener") };
    assert_eq!(
        listener.to_string(),
        "mqtts://0.0.0.0:8883?certificate=a b%2Cc.pem&key=k%26%25.pem&client_ca=ca.pem&\
         client_certificate=required&old_crl=accept&certificate_user=uri&proxy_from=10.0.0.0/8|::1/128&durability=written"
    );
    let again: Listener = listener.to_string().parse().expect("it can be read again");
    assert_eq!(&again, listener);
    let shown = from_file(&loaded.to_toml()).expect("it can be loaded again");
    assert_eq!(shown.config.listeners, loaded.config.listeners);
    let closed = from_file(&format!("allow_anonymous = false\n{text}"));
    assert!(closed.is_ok(), "who shows a certificate gets in");
    let open = from_file(&format!("{text}\nclient_certificate = 'optional'"));
    assert!(matches!(open, Err(ConfigError::Exposed { .. })));
}

#[test]
fn a_listener_may_have_several_certificates() {
    let text = "[[listeners]]\nurl = 'mqtts://127.0.0.1'\nkey = 'a.key|b c.key'\n\
                certificate = 'a.pem|b,c.pem'";
    let loaded = from_file(text).expect("a key for each");
    let [listener] = &loaded.config.listeners[..] else { panic!("one listener") };
    let files = listener.tls.as_ref().expect("it has TLS");
    assert_eq!((&*files.certificate, &*files.key), (Path::new("a.pem"), Path::new("a.key")));
    let further = CertificateFiles { certificate: "b,c.pem".into(), key: "b c.key".into() };
    assert_eq!(files.further, [further]);
    let url = "mqtts://127.0.0.1:8883?certificate=a.pem|b%2Cc.pem&key=a.key|b c.key";
    assert_eq!(listener.to_string(), url);
    assert_eq!(&url.parse::<Listener>().expect("it can be read again"), listener);
    for options in ["certificate=a|b&key=x", "certificate=a&key=x|y", "certificate=a||c&key=x|y|z"]
    {
        let parsed: Result<Listener, _> = format!("mqtts://127.0.0.1?{options}").parse();
        assert_eq!(parsed, Err(ListenerError::KeysAndCertificates), "{options}");
    }
    // The last one counts, as with every option.
    let parsed: Result<Listener, _> =
        "mqtts://127.0.0.1?certificate=a|b&key=x|y&certificate=c".parse();
    assert_eq!(parsed, Err(ListenerError::KeysAndCertificates));
    let parsed: Listener =
        "mqtts://127.0.0.1?certificate=a|b&key=x|y&certificate=c&key=z".parse().expect("one");
    assert_eq!(parsed.to_string(), "mqtts://127.0.0.1:8883?certificate=c&key=z");
}

#[test]
fn other_addresses_are_listened_on_once_that_is_said() {
    let flags = [
        flag("--listen", "listeners", "mqtt://0.0.0.0:0,mqtt://[::1]"),
        flag("--allow-anonymous", "allow_anonymous", "true"),
    ];
    let config = LoadedConfig::from_layers(None, &BTreeMap::new(), &flags).unwrap().config;
    let urls: Vec<String> = config.listeners.iter().map(Listener::to_string).collect();
    assert_eq!(urls, ["mqtt://0.0.0.0:0", "mqtt://[::1]:1883"]);
    assert!(config.allows_anonymous());
}

#[test]
fn a_host_name_is_resolved() {
    let localhost: Listener = "mqtt://localhost:4000".parse().unwrap();
    let address = localhost.address().expect("one of TCP");
    assert!(address.ip().is_loopback());
    assert_eq!(address.port(), 4000);
}

#[test]
fn a_listener_for_web_sockets_has_a_path_and_origins() {
    for (url, printed) in [
        ("ws://127.0.0.1", "ws://127.0.0.1:8083"),
        ("ws://127.0.0.1:1/", "ws://127.0.0.1:1"),
        ("ws://[::1]/a/b", "ws://[::1]:8083/a/b"),
        ("ws://[::1]?path=/a", "ws://[::1]:8083/a"),
        (
            "ws://127.0.0.1?origins=http://a  https://b:1|*&durability=memory",
            "ws://127.0.0.1:8083?origins=http://a|https://b:1|*&durability=memory",
        ),
        (
            "wss://127.0.0.1/a?certificate=c&key=k&origins=null",
            "wss://127.0.0.1:8084/a?certificate=c&key=k&origins=null",
        ),
    ] {
        let listener: Listener = url.parse().unwrap();
        assert_eq!(listener.to_string(), printed);
        assert_eq!(printed.parse(), Ok(listener));
    }
    let text =
        "[[listeners]]\nurl = 'ws://127.0.0.1:1'\npath = '/p'\norigins = 'http://a http://b'";
    let config = from_file(text).unwrap().config;
    let web_socket = config.listeners[0].web_socket.as_ref().unwrap();
    assert_eq!(web_socket.path.as_deref(), Some("/p"));
    assert_eq!(web_socket.origins, ["http://a", "http://b"]);
}
