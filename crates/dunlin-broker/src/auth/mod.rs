//! Who may come in: methods that know Clients, in a chain, on threads of their own.
//!
//! The core asks ([`Output::Authenticate`](crate::core::Output::Authenticate)), its worker answers
//! at once what needs no thought, and leaves the rest to a bounded pool: a login that takes long
//! delays other logins alone.

mod chain;
mod passwords;
mod pool;

pub use passwords::PasswordFileError;
pub(crate) use {
    chain::{Candidate, Chain},
    passwords::Passwords,
    pool::{Job, Pool},
};

use crate::config::Config;
use std::sync::Arc;
use std::time::Duration;

/// What a worker needs to answer its core.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    pub(crate) chain: Arc<Chain>,
    pub(crate) pool: Pool,
    /// How long a login may take.
    pub(crate) timeout: Duration,
}

/// The chain that a configuration asks for, if it asks who Clients are at all, and the password
/// file within it.
pub(crate) fn chain(config: &Config) -> Result<Option<ChainParts>, PasswordFileError> {
    if !config.asks_who_clients_are() {
        return Ok(None);
    }
    let path = config.auth.password_file.as_deref();
    let passwords = path.map(Passwords::read).transpose()?.map(Arc::new);
    let mut chain = Chain::default();
    chain.push(chain::Certificate);
    if let Some(passwords) = &passwords {
        chain.push(passwords.clone());
    }
    if config.allows_anonymous() {
        chain.push(chain::Anonymous { ignores_names: passwords.is_none() });
    }
    Ok(Some((chain, passwords)))
}

type ChainParts = (Chain, Option<Arc<Passwords>>);
