//! Who may come in: methods that know Clients, in a chain, on threads of their own.
//!
//! The core asks ([`Output::Authenticate`](crate::core::Output::Authenticate)), its worker answers
//! at once what needs no thought, and leaves the rest to the threads of the method that has to think:
//! a login that takes long delays logins alone, and those alone that need the same method.

mod chain;
mod circuit;
mod damping;
mod faults;
mod hook;
mod http_client;
mod issuer;
mod judge;
mod jwt;
mod later;
mod passwords;
mod pool;
mod queue;
mod refusals;
mod scram;
mod vouched;

pub use hook::HttpFileError;
pub use jwt::KeyFileError;
pub use passwords::PasswordFileError;
pub(crate) use {
    chain::{Candidate, Chain},
    damping::Damping,
    hook::{BackEnd, Hook},
    judge::{Course, Judge, Ruling},
    jwt::{Tokens, read_keys},
    passwords::Passwords,
    pool::{Job, Pool},
};

use crate::config::{Config, Listener};
use crate::server::StartError;
use std::sync::Arc;
use std::time::Duration;

/// What a worker needs to answer its core.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    pub(crate) judge: Arc<Judge>,
    pub(crate) pool: Pool,
    /// How long a login may take.
    pub(crate) timeout: Duration,
}

/// The chain that a configuration asks for, and what of it is read from files.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    pub(crate) chain: Chain,
    pub(crate) passwords: Option<Arc<Passwords>>,
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) hook: Option<Arc<Hook>>,
}

impl Methods {
    /// Reads what a configuration names, if it asks who Clients are at all.
    pub(crate) fn read(config: &Config) -> Result<Option<Self>, StartError> {
        if !config.asks_who_clients_are() {
            return Ok(None);
        }
        let passwords = read_passwords(config)?.map(Arc::new);
        if passwords.as_ref().is_some_and(|passwords| passwords.len() == 0) {
            tracing::warn!("auth.password_file names no user: nobody can log in with its password");
        }
        let hook = Hook::read(config)?.map(Arc::new);
        // The last, as it begins to fetch keys.
        let tokens = Tokens::read(config)?.map(Arc::new);
        let checks_names = config.auth.checks_passwords();
        let mut chain = Chain::default();
        // What looks like a token is one, whatever passwords there are.
        if let Some(tokens) = &tokens {
            chain.push(tokens.clone());
        }
        if let Some(passwords) = &passwords {
            chain.push(passwords.clone());
            chain.push(scram::Scram::new(passwords.clone())?);
        }
        // Whoever is not in a file here: it may know certificates and those without a name, too.
        if let Some(hook) = &hook {
            chain.push(hook.clone());
        }
        let fields = config.listeners.iter().map(|listener| listener.certificate_user).collect();
        chain.push(chain::Certificate { fields, yields_to_names: checks_names });
        if config.allows_anonymous() {
            chain.push(chain::Anonymous { ignores_names: !checks_names });
        }
        if checks_names && config.listeners.iter().any(Listener::asks_for_certificates) {
            tracing::info!(
                "a client with a certificate that sends a user name, too, is known by its password"
            );
        }
        Ok(Some(Self { chain, passwords, tokens, hook }))
    }
}

/// Reads the password file, if there is one; it must have users if nobody else could come in.
pub(crate) fn read_passwords(config: &Config) -> Result<Option<Passwords>, PasswordFileError> {
    let Some(path) = config.auth.password_file.as_deref() else { return Ok(None) };
    let passwords = Passwords::read(path, config.auth.http.url.is_some())?;
    if passwords.len() == 0 && config.closed_without_passwords() {
        return Err(PasswordFileError::NoUser(path.to_owned()));
    }
    Ok(Some(passwords))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoadedConfig;
    use chain::Step;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    #[test]
    fn only_who_is_in_the_file_costs_a_hash_where_a_back_end_knows_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let hash = "$7$101$AAAAAAAAAAAAAAAA$";
        let hash = format!("gauge:{hash}{}==\n", "A".repeat(86));
        std::fs::write(&path, hash).expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("its owner's");
        let file = format!("[auth]\npassword_file = '{}'\n", path.display());
        let back_end = format!("{file}http.url = 'http://127.0.0.1:1/'\n");
        let candidate = |user: &str| Candidate::local(Some(user), Some(b"guess"));
        // The file's place is the first; that of the back end comes after SCRAM.
        for (text, user, expected) in [
            (&file, "gauge", 0),
            (&file, "stranger", 0),
            (&back_end, "gauge", 0),
            (&back_end, "stranger", 2),
        ] {
            let loaded =
                LoadedConfig::from_layers(Some((Path::new("d"), text)), &BTreeMap::new(), &[]);
            let methods = Methods::read(&loaded.expect("legal").config).expect("of use");
            let chain = methods.expect("asks").chain;
            let step = chain.decide_at_once(&candidate(user));
            assert_eq!(step, Step::Asks(expected), "{user}: {text}");
        }
    }
}
