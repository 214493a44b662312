//! The server's end of an exchange. Between the client's two messages it keeps a short string and
//! nothing else, so that half-done logins need no table.

use super::credentials::Credentials;
use super::message::{ClientFinal, ClientFirst, MalformedMessage, ServerFirst, nonce_text};
use super::{ITERATIONS, ITERATIONS_DEFAULT, Mechanism, NONCE_LEN};
use crate::UserName;
use crate::hash::{Hash, are_equal, to_base64};
use std::fmt;
use std::num::NonZeroU32;

/// Bytes of the salt that is made up for unknown users, the same as of new credentials.
const SALT_LEN: usize = 16;

/// The server's end: which mechanism, and what to tell those who name a user that is not there.
#[derive(Clone)]
pub struct ScramServer {
    mechanism: Mechanism,
    unknown_user_key: [u8; 32],
    unknown_user_iterations: u32,
}

/// The first answer, and what must be given to [`ScramServer::finish`] with the next message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The Authentication Data for the client, Reason Code 0x18.
    pub data: Vec<u8>,
    /// To be kept with the connection.
    pub state: ServerState,
}

/// What a server remembers between a client's messages: the mechanism and the two messages so far.
/// They hold no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerState(Box<[u8]>);

/// A login that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who has proven to know the password.
    pub user: UserName,
    /// The Authentication Data with which the server proves itself in turn.
    pub data: Vec<u8>,
}

/// Why an exchange ended without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The client's message is not what belongs here.
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
    /// The client repeats another nonce than it was sent.
    #[error("the nonce is not the one of this exchange")]
    Nonce,
    /// The user is unknown or the proof is wrong; which of the two is nobody's business.
    #[error("the user or the proof is wrong")]
    Denied,
    /// The state is none that [`ScramServer::begin`] gave for this mechanism.
    #[error("the state is not one of this mechanism")]
    State,
}

impl ScramServer {
    /// A server for one mechanism.
    ///
    /// The key is random and the same for as long as can be: an unknown user's salt is made of it,
    /// and one that changed while those of known users stay would tell who is known.
    pub fn new(mechanism: Mechanism, unknown_user_key: &[u8; 32]) -> Self {
        Self {
            mechanism,
            unknown_user_key: *unknown_user_key,
            unknown_user_iterations: ITERATIONS_DEFAULT,
        }
    }

    /// Sets the iterations that unknown users are told: those which most known ones have.
    #[must_use]
    pub fn unknown_user_iterations(mut self, iterations: u32) -> Self {
        self.unknown_user_iterations = iterations.clamp(*ITERATIONS.start(), *ITERATIONS.end());
        self
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Answers the message that a client begins with. `credentials` finds those of a user for this
    /// mechanism; the nonce is random and never used twice.
    ///
    /// # Errors
    /// [`ServerError::Malformed`]; a user who is unknown gets an answer like any other.
    pub fn begin<'a>(
        &self,
        client_first: &[u8],
        credentials: impl FnOnce(&UserName) -> Option<&'a Credentials>,
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Challenge, ServerError> {
        self.begin_with(client_first, credentials, &nonce_text(nonce))
    }

    pub(super) fn begin_with<'a>(
        &self,
        client_first: &[u8],
        credentials: impl FnOnce(&UserName) -> Option<&'a Credentials>,
        nonce: &str,
    ) -> Result<Challenge, ServerError> {
        let first = ClientFirst::parse(client_first)?;
        let (salt, iterations) = self.salt_and_iterations(&first.user, credentials(&first.user));
        let (client_nonce, salt) = (first.nonce, to_base64(&salt));
        let data = format!("r={client_nonce}{nonce},s={salt},i={iterations}");
        let state = ServerState::new(self.mechanism, first.bare, &data);
        Ok(Challenge { data: data.into_bytes(), state })
    }

    /// Answers the message that a client proves itself with.
    ///
    /// # Errors
    /// [`ServerError`]; the client is told no more than Reason Code 0x87 in any case.
    pub fn finish<'a>(
        &self,
        state: &ServerState,
        client_final: &[u8],
        credentials: impl FnOnce(&UserName) -> Option<&'a Credentials>,
    ) -> Result<Login, ServerError> {
        let (bare, server_first) = state.parts(self.mechanism).ok_or(ServerError::State)?;
        let first = ClientFirst::parse_bare(bare)?;
        let sent = ServerFirst::parse(server_first)?;
        let answer = ClientFinal::parse(client_final)?;
        if answer.nonce != sent.nonce {
            return Err(ServerError::Nonce);
        }
        let hash = self.mechanism.hash();
        if answer.proof.len() != hash.len() {
            return Err(MalformedMessage::Value.into());
        }
        // A user who is unknown, or who got another password meanwhile, is checked all the same.
        let known = credentials(&first.user).filter(|known| {
            known.mechanism == self.mechanism
                && known.salt == sent.salt
                && known.iterations.get() == sent.iterations
        });
        let nothing = vec![0; hash.len()];
        let (stored_key, server_key) = match known {
            Some(known) => (&known.stored_key, &known.server_key),
            None => (&nothing, &nothing),
        };
        let messages = [bare.as_bytes(), server_first.as_bytes(), answer.without_proof.as_bytes()];
        let client_key = self.mechanism.client_key(&answer.proof, stored_key, &messages);
        let proven = are_equal(&hash.digest(&client_key), stored_key);
        let signature = self.mechanism.signature(server_key, &messages);
        if !proven || known.is_none() {
            return Err(ServerError::Denied);
        }
        let data = format!("v={}", to_base64(&signature)).into_bytes();
        Ok(Login { user: first.user, data })
    }

    fn salt_and_iterations(
        &self,
        user: &UserName,
        known: Option<&Credentials>,
    ) -> (Vec<u8>, NonZeroU32) {
        let label = self.mechanism.method().as_bytes();
        let mut salt =
            Hash::Sha256.hmac(&self.unknown_user_key, &[label, b"\0", user.as_str().as_bytes()]);
        salt.truncate(SALT_LEN);
        match known.filter(|known| known.mechanism == self.mechanism) {
            Some(known) => (known.salt.clone(), known.iterations),
            None => {
                (salt, NonZeroU32::new(self.unknown_user_iterations).unwrap_or(NonZeroU32::MIN))
            }
        }
    }
}

impl fmt::Debug for ScramServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScramServer").field(&self.mechanism).finish()
    }
}

impl ServerState {
    /// One byte for the mechanism, then the two messages; no line feed is in the second.
    fn new(mechanism: Mechanism, client_first_bare: &str, server_first: &str) -> Self {
        let mark = mark(mechanism);
        Self(
            [&[mark], client_first_bare.as_bytes(), b"\n", server_first.as_bytes()].concat().into(),
        )
    }

    /// The state as bytes, to be kept wherever.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes bytes back that [`ServerState::as_bytes`] gave. Others end the exchange when it goes on.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The user that the client claims to be, who has proven nothing by that.
    pub fn claimed_user(&self) -> Option<UserName> {
        let (_, bare, _) = self.split()?;
        ClientFirst::parse_bare(bare).ok().map(|first| first.user)
    }

    fn parts(&self, mechanism: Mechanism) -> Option<(&str, &str)> {
        let (first, bare, server_first) = self.split()?;
        (first == mark(mechanism)).then_some((bare, server_first))
    }

    fn split(&self) -> Option<(u8, &str, &str)> {
        let (first, messages) = self.0.split_first()?;
        let (bare, server_first) = std::str::from_utf8(messages).ok()?.rsplit_once('\n')?;
        Some((*first, bare, server_first))
    }
}

/// The user that a client claims to be in the message that it begins with; `None` if the message is
/// malformed.
pub fn claimed_user(client_first: &[u8]) -> Option<UserName> {
    ClientFirst::parse(client_first).ok().map(|first| first.user)
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerState({} bytes)", self.0.len())
    }
}

const fn mark(mechanism: Mechanism) -> u8 {
    match mechanism.hash() {
        Hash::Sha256 => 1,
        Hash::Sha512 => 2,
    }
}
