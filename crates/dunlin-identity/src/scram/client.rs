//! The client's end of an exchange, one type for each message that is waited for.

use super::credentials::{Keys, allowed, prepared};
use super::message::{
    CHANNEL_BINDING, GS2_HEADER, MalformedMessage, ServerFirst, escaped, nonce_text,
    prepared_user_name, text,
};
use super::{ITERATIONS, Mechanism, NONCE_LEN};
use crate::hash::{are_equal, from_base64, to_base64};
use std::fmt;
use zeroize::Zeroizing;

/// Characters of a server's error that are kept.
const SERVER_ERROR_LEN_MAX: usize = 64;

/// A client that has made its first message and waits for the server's.
#[derive(Clone)]
pub struct ClientStart {
    mechanism: Mechanism,
    password: Zeroizing<String>,
    nonce: String,
    bare: String,
}

/// A client that has proven itself and waits for the server to do the same.
#[derive(Clone)]
pub struct ClientFinal {
    signature: Vec<u8>,
}

/// Why a client ends an exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// SASLprep (RFC 4013) forbids a character of the user's name, or it is none that may be.
    #[error("the user name is not legal for SCRAM")]
    UserName,
    /// The password is not UTF-8, or SASLprep forbids one of its characters.
    #[error("the password holds what SASLprep forbids")]
    Password,
    /// The server's message is not what belongs here.
    #[error("the server's message is wrong: {0}")]
    Malformed(#[from] MalformedMessage),
    /// The server's nonce does not begin with the client's, or adds nothing to it.
    #[error("the server's nonce does not extend the client's")]
    Nonce,
    /// The server asks for more or fewer iterations than [`ITERATIONS`] allows.
    #[error(
        "the server asks for {0} iterations; {min} to {max} are accepted",
        min = ITERATIONS.start(),
        max = ITERATIONS.end()
    )]
    Iterations(u32),
    /// The server says what it objects to, shortened.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server does not know the password either: it is not the one that was meant.
    #[error("the server's signature is wrong")]
    Signature,
}

impl ClientStart {
    /// Begins an exchange; the nonce is random and never used twice.
    ///
    /// # Errors
    /// [`ClientError::UserName`], [`ClientError::Password`].
    pub fn new(
        mechanism: Mechanism,
        user: &str,
        password: &[u8],
        nonce: &[u8; NONCE_LEN],
    ) -> Result<Self, ClientError> {
        Self::with_nonce(mechanism, user, password, nonce_text(nonce))
    }

    pub(super) fn with_nonce(
        mechanism: Mechanism,
        user: &str,
        password: &[u8],
        nonce: String,
    ) -> Result<Self, ClientError> {
        let user = prepared_user_name(user).ok_or(ClientError::UserName)?;
        let password = prepared(password).ok_or(ClientError::Password)?;
        let bare = format!("n={},r={nonce}", escaped(user.as_str()));
        Ok(Self { mechanism, password, nonce, bare })
    }

    /// The Authentication Data of CONNECT, or of the AUTH that re-authenticates.
    pub fn message(&self) -> Vec<u8> {
        [GS2_HEADER, &self.bare].concat().into_bytes()
    }

    /// Takes the server's first message; gives the Authentication Data to answer with.
    ///
    /// # Errors
    /// [`ClientError`]; nothing of the password has left then.
    pub fn handle_server_first(
        self,
        message: &[u8],
    ) -> Result<(Vec<u8>, ClientFinal), ClientError> {
        let server_first = text(message)?;
        let first = ServerFirst::parse(server_first)?;
        if first.nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(ClientError::Nonce);
        }
        let iterations =
            allowed(first.iterations).ok_or(ClientError::Iterations(first.iterations))?;
        let keys = Keys::derive(self.mechanism, self.password.as_bytes(), &first.salt, iterations);
        let without_proof = format!("{CHANNEL_BINDING},r={}", first.nonce);
        let messages = [self.bare.as_bytes(), server_first.as_bytes(), without_proof.as_bytes()];
        let proof = self.mechanism.proof(&keys.client, &keys.stored, &messages);
        let signature = self.mechanism.signature(&keys.server, &messages);
        let message = format!("{without_proof},p={}", to_base64(&proof));
        Ok((message.into_bytes(), ClientFinal { signature }))
    }
}

impl ClientFinal {
    /// Takes the server's last message, from CONNACK or AUTH with Reason Code 0x00.
    ///
    /// # Errors
    /// [`ClientError`]: then the server is not to be trusted, whatever its Reason Code says.
    pub fn handle_server_final(self, message: &[u8]) -> Result<(), ClientError> {
        let message = text(message)?;
        let first = message.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            let plain = error.chars().filter(|c| !c.is_control()).take(SERVER_ERROR_LEN_MAX);
            return Err(ClientError::Refused(plain.collect()));
        }
        let signature = first.strip_prefix("v=").ok_or(MalformedMessage::Attributes)?;
        let signature = from_base64(signature).ok_or(MalformedMessage::Value)?;
        if are_equal(&signature, &self.signature) { Ok(()) } else { Err(ClientError::Signature) }
    }
}

impl fmt::Debug for ClientStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStart").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFinal").finish_non_exhaustive()
    }
}
