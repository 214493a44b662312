//! What a server keeps of a password for SCRAM: salted, and of no use for logging in elsewhere.

use super::{ITERATIONS, Mechanism};
use crate::hash::{are_equal, from_base64, number, to_base64};
use std::fmt;
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// Bytes that a salt read from a file may have.
const SALT_LEN: std::ops::RangeInclusive<usize> = 8..=64;

/// Salt, iterations and the two keys that a server checks with (RFC 5802 §3).
///
/// As text, in password files: `$scram-sha-256$i=4096$SALT$STORED_KEY$SERVER_KEY`, the last three
/// in padded base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) mechanism: Mechanism,
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Vec<u8>,
    pub(super) server_key: Vec<u8>,
}

/// Why something is not, or can't become, SCRAM credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// The text does not have the five parts that [`Credentials`] tells of.
    #[error("not of the form `$scram-sha-256$i=4096$SALT$STORED_KEY$SERVER_KEY`")]
    Malformed,
    /// The iterations are none that [`ITERATIONS`] allows.
    #[error("the iterations must be {} to {}", ITERATIONS.start(), ITERATIONS.end())]
    Iterations,
    /// The salt is not base64, or has another length than 8 to 64 bytes.
    #[error("the salt must be 8 to 64 bytes in base64")]
    Salt,
    /// A key is not base64, or not as long as a digest.
    #[error("a key is not the base64 of a digest")]
    Key,
    /// The password is not UTF-8, or SASLprep (RFC 4013) forbids one of its characters.
    #[error("the password holds what SASLprep forbids")]
    Password,
}

impl Credentials {
    /// Makes the credentials of a password; the salt is random, and of this user alone.
    ///
    /// # Errors
    /// [`InvalidCredentials`] when the password or the iterations are not legal.
    pub fn derive(
        mechanism: Mechanism,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, InvalidCredentials> {
        let iterations = allowed(iterations).ok_or(InvalidCredentials::Iterations)?;
        if !SALT_LEN.contains(&salt.len()) {
            return Err(InvalidCredentials::Salt);
        }
        let password = prepared(password).ok_or(InvalidCredentials::Password)?;
        let keys = Keys::derive(mechanism, password.as_bytes(), salt, iterations);
        Ok(Self {
            mechanism,
            iterations,
            salt: salt.to_vec(),
            stored_key: keys.stored,
            server_key: keys.server,
        })
    }

    /// Reads what [`Credentials::to_string`](ToString::to_string) gives.
    ///
    /// # Errors
    /// [`InvalidCredentials`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidCredentials> {
        let mut parts = text.split('$');
        let mut next = || parts.next().ok_or(InvalidCredentials::Malformed);
        if !next()?.is_empty() {
            return Err(InvalidCredentials::Malformed);
        }
        let name = next()?;
        let mechanism = Mechanism::ALL.into_iter().find(|mechanism| label(*mechanism) == name);
        let mechanism = mechanism.ok_or(InvalidCredentials::Malformed)?;
        let iterations = next()?.strip_prefix("i=").ok_or(InvalidCredentials::Malformed)?;
        let (salt, stored_key, server_key) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(InvalidCredentials::Malformed);
        }
        let iterations = number(iterations).and_then(allowed);
        let salt = from_base64(salt).filter(|salt| SALT_LEN.contains(&salt.len()));
        let key = |text| {
            let key = from_base64(text).filter(|key| key.len() == mechanism.hash().len());
            key.ok_or(InvalidCredentials::Key)
        };
        Ok(Self {
            mechanism,
            iterations: iterations.ok_or(InvalidCredentials::Iterations)?,
            salt: salt.ok_or(InvalidCredentials::Salt)?,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// Which SCRAM they are for: those of one do not serve the other.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// How often the password was hashed.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// Whether they were made of this password: for logins that send it as it is.
    pub fn is_password(&self, password: &[u8]) -> bool {
        // Something is hashed for a password that SASLprep refuses, too: the time tells nothing.
        let prepared = prepared(password);
        let bytes = prepared.as_ref().map_or(&[][..], |prepared| prepared.as_bytes());
        let keys = Keys::derive(self.mechanism, bytes, &self.salt, self.iterations);
        are_equal(&keys.stored, &self.stored_key) && prepared.is_some()
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| to_base64(bytes));
        let (label, iterations) = (label(self.mechanism), self.iterations);
        write!(f, "${label}$i={iterations}${salt}${stored_key}${server_key}")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// The keys of one end or the other, all made of the salted password.
pub(super) struct Keys {
    pub(super) client: Zeroizing<Vec<u8>>,
    pub(super) stored: Vec<u8>,
    pub(super) server: Vec<u8>,
}

impl Keys {
    pub(super) fn derive(
        mechanism: Mechanism,
        password: &[u8],
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Self {
        let hash = mechanism.hash();
        let salted = Zeroizing::new(hash.pbkdf2(password, salt, iterations));
        let client = Zeroizing::new(hash.hmac(&salted, &[b"Client Key"]));
        let stored = hash.digest(&client);
        Self { client, stored, server: hash.hmac(&salted, &[b"Server Key"]) }
    }
}

/// The mechanism's name in password files.
const fn label(mechanism: Mechanism) -> &'static str {
    match mechanism.hash() {
        crate::hash::Hash::Sha256 => "scram-sha-256",
        crate::hash::Hash::Sha512 => "scram-sha-512",
    }
}

/// Iterations that are within [`ITERATIONS`].
pub(super) fn allowed(iterations: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(iterations).filter(|iterations| ITERATIONS.contains(&iterations.get()))
}

/// A password as SASLprep wants it, if it does not forbid it.
pub(super) fn prepared(password: &[u8]) -> Option<Zeroizing<String>> {
    let password = std::str::from_utf8(password).ok()?;
    Some(Zeroizing::new(stringprep::saslprep(password).ok()?.into_owned()))
}
