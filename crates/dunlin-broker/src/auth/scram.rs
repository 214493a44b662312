//! SCRAM as enhanced authentication, with the credentials of the password file. It takes so little
//! of the server that no thread is asked.

use super::chain::{Answer, Candidate, Method, allowed};
use super::passwords::{PasswordFileError, Passwords, open_random};
use crate::core::Enhanced;
use dunlin_identity::UserName;
use dunlin_identity::scram::{self, Mechanism, NONCE_LEN, ServerError, ServerState};
use dunlin_protocol::codec::ReasonCode;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

/// Users who prove that they know their password, and are shown that the broker does.
#[derive(Debug)]
pub(super) struct Scram {
    passwords: Arc<Passwords>,
    random: File,
}

impl Scram {
    pub(super) fn new(passwords: Arc<Passwords>) -> Result<Self, PasswordFileError> {
        Ok(Self { passwords, random: open_random()? })
    }

    fn nonce(&self) -> io::Result<[u8; NONCE_LEN]> {
        let mut nonce = [0; NONCE_LEN];
        (&self.random).read_exact(&mut nonce)?;
        Ok(nonce)
    }

    fn step(&self, step: &Enhanced) -> Answer {
        let Some(mechanism) = Mechanism::from_method(&step.method) else {
            return Answer::NotMine;
        };
        let users = self.passwords.users();
        let Some(server) = users.scram(mechanism) else { return Answer::NotMine };
        let data = step.data.as_deref().unwrap_or_default();
        let credentials = |user: &UserName| users.credentials(user.as_str(), mechanism);
        let Some(state) = &step.state else {
            let Ok(nonce) = self.nonce() else {
                return Answer::deny(ReasonCode::ServerUnavailable, "there is no randomness");
            };
            return match server.begin(data, credentials, &nonce) {
                Ok(challenge) => Answer::Challenge {
                    data: challenge.data,
                    state: challenge.state.as_bytes().into(),
                },
                Err(error) => malformed(error),
            };
        };
        let state = ServerState::from_bytes(state);
        match server.finish(&state, data, credentials) {
            Ok(login) => match allowed(&login.user) {
                Answer::Allow(grant) => Answer::AllowWith(grant, login.data),
                answer => answer,
            },
            Err(ServerError::Denied) => {
                let is_known =
                    state.claimed_user().is_some_and(|user| credentials(&user).is_some());
                let why = match is_known {
                    true => "the SCRAM proof is wrong",
                    false => "its user has no credentials for its SCRAM",
                };
                Answer::deny(ReasonCode::NotAuthorized, why)
            }
            Err(error) => malformed(error),
        }
    }
}

fn malformed(error: ServerError) -> Answer {
    Answer::deny(ReasonCode::NotAuthorized, format!("its SCRAM message is wrong: {error}"))
}

/// The user that a Client claims to be by a step of SCRAM, and has not proven to be.
pub(super) fn claimed_user(step: &Enhanced) -> Option<UserName> {
    Mechanism::from_method(&step.method)?;
    match &step.state {
        Some(state) => ServerState::from_bytes(state).claimed_user(),
        None => scram::claimed_user(step.data.as_deref()?),
    }
}

impl Method for Scram {
    fn is_enhanced(&self) -> bool {
        true
    }

    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        Some(self.answer(candidate))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        candidate.login.enhanced.as_ref().map_or(Answer::NotMine, |step| self.step(step))
    }
}
