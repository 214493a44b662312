//! Which tokens are taken as passwords.

use super::http::mistake_of_url;
use super::setting::{Kind, Setting, Value};
use dunlin_identity::jwt::Algorithm;
use std::path::PathBuf;

/// Which JSON Web Tokens are taken as passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwt {
    /// A file of the keys that signatures are checked with. Without it or a URL, no token is taken.
    pub key_file: Option<PathBuf>,
    /// Where the issuer has the keys instead, as a JSON Web Key Set.
    pub jwks_url: Option<String>,
    /// The algorithms of signatures that are taken.
    pub algorithms: Vec<Algorithm>,
    /// The servers for one of which a token must be made (`aud`). Empty, it must be made for none.
    pub audience: Vec<String>,
    /// The issuers of which a token must have one (`iss`). Empty, any will do who has the key.
    pub issuer: Vec<String>,
}

/// As many as an operator may mean to write; more would cost every login.
const NAME_LEN_MAX: usize = 1_024;

const ALGORITHMS: Kind = Kind::List {
    of: "a list of algorithms like \"RS256\"",
    check: |text| match text.parse::<Algorithm>() {
        Ok(_) => Ok(()),
        Err(_) => {
            let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
            Err(format!("{text:?} is none of the algorithms: {}", names.join(", ")))
        }
    },
};

const NAMES: Kind = Kind::List {
    of: "a list of strings",
    check: |text| match text.len() {
        1..=NAME_LEN_MAX => Ok(()),
        _ => Err(format!("expected strings of 1 to {NAME_LEN_MAX} bytes")),
    },
};

impl Jwt {
    /// Whether keys are secrets that issuer and broker share.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.algorithms.iter().any(|algorithm| algorithm.is_symmetric())
    }

    /// Whether tokens are taken.
    pub(crate) const fn is_on(&self) -> bool {
        self.key_file.is_some() || self.jwks_url.is_some()
    }

    /// What is wrong with these settings together: the key of the one, and the mend.
    pub(super) fn mistake(&self) -> Option<(&'static str, &'static str)> {
        const KEYS: &str = "auth.jwt.key_file";
        const URL: &str = "auth.jwt.jwks_url";
        const ALGORITHMS: &str = "auth.jwt.algorithms";
        if !self.is_on() {
            let is_empty = [&self.audience, &self.issuer].iter().all(|names| names.is_empty());
            let is_meant = !self.algorithms.is_empty() || !is_empty;
            return is_meant.then_some((
                KEYS,
                "it is not set, and neither is auth.jwt.jwks_url, so that no token is taken; name \
                 the file of the keys, or their URL",
            ));
        }
        if self.key_file.is_some() && self.jwks_url.is_some() {
            return Some((URL, "there is an auth.jwt.key_file as well; name one of them"));
        }
        if let Some(mistake) = self.jwks_url.as_deref().and_then(mistake_of_url) {
            return Some((URL, mistake));
        }
        if self.algorithms.is_empty() {
            return Some((
                ALGORITHMS,
                "there is none; name those that the issuer signs with, such as [\"RS256\"]",
            ));
        }
        if self.is_symmetric() && self.jwks_url.is_some() {
            return Some((
                ALGORITHMS,
                "HS256, HS384 and HS512 work with a secret, which has no place at a URL; name \
                 others, or an auth.jwt.key_file",
            ));
        }
        // Whoever could have a public key taken for a secret could sign.
        let mixed = self.is_symmetric() && !self.algorithms.iter().all(|a| a.is_symmetric());
        mixed.then_some((
            ALGORITHMS,
            "HS256, HS384 and HS512 work with a secret, the others with public keys; name \
             algorithms of one kind",
        ))
    }

    pub(super) const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "auth.jwt.key_file",
            doc: &[
                "A file of the keys that JSON Web Tokens are checked with, which clients send as \
                 passwords: public keys or certificates in PEM, or a JSON Web Key Set; for HS256, \
                 HS384 and HS512 the secret alone, of 32 bytes or more. It is read again on SIGHUP. \
                 A token must have exp, when its connection ends, and sub, the user, which the User \
                 Name must be if there is one; it may have nbf, client_identifier, which binds it \
                 to that one, groups, and rules, as docs/rights.md explains.",
            ],
            kind: Kind::File,
            example: Some("\"/etc/dunlin/issuer.pem\""),
            automatic: None,
            read: |config| {
                Some(Value::Text(config.auth.jwt.key_file.as_ref()?.display().to_string()))
            },
            write: |config, value| {
                if let Value::Text(path) = value {
                    config.auth.jwt.key_file = Some(path.into());
                }
            },
        },
        Setting {
            key: "auth.jwt.jwks_url",
            doc: &["Where the issuer offers its keys as a JSON Web Key Set, instead of a file: \
                 https://, with a certificate that this machine trusts, or http:// at 127.0.0.1 or \
                 [::1]. The set is fetched every 10 minutes, and when a token names a key that is \
                 not in it, but not within 30 seconds of the time before; that token is refused with \
                 0x88 until then. When it can't be fetched, the last one is used for an hour."],
            kind: Kind::Text,
            example: Some("\"https://id.example.org/.well-known/jwks.json\""),
            automatic: None,
            read: |config| Some(Value::Text(config.auth.jwt.jwks_url.clone()?)),
            write: |config, value| {
                if let Value::Text(url) = value {
                    config.auth.jwt.jwks_url = Some(url);
                }
            },
        },
        Setting {
            key: "auth.jwt.algorithms",
            doc: &[
                "The algorithms of signatures that are taken, whatever a token says of itself: \
                 RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, or HS256, HS384 \
                 and HS512. At least one is needed for tokens.",
            ],
            kind: ALGORITHMS,
            example: None,
            automatic: None,
            read: |config| {
                let algorithms = config.auth.jwt.algorithms.iter();
                Some(Value::List(algorithms.map(Algorithm::to_string).collect()))
            },
            write: |config, value| {
                if let Value::List(names) = value {
                    let algorithms = names.iter().flat_map(|name| name.parse());
                    config.auth.jwt.algorithms = algorithms.collect();
                }
            },
        },
        Setting {
            key: "auth.jwt.audience",
            doc: &[
                "Names of this broker, for one of which a token must be made (aud). With none, a \
                 token that is made for somebody is refused.",
            ],
            kind: NAMES,
            example: None,
            automatic: None,
            read: |config| Some(Value::List(config.auth.jwt.audience.clone())),
            write: |config, value| {
                if let Value::List(names) = value {
                    config.auth.jwt.audience = names;
                }
            },
        },
        Setting {
            key: "auth.jwt.issuer",
            doc: &[
                "Issuers by one of which a token must be made (iss). With none, a token may be made \
                 by whoever has the key.",
            ],
            kind: NAMES,
            example: None,
            automatic: None,
            read: |config| Some(Value::List(config.auth.jwt.issuer.clone())),
            write: |config, value| {
                if let Value::List(names) = value {
                    config.auth.jwt.issuer = names;
                }
            },
        },
    ];
}
