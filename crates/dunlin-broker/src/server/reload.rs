//! A broker's files, read again while it runs.

use super::{Broker, ReloadError};
use crate::front::report;
use crate::rights::RightsFileError;
use crate::worker::WorkerMessage;

impl Broker {
    /// Reads the file of rules again; gives how many rules it has, nothing if there is no such file.
    /// They are in force as soon as every worker has taken them up, for open connections as well.
    ///
    /// # Errors
    /// The file is of no use: the rules before stay in force.
    pub fn reload_rights(&self) -> Result<Option<usize>, RightsFileError> {
        let Some(rights) = &self.rights else { return Ok(None) };
        match rights.reload() {
            Ok(rules) => {
                let count = rules.rules().len();
                for peer in &self.peers {
                    peer.send(WorkerMessage::Rules(rules.clone()));
                }
                tracing::info!(rules = count, "the file of rules was read again");
                Ok(Some(count))
            }
            Err(error) => {
                tracing::error!("the rules stay in force as they were: {error}");
                Err(error)
            }
        }
    }

    /// Reads the password file, the keys of tokens, the files for the back end of logins, the file of
    /// rules, and all files of certificates, again; gives how many users there are, nothing if there
    /// is no password file. Logins and handshakes from now on go by them; who is in stays in, within
    /// the rules. The files of each listener are taken up together.
    ///
    /// # Errors
    /// A file is of no use: what was in force before still is, and all that is of use was taken up.
    pub fn reload(&self) -> Result<Option<usize>, ReloadError> {
        let mut reloaded = Ok(None);
        if let Some(passwords) = &self.passwords {
            reloaded = passwords.reload().map(Some).map_err(ReloadError::PasswordFile);
            match &reloaded {
                Ok(Some(0)) => tracing::warn!(
                    users = 0,
                    "the password file was read again: no user is left, nobody can log in with a \
                     password"
                ),
                Ok(users) => {
                    let users = users.unwrap_or_default();
                    tracing::info!(users, "the password file was read again");
                }
                Err(error) => tracing::error!("users stay in force as they were: {error}"),
            }
        }
        if let Some(tokens) = &self.tokens {
            match tokens.reload() {
                Ok(Some(keys)) => tracing::info!(keys, "the keys of tokens were read again"),
                Ok(None) => tracing::info!("the keys of tokens are to be fetched again"),
                Err(error) => {
                    tracing::error!("the keys of tokens stay in force as they were: {error}");
                    reloaded = reloaded.and(Err(ReloadError::KeyFile(error)));
                }
            }
        }
        if let Some(hook) = &self.hook {
            match hook.reload() {
                Ok(true) => tracing::info!("the files of auth.http were read again"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!("auth.http is asked as it was: {error}");
                    reloaded = reloaded.and(Err(ReloadError::HttpFile(error)));
                }
            }
        }
        if let Err(error) = self.reload_rights() {
            reloaded = reloaded.and(Err(ReloadError::RightsFile(error)));
        }
        for certificates in &self.certificates {
            if let Err(source) = certificates.reload() {
                let listener = certificates.listener().to_owned();
                reloaded = reloaded.and(Err(ReloadError::Tls { listener, source }));
            }
        }
        if !self.certificates.is_empty() {
            report(&self.certificates, &self.peers[0]);
        }
        reloaded
    }
}
