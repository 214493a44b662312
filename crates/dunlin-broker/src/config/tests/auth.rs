//! Who is asked who Clients are.

use super::*;
use dunlin_identity::jwt::Algorithm;

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
