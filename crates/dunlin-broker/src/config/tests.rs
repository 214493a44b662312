//! The layers, the messages for an operator's mistakes, and what is shown.

use super::*;
use crate::core::Durability;
use dunlin_identity::jwt::Algorithm;
use std::collections::BTreeMap;
use std::path::Path;

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag { name: name.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

fn from_file(text: &str) -> Result<LoadedConfig, ConfigError> {
    LoadedConfig::from_layers(Some((Path::new("d.toml"), text)), &BTreeMap::new(), &[])
}

/// The mistake in a file must be answered by exactly this line.
#[track_caller]
fn check_mistake(text: &str, message: &str) {
    assert_eq!(from_file(text).expect_err(text).to_string(), message);
}

#[test]
fn nothing_set_gives_the_defaults() {
    let loaded = LoadedConfig::from_layers(None, &BTreeMap::new(), &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.config.allows_anonymous());
    assert!(loaded.config.workers >= 1);
    assert!(settings().all(|setting| *loaded.origin(setting.key) == Origin::Default));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let text = "workers = 3\nlog = 'warn'\n[limits]\nqueue_len_max = 7\nreceive_maximum = 5";
    let variables = environment(&[
        ("DUNLIN_LOG", "debug"),
        ("DUNLIN_LIMITS_RECEIVE_MAXIMUM", "6"),
        ("DUNLIN_LIMITS_QUEUE_BYTES_MAX", ""),
        ("DUNLIN_SERVICE_HOST", "10.0.0.1"),
    ]);
    let flags = [flag("--set", "limits.receive_maximum", "9")];
    let file = Some((Path::new("d.toml"), text));
    let loaded = LoadedConfig::from_layers(file, &variables, &flags).unwrap();

    assert_eq!(loaded.config.workers, 3);
    assert_eq!(loaded.config.log, "debug");
    assert_eq!(loaded.config.limits.queue_len_max, 7);
    assert_eq!(loaded.config.limits.receive_maximum, 9);
    assert_eq!(loaded.config.limits.queue_bytes_max, Limits::default().queue_bytes_max);
    for (key, origin) in [
        ("workers", "d.toml:1"),
        ("log", "DUNLIN_LOG"),
        ("limits.queue_len_max", "d.toml:4"),
        ("limits.receive_maximum", "--set"),
        ("limits.queue_bytes_max", "default"),
    ] {
        assert_eq!(loaded.origin(key).to_string(), origin, "{key}");
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line_and_its_mend() {
    check_mistake("\nworker = 2", "d.toml:2: unknown setting `worker`; did you mean `workers`?");
    check_mistake(
        "zebra = 2",
        "d.toml:1: unknown setting `zebra`; `dunlin broker --print-config` lists all",
    );
    check_mistake(
        "[limits]\n\nqueue_length_max = 2",
        "d.toml:3: unknown setting `limits.queue_length_max`; did you mean \
         `limits.queue_len_max`?",
    );
    check_mistake(
        "receive_maximum = 2",
        "d.toml:1: unknown setting `receive_maximum`; did you mean `limits.receive_maximum`?",
    );
    check_mistake(
        "workers = 'two'",
        "d.toml:1: workers: expected a number from 0 to 255, found a value of type string",
    );
    check_mistake("workers = -1", "d.toml:1: workers: expected a number from 0 to 255, found -1");
    check_mistake(
        "limits.receive_maximum = 70_000",
        "d.toml:1: limits.receive_maximum: expected a number from 1 to 65535, found 70000",
    );
    check_mistake(
        "limits.queue_policy = 'drop'",
        "d.toml:1: limits.queue_policy: expected one of \"refuse\", \"drop-oldest\", \
         \"drop-newest\", \"keep-last\", found \"drop\"",
    );
    check_mistake(
        "limits.queue_bytes_max = '3 parsecs'",
        "d.toml:1: limits.queue_bytes_max: expected bytes from 1 to \"1024GiB\", as a number or \
         with a unit like \"64KiB\", found \"3 parsecs\"",
    );
    check_mistake(
        "allow_anonymous = 1",
        "d.toml:1: allow_anonymous: expected true or false, found a value of type integer",
    );
    check_mistake(
        "allow_anonymous = false",
        "d.toml:1: allow_anonymous: false lets nobody in by mqtt://127.0.0.1:1883; name the \
         users in an auth.password_file, give the listener a client_ca, or leave it out",
    );
    let syntax = from_file("log = 'a'\nworkers = = 2").unwrap_err().to_string();
    assert!(syntax.starts_with("d.toml:2: "), "{syntax}");
    assert!(!syntax.contains('\n'), "{syntax}");
}

#[test]
fn settings_of_tokens_belong_together() {
    let key_file = "auth.jwt.key_file = 'keys'";
    check_mistake(
        key_file,
        "d.toml:1: auth.jwt.algorithms: there is none; name those that the issuer signs with, such as \
         [\"RS256\"]",
    );
    check_mistake(
        &format!("{key_file}\nauth.jwt.algorithms = ['RS256', 'HS256']"),
        "d.toml:2: auth.jwt.algorithms: HS256, HS384 and HS512 work with a secret, the others with \
         public keys; name algorithms of one kind",
    );
    check_mistake(
        &format!("{key_file}\nauth.jwt.algorithms = ['none']"),
        "d.toml:2: auth.jwt.algorithms: \"none\" is none of the algorithms: HS256, HS384, HS512, \
         RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    );
    let url = |url: &str| {
        from_file(&format!("auth.jwt.algorithms = ['RS256']\nauth.jwt.jwks_url = '{url}'"))
    };
    for safe in ["https://id", "https://id:1/a?b", "http://127.0.0.1:1/a", "http://[::1]:1"]
        .into_iter()
        .chain(["http://127.0.0.1/a", "http://[::1]", "http://[::1]/a", "https://[2001:db8::1]/"])
    {
        assert!(url(safe).is_ok(), "{safe}");
    }
    for unsafe_one in [
        "http://id.example.org/",
        "http://10.0.0.1:1/",
        "http://localhost:1/",
        "https://",
        "https://a b/",
        "https:///a",
        "ftp://127.0.0.1:1/",
        "http://::1/",
        "id.example.org",
    ] {
        let error = url(unsafe_one).expect_err(unsafe_one).to_string();
        assert!(error.contains("jwks_url: expected an https:// URL"), "{error}");
    }
    for port in ["84433", "", "0", "+1"] {
        let error = url(&format!("https://id.example.org:{port}/a")).expect_err(port).to_string();
        assert!(error.contains("jwks_url: its port is no number from 1 to 65535"), "{error}");
    }
    for telling in [
        "http://127.0.0.1@id.example.org:1/",
        "http://127.0.0.1:1@id.example.org/",
        "https://user:secret@id.example.org/",
    ] {
        let error = url(telling).expect_err(telling).to_string();
        assert!(error.contains("jwks_url: it has a user or password in it"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    check_mistake(
        &format!("{key_file}\nauth.jwt.jwks_url = 'https://id'"),
        "d.toml:2: auth.jwt.jwks_url: there is an auth.jwt.key_file as well; name one of them",
    );
    check_mistake(
        "auth.jwt.jwks_url = 'https://id'\nauth.jwt.algorithms = ['HS256']",
        "d.toml:2: auth.jwt.algorithms: HS256, HS384 and HS512 work with a secret, which has no \
         place at a URL; name others, or an auth.jwt.key_file",
    );
    check_mistake(
        "auth.jwt.issuer = ['https://id.example.org']",
        "d.toml:1: auth.jwt.key_file: it is not set, and neither is auth.jwt.jwks_url, so that no \
         token is taken; name the file of the keys, or their URL",
    );
}

#[test]
fn settings_of_a_back_end_belong_together() {
    let config = from_file("[auth.http]\nurl = 'https://a'\nbearer_file = 'b'").unwrap().config;
    let Http { url, ca_file, bearer_file, timeout_millis, requests_max } = config.auth.http.clone();
    assert_eq!((url.as_deref(), ca_file), (Some("https://a"), None));
    assert_eq!(bearer_file.as_deref(), Some(Path::new("b")));
    assert_eq!((timeout_millis, requests_max), (2_000, 16));
    assert!(config.asks_who_clients_are() && !config.allows_anonymous());
    let exposed = from_file("auth.http.url = 'https://a'\nlisteners = ['mqtt://0.0.0.0']");
    assert!(matches!(exposed, Err(ConfigError::Plaintext { .. })));
    check_mistake(
        "[auth.http]\nca_file = 'ca'",
        "d.toml:2: auth.http.url: it is not set, so that no back end is asked; name its URL",
    );
    check_mistake(
        "[auth.http]\nurl = 'http://users.example.org'",
        "d.toml:2: auth.http.url: expected an https:// URL: whoever changes the answer on its way \
         could log in; http:// is for 127.0.0.1 and [::1] alone",
    );
    check_mistake(
        "[auth]\ntimeout_secs = 1\n[auth.http]\nurl = 'https://a'\ntimeout_millis = 1001",
        "d.toml:5: auth.http.timeout_millis: it is longer than auth.timeout_secs, within which a \
         login is over; make it shorter",
    );
}

#[test]
fn of_several_mistakes_the_first_line_is_named() {
    check_mistake(
        "zebra = 1\nallow_anonymous = 1",
        "d.toml:1: unknown setting `zebra`; `dunlin broker --print-config` lists all",
    );
    check_mistake(
        "[limits]\nreceive_maximum = 0\n[[listeners]]\nurl = 'a'",
        "d.toml:2: limits.receive_maximum: expected a number from 1 to 65535, found 0",
    );
}

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
fn a_size_of_memory_without_its_unit_is_told_of() {
    for (max, meant) in [("4", "4GiB"), ("64", "64GiB"), ("512", "512MiB"), ("8_000_000", "256MiB")]
    {
        let error = from_file(&format!("memory.max = {max}")).unwrap_err().to_string();
        assert!(error.starts_with("d.toml:1: memory.max: "), "{error}");
        assert!(error.contains(&format!("such as \"{meant}\"")), "{error}");
    }
    for max in ["0", "'16MiB'", "'4GiB'"] {
        assert!(from_file(&format!("memory.max = {max}")).is_ok(), "{max}");
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
fn a_mistake_in_the_environment_or_a_flag_is_named() {
    let check = |variables: &[(&str, &str)], flags: &[Flag], message: &str| {
        let error = LoadedConfig::from_layers(None, &environment(variables), flags).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    check(
        &[("DUNLIN_WORKER", "2")],
        &[],
        "DUNLIN_WORKER: unknown setting `DUNLIN_WORKER`; did you mean `DUNLIN_WORKERS`?",
    );
    check(
        &[("DUNLIN_WORKERS", "many")],
        &[],
        "DUNLIN_WORKERS: expected a number from 0 to 255, found \"many\"",
    );
    check(
        &[],
        &[flag("--set", "limit.receive_maximum", "1")],
        "--set: unknown setting `limit.receive_maximum`; did you mean `limits.receive_maximum`?",
    );
    check(
        &[("DUNLIN_LISTEN", "mqtt://127.0.0.1:1,mqtt://[::]:2")],
        &[],
        "DUNLIN_LISTEN: listener mqtt://[::]:2 can be reached from other machines, and anyone \
         could connect; say who may by an auth.password_file or a client_ca, either with mqtts://, \
         listen on 127.0.0.1, or set allow_anonymous = true (or --allow-anonymous) if that is meant",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_who_named_it() {
    let variables = environment(&[("DUNLIN_CONFIG", "/nonexistent/dunlin.toml")]);
    let error = LoadedConfig::load(None, &variables, &[]).unwrap_err().to_string();
    assert!(error.starts_with("DUNLIN_CONFIG: can't read /nonexistent/dunlin.toml: "), "{error}");
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
fn sizes_take_units() {
    for (text, bytes) in [
        ("4096", 4096),
        ("\"4096\"", 4096),
        ("\"16 MiB\"", 16 << 20),
        ("\"2GiB\"", 2 << 30),
        ("\"5MB\"", 5_000_000),
        ("\"10_000B\"", 10_000),
    ] {
        let loaded = from_file(&format!("limits.queue_bytes_max = {text}")).unwrap();
        assert_eq!(loaded.config.limits.queue_bytes_max, bytes, "{text}");
    }
}

#[test]
fn workers_zero_means_one_for_each_core() {
    let workers = Config::default().workers;
    let shown = |loaded: &LoadedConfig| {
        let text = loaded.to_toml();
        let line = text.lines().find(|line| line.starts_with("workers")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut loaded = from_file("\nworkers = 0").unwrap();
    assert_eq!(loaded.config.workers, workers);
    assert_eq!(shown(&loaded), format!("workers = 0 # d.toml:2, {workers} on this machine"));
    loaded = LoadedConfig::from_layers(None, &BTreeMap::new(), &[]).unwrap();
    assert_eq!(shown(&loaded), format!("workers = 0 # default, {workers} on this machine"));
    // A number that is set stays, also when it is the machine's.
    loaded = from_file(&format!("workers = {workers}")).unwrap();
    assert_eq!(shown(&loaded), format!("workers = {workers} # d.toml:1"));
}

#[test]
fn by_default_no_address_keeps_others_waiting_for_a_handshake() {
    let Limits { half_open_max, half_open_per_address_max, .. } = Limits::default();
    assert!(2 * half_open_per_address_max <= half_open_max);
}

#[test]
fn the_reference_loads_as_the_defaults_and_names_everything() {
    let reference = reference();
    assert_eq!(from_file(&reference).unwrap().config, Config::default());
    for setting in settings() {
        assert!(reference.contains(&setting.environment_variable()), "{}", setting.key);
    }
}

#[test]
fn what_is_shown_loads_again_and_tells_where_it_comes_from() {
    let text = "data = 'C:\\\"x'\nallow_anonymous = true\nlisteners = ['mqtt://0.0.0.0:7']\n\
                limits = { queue_policy = 'drop-oldest', output_bytes_max = 4097 }\n";
    let loaded = from_file(text).unwrap();
    let shown = loaded.to_toml();
    assert_eq!(from_file(&shown).unwrap().config, loaded.config, "{shown}");
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("output_bytes_max = 4097 ").ends_with(" # d.toml:4"));
    assert!(line("allow_anonymous = true ").ends_with(" # d.toml:2"));
    assert!(line("queue_len_max = 100000 ").ends_with(" # default"));
}

#[test]
fn an_acknowledgement_means_what_the_operator_says() {
    let text = "durability = \"written\"\nlisteners = [{ url = \"mqtt://127.0.0.1:0?durability=memory\" }]\n\
                durability_by_topic = [{ topic_filter = \"a/#\", durability = \"fsync\" }]\n";
    let flags = [flag("--set", "durability_by_topic", "telemetry/+=memory, orders/#=fsync")];
    for flags in [&[][..], &flags] {
        let loaded =
            LoadedConfig::from_layers(Some((Path::new("x.toml"), text)), &BTreeMap::new(), flags)
                .unwrap();
        let config = &loaded.config;
        assert_eq!(config.durability.default, Durability::Written);
        assert_eq!(config.listeners[0].durability, Some(Durability::Memory));
        let rules: Vec<_> = config.durability.topics.iter().map(|rule| rule.1).collect();
        match flags.len() {
            0 => assert_eq!(rules, [Durability::Fsync]),
            _ => assert_eq!(rules, [Durability::Memory, Durability::Fsync]),
        }
        // What is shown can be loaded again.
        let shown = loaded.to_toml();
        let again =
            LoadedConfig::from_layers(Some((Path::new("y.toml"), &shown)), &BTreeMap::new(), &[]);
        assert_eq!(&again.unwrap().config, config);
    }
}

#[test]
fn a_mistake_about_durability_is_named() {
    for (text, message) in [
        ("durability = \"disk\"", "one of \"memory\", \"written\", \"fsync\""),
        ("listeners = [\"mqtt://127.0.0.1?durability=x\"]", "\"x\" is no durability"),
        ("listeners = [\"mqtt://127.0.0.1?sync=x\"]", "\"sync=x\" is no option"),
        (
            "durability_by_topic = [{ topic_filter = \"a/#/b\", durability = \"fsync\" }]",
            "Topic Filter",
        ),
        (
            "durability_by_topic = [{ topic_filter = \"$share/g/a\", durability = \"fsync\" }]",
            "Shared",
        ),
        ("durability_by_topic = [{ topic_filter = \"a\", level = \"x\" }]", "setting `level`"),
        ("durability_by_topic = [{ topic_filter = \"a\" }]", "expected {"),
        (
            "listeners = [{ url = \"mqtt://127.0.0.1\", durability = \"some\" }]",
            "\"some\" is no durability; there are memory, written and fsync",
        ),
        ("data = \"\"", "data: expected the path of a folder, found nothing"),
        ("durability_by_topic = [{ topic_filter = \"a\", durability = \"no\" }]", "\"no\" is no"),
        ("durability_by_topic = 1", "expected a list"),
    ] {
        let layer = Some((Path::new("x.toml"), text));
        let error = LoadedConfig::from_layers(layer, &BTreeMap::new(), &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("x.toml:1: ") && error.contains(message), "{error}");
    }
}

#[test]
fn a_mistyped_key_of_a_rule_is_named_where_it_is() {
    check_mistake(
        "workers = 1\n[[durability_by_topic]]\ntopic_filter = 'a'\ndurability = 'fsync'\n\n\
         [[durability_by_topic]]\ntopic_filter = 'b'\ndurabilty = 'fsync'\n",
        "d.toml:8: unknown setting `durabilty`; did you mean `durability`?",
    );
}

#[test]
fn flags_that_are_repeated_add_to_lists() {
    let load = |flags: &[Flag]| LoadedConfig::from_layers(None, &BTreeMap::new(), flags);
    let rule = |value| flag("--set", "durability_by_topic", value);
    let loaded = load(&[rule("a=memory"), rule("b=written,c=fsync")]).unwrap();
    let rules = loaded.config.durability.topics;
    let rules: Vec<_> = rules.iter().map(|(filter, level)| (filter.as_str(), *level)).collect();
    let expected =
        [("a", Durability::Memory), ("b", Durability::Written), ("c", Durability::Fsync)];
    assert_eq!(rules, expected);
    let listener = |port| flag("--set", "listeners", port);
    let loaded = load(&[listener("mqtt://127.0.0.1:1"), listener("mqtt://127.0.0.1:2")]).unwrap();
    assert_eq!(loaded.config.listeners.len(), 2);
    let error = load(&[rule("telemetry/#")]).unwrap_err().to_string();
    assert!(error.contains("expected rules like telemetry/#=memory,orders/#=fsync"), "{error}");
}

#[test]
fn a_list_can_be_made_empty_from_everywhere() {
    let exempt = |variables: &[(&str, &str)], flags: &[Flag]| {
        let file = Some((Path::new("d.toml"), "auth.damping_exempt = ['10.0.0.0/8']"));
        let loaded = LoadedConfig::from_layers(file, &environment(variables), flags);
        loaded.expect("a list").config.auth.damping_exempt.len()
    };
    let set = |value| flag("--set", "auth.damping_exempt", value);
    let loaded = from_file("auth.damping_exempt = []").expect("a list");
    assert!(loaded.config.auth.damping_exempt.is_empty());
    assert_eq!(exempt(&[], &[]), 1);
    assert_eq!(exempt(&[("DUNLIN_AUTH_DAMPING_EXEMPT", "[]")], &[]), 0);
    assert_eq!(exempt(&[], &[set("[]")]), 0);
    assert_eq!(exempt(&[], &[set("")]), 0);
    assert_eq!(exempt(&[], &[set("[]"), set("::1,10.0.0.0/8")]), 2);
    let empty = [flag("--listen", "listeners", "[]")];
    let error = LoadedConfig::from_layers(None, &BTreeMap::new(), &empty).unwrap_err().to_string();
    assert!(error.starts_with("--listen: at least one is needed"), "{error}");
}

#[test]
fn a_durability_without_a_folder_is_warned_of() {
    let warnings = |flags: &[Flag]| {
        LoadedConfig::from_layers(None, &BTreeMap::new(), flags).unwrap().warnings()
    };
    assert_eq!(warnings(&[]), [""; 0]);
    let reason = "durability has no effect without a data folder (--data FOLDER)";
    for (given, place) in [
        (flag("--durability", "durability", "fsync"), "--durability"),
        (flag("--set", "durability_by_topic", "a=memory"), "--set: durability_by_topic"),
        (flag("--listen", "listeners", "mqtt://127.0.0.1?durability=memory"), "--listen"),
    ] {
        assert_eq!(warnings(std::slice::from_ref(&given)), [format!("{place}: {reason}")]);
        assert_eq!(warnings(&[given, flag("--data", "data", "x")]), [""; 0]);
    }
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

#[test]
fn passwords_let_other_machines_in_and_come_by_tls_alone() {
    let tls = "[[listeners]]\nurl = 'mqtts://0.0.0.0'\ncertificate = 'a'\nkey = 'b'\n";
    let plain = "[[listeners]]\nurl = 'mqtt://0.0.0.0'\n";
    let passwords = "auth.password_file = 'passwords'\n";
    for (text, allows_anonymous) in [
        (format!("{passwords}{tls}"), false),
        (format!("allow_anonymous = false\n{passwords}{tls}"), false),
        (format!("allow_anonymous = true\n{passwords}{tls}"), true),
        (format!("auth.allow_plaintext = true\n{passwords}{plain}"), false),
        (passwords.to_owned(), false),
    ] {
        let config = from_file(&text).unwrap_or_else(|error| panic!("{text}: {error}")).config;
        assert_eq!(config.allows_anonymous(), allows_anonymous, "{text}");
        assert!(config.asks_who_clients_are());
    }
    // So do tokens.
    let tokens = "[auth.jwt]\nkey_file = 'k'\nalgorithms = ['ES256', 'EdDSA']\naudience = ['a']\n";
    let config = from_file(&format!("{tokens}{tls}")).unwrap().config;
    assert!(!config.allows_anonymous() && config.asks_who_clients_are());
    assert_eq!(config.auth.jwt.algorithms, [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!(config.auth.jwt.audience, ["a"]);
    let plainly = from_file(&format!("{tokens}{plain}"));
    assert!(matches!(plainly, Err(ConfigError::Plaintext { .. })));
    assert!(matches!(from_file(tls), Err(ConfigError::Exposed { .. })));
    assert!(!from_file("").unwrap().config.asks_who_clients_are());
    for text in
        [format!("{passwords}{plain}"), format!("allow_anonymous = true\n{passwords}{plain}")]
    {
        let error = from_file(&text).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "passwords that come by listener mqtt://0.0.0.0:1883 can be read on the way; use \
                 mqtts:// there, or set auth.allow_plaintext = true if that is meant"
            ),
            "{error}"
        );
    }
}

#[test]
fn retained_messages_leave_half_of_the_memory() {
    let mut config = Config::default();
    let retained_bytes_max = config.limits.retained_bytes_max;
    assert_eq!(config.limits_in_memory(), config.limits);
    config.memory.max = 3 * retained_bytes_max;
    assert_eq!(config.limits_in_memory().retained_bytes_max, retained_bytes_max);
    config.memory.max = retained_bytes_max;
    assert_eq!(config.limits_in_memory().retained_bytes_max, retained_bytes_max / 2);
}

#[test]
fn handshakes_leave_most_of_the_memory() {
    let mut config = Config::default();
    let mut handshakes = |max: usize, per_address: usize| {
        config.memory.max = max;
        config.limits.half_open_per_address_max = per_address;
        let limits = config.limits_in_memory();
        [limits.half_open_max, limits.half_open_per_address_max]
    };
    assert_eq!(handshakes(2 << 30, 1_000), [1_000, 1_000]);
    assert_eq!(handshakes(256 << 20, 1_000), [170, 85]);
    assert_eq!(handshakes(256 << 20, 20), [170, 20]);
    assert_eq!(handshakes(1, 1_000), [16, 8]);
}
