//! How Clients are known.

use super::setting::{Kind, Limit, Setting, Value};
use super::{Http, Jwt, Network};
use std::path::PathBuf;

/// How Clients are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// A file of users and what their passwords are checked with; see
    /// [`dunlin_identity::password_file`]. Unset, nobody has a password.
    pub password_file: Option<PathBuf>,
    /// Tokens as passwords.
    pub jwt: Jwt,
    /// A back end that is asked.
    pub http: Http,
    /// Seconds that a login may take before it is refused.
    pub timeout_secs: u32,
    /// Logins that may wait for their turn with one method; further ones are refused at once.
    pub waiting_max: usize,
    /// Whether passwords may come by listeners without TLS that other machines can reach.
    pub allow_plaintext: bool,
    /// Whether addresses from which logins fail again and again are slowed, then refused.
    pub damping: bool,
    /// Addresses that never are: those of proxies, whose clients share them.
    pub damping_exempt: Vec<Network>,
}

impl Default for Auth {
    fn default() -> Self {
        let damping_exempt = ["127.0.0.0/8", "::1/128"].map(str::parse);
        Self {
            password_file: None,
            jwt: Jwt::default(),
            http: Http::default(),
            timeout_secs: 10,
            waiting_max: 4096,
            allow_plaintext: false,
            damping: true,
            damping_exempt: damping_exempt.into_iter().flatten().collect(),
        }
    }
}

impl Auth {
    /// Whether some method checks User Names and Passwords.
    pub(crate) const fn checks_passwords(&self) -> bool {
        self.password_file.is_some() || self.jwt.is_on() || self.http.is_on()
    }

    /// What is wrong with these settings together: the key of the one, and the mend.
    pub(crate) fn mistake(&self) -> Option<(&'static str, &'static str)> {
        self.jwt.mistake().or_else(|| self.http.mistake(self.timeout_secs))
    }
}

const TIMEOUT: Kind = Kind::Number { min: 1, max: 3600 };
const NETWORKS: Kind = Kind::List {
    of: "a list of networks like \"10.0.0.0/8\"",
    check: |text| match text.parse::<Network>() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    },
};
const WAITING: Kind = Kind::Number { min: 1, max: 1_000_000 };

impl Auth {
    pub(super) const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "auth.password_file",
            doc: &[
                "A file of users and their passwords, as `dunlin passwd` writes it; Mosquitto's \
                 lines are read, too. It is read again on SIGHUP; one that was emptied or ends \
                 within a line changes nothing then, and the line `# no users` in an empty one says \
                 that it is meant. Clients without a password are turned away where there is such a \
                 file, unless allow_anonymous is true.",
            ],
            kind: Kind::File,
            example: Some("\"/etc/dunlin/passwords\""),
            automatic: None,
            read: |config| {
                Some(Value::Text(config.auth.password_file.as_ref()?.display().to_string()))
            },
            write: |config, value| {
                if let Value::Text(path) = value {
                    config.auth.password_file = Some(path.into());
                }
            },
        },
        Setting {
            key: "auth.timeout_secs",
            doc: &["Seconds that it may take to find out who a client is before it is refused."],
            kind: TIMEOUT,
            example: None,
            automatic: None,
            read: |config| Some(config.auth.timeout_secs.to_value(TIMEOUT)),
            write: |config, value| {
                if let Some(secs) = Limit::from_value(&value) {
                    config.auth.timeout_secs = secs;
                }
            },
        },
        Setting {
            key: "auth.waiting_max",
            doc: &[
                "Logins that may wait until those before them are decided, of passwords, tokens and \
                 auth.http each; further ones are refused at once (0x89). Of one address and user \
                 name one is decided at a time.",
            ],
            kind: WAITING,
            example: None,
            automatic: None,
            read: |config| Some(config.auth.waiting_max.to_value(WAITING)),
            write: |config, value| {
                if let Some(waiting_max) = Limit::from_value(&value) {
                    config.auth.waiting_max = waiting_max;
                }
            },
        },
        Setting {
            key: "auth.allow_plaintext",
            doc: &["Whether passwords may come by listeners without TLS that other machines can \
                 reach, where they can be read on the way."],
            kind: Kind::Switch,
            example: None,
            automatic: None,
            read: |config| Some(Value::Switch(config.auth.allow_plaintext)),
            write: |config, value| {
                if let Value::Switch(on) = value {
                    config.auth.allow_plaintext = on;
                }
            },
        },
        Setting {
            key: "auth.damping",
            doc: &[
                "Whether the answers to logins that fail come slower and slower to an address (or \
                 an IPv6 network of 64 bits), and ten failures within a minute have it refused for \
                 the next one, unchecked. Half of them are forgotten each minute, and with each \
                 login that is right.",
            ],
            kind: Kind::Switch,
            example: None,
            automatic: None,
            read: |config| Some(Value::Switch(config.auth.damping)),
            write: |config, value| {
                if let Value::Switch(on) = value {
                    config.auth.damping = on;
                }
            },
        },
        Setting {
            key: "auth.damping_exempt",
            doc: &[
                "Networks whose addresses are never slowed or refused for failed logins; such as \
                 that of a proxy, which is the address of all its clients.",
            ],
            kind: NETWORKS,
            example: None,
            automatic: None,
            read: |config| {
                let networks = config.auth.damping_exempt.iter();
                Some(Value::List(networks.map(Network::to_string).collect()))
            },
            write: |config, value| {
                if let Value::List(networks) = value {
                    let networks = networks.iter().flat_map(|network| network.parse());
                    config.auth.damping_exempt = networks.collect();
                }
            },
        },
    ];
}
