//! The back end that is asked about logins over HTTP, and which URLs are safe to ask.

use super::setting::{Kind, Limit, Setting, Value};
use std::net::IpAddr;
use std::path::PathBuf;
use ureq::http::Uri;

/// The back end that is asked about logins over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where it is asked. Unset, nobody is.
    pub url: Option<String>,
    /// A file of the authorities of which its certificate must be; unset, those count that this
    /// machine trusts.
    pub ca_file: Option<PathBuf>,
    /// A file with the secret that it knows the broker by.
    pub bearer_file: Option<PathBuf>,
    /// Milliseconds that one request may take.
    pub timeout_millis: u32,
    /// Requests that may be under way at once, each on a thread of its own.
    pub requests_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            bearer_file: None,
            timeout_millis: 2_000,
            requests_max: 16,
        }
    }
}

const TIMEOUT: Kind = Kind::Number { min: 10, max: 60_000 };
const REQUESTS: Kind = Kind::Number { min: 1, max: 256 };

/// What is wrong with a URL from which decisions come, and the mend.
pub(super) fn mistake_of_url(url: &str) -> Option<&'static str> {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("it has a user or password in it, which logs would show");
    }
    let is_url =
        url.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    // A colon after the brackets of an IPv6 address, if there are some, begins a port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Some("its port is no number from 1 to 65535");
    }
    let is_safe = match url.split_once("://") {
        Some(("https", _)) => true,
        // Nobody else is on the way.
        Some(("http", _)) => {
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let address = address.unwrap_or(host).parse::<IpAddr>();
            address.is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    };
    (!is_url || !is_safe).then_some(
        "expected an https:// URL: whoever changes the answer on its way could log in; http:// is \
         for 127.0.0.1 and [::1] alone",
    )
}

impl Http {
    /// Whether a back end is asked.
    pub(crate) const fn is_on(&self) -> bool {
        self.url.is_some()
    }

    /// What is wrong with these settings together: the key of the one, and the mend.
    pub(super) fn mistake(&self, login_secs: u32) -> Option<(&'static str, &'static str)> {
        const URL: &str = "auth.http.url";
        let Some(url) = &self.url else {
            let is_meant = self.ca_file.is_some() || self.bearer_file.is_some();
            return is_meant
                .then_some((URL, "it is not set, so that no back end is asked; name its URL"));
        };
        if let Some(mistake) = mistake_of_url(url) {
            return Some((URL, mistake));
        }
        (self.timeout_millis > login_secs.saturating_mul(1_000)).then_some((
            "auth.http.timeout_millis",
            "it is longer than auth.timeout_secs, within which a login is over; make it shorter",
        ))
    }

    pub(super) const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "auth.http.url",
            doc: &["A back end that is asked about each login that no file here decides about: \
                 https://, or http:// at 127.0.0.1 or [::1]. It gets a POST with a JSON object of \
                 listener, address, client_identifier, user_name, password and certificate, and \
                 answers 200 with {\"allow\": true} or {\"allow\": false}, or 204 if it does not \
                 know the client, so that others decide; docs/security.md has the rest. Any other \
                 answer, or none in time, refuses the login with 0x88; after five in a row it is \
                 left alone for a second, then tried again with one login."],
            kind: Kind::Text,
            example: Some("\"https://users.example.org/mqtt\""),
            automatic: None,
            read: |config| Some(Value::Text(config.auth.http.url.clone()?)),
            write: |config, value| {
                if let Value::Text(url) = value {
                    config.auth.http.url = Some(url);
                }
            },
        },
        Setting {
            key: "auth.http.ca_file",
            doc: &[
                "A file (PEM) of the authorities of which the back end's certificate must be, in \
                 place of those that this machine trusts. It is read again on SIGHUP.",
            ],
            kind: Kind::File,
            example: Some("\"/etc/dunlin/back-end-ca.pem\""),
            automatic: None,
            read: |config| {
                Some(Value::Text(config.auth.http.ca_file.as_ref()?.display().to_string()))
            },
            write: |config, value| {
                if let Value::Text(path) = value {
                    config.auth.http.ca_file = Some(path.into());
                }
            },
        },
        Setting {
            key: "auth.http.bearer_file",
            doc: &["A file with a secret that the back end may know the broker by: it is sent as \
                 Authorization: Bearer SECRET. It is read again on SIGHUP."],
            kind: Kind::File,
            example: Some("\"/etc/dunlin/back-end-secret\""),
            automatic: None,
            read: |config| {
                Some(Value::Text(config.auth.http.bearer_file.as_ref()?.display().to_string()))
            },
            write: |config, value| {
                if let Value::Text(path) = value {
                    config.auth.http.bearer_file = Some(path.into());
                }
            },
        },
        Setting {
            key: "auth.http.timeout_millis",
            doc: &[
                "Milliseconds that one request to the back end may take, from its first byte to \
                 the last of the answer; no longer than auth.timeout_secs.",
            ],
            kind: TIMEOUT,
            example: None,
            automatic: None,
            read: |config| Some(config.auth.http.timeout_millis.to_value(TIMEOUT)),
            write: |config, value| {
                if let Some(millis) = Limit::from_value(&value) {
                    config.auth.http.timeout_millis = millis;
                }
            },
        },
        Setting {
            key: "auth.http.requests_max",
            doc: &["Requests to the back end that may be under way at once; further logins wait, \
                 auth.waiting_max of them."],
            kind: REQUESTS,
            example: None,
            automatic: None,
            read: |config| Some(config.auth.http.requests_max.to_value(REQUESTS)),
            write: |config, value| {
                if let Some(requests_max) = Limit::from_value(&value) {
                    config.auth.http.requests_max = requests_max;
                }
            },
        },
    ];
}
