//! What follows the colon: the kinds of hashes, read, checked and made.

use crate::hash::{Hash, are_equal, from_base64, number};
use crate::scram::{Credentials, InvalidCredentials};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// KiB of memory that a check may take.
const MEMORY_MAX: u32 = 64 << 10;

/// Passes over the memory.
const PASSES_MAX: u32 = 10;

/// Lanes of the memory.
const LANES_MAX: u32 = 4;

/// Bytes of a salt in the PHC format.
const SALT_LEN: RangeInclusive<usize> = 8..=64;

/// Bytes of an argon2 hash.
const HASH_LEN: RangeInclusive<usize> = 16..=64;

/// Bytes of a new argon2 hash.
const NEW_HASH_LEN: usize = 32;

/// Iterations that a line of Mosquitto may ask for; it writes 101.
const MOSQUITTO_ITERATIONS_MAX: u32 = 1_000_000;

/// What a check with argon2id costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// Why a [`Cost`] is none that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "argon2 takes 8 KiB for each lane to {} MiB of memory, 1 to {PASSES_MAX} passes, 1 to {LANES_MAX} lanes",
    MEMORY_MAX >> 10
)]
#[non_exhaustive]
pub struct InvalidCost;

impl Cost {
    /// 19 MiB, 2 passes, 1 lane.
    pub const DEFAULT: Self = Self { memory: 19 << 10, passes: 2, lanes: 1 };

    /// A cost of `memory` KiB, up to 64 MiB; up to 10 passes over it, in up to 4 lanes.
    ///
    /// # Errors
    /// [`InvalidCost`] when one of them is beyond its bound.
    pub fn new(memory: u32, passes: u32, lanes: u32) -> Result<Self, InvalidCost> {
        let legal = (1..=LANES_MAX).contains(&lanes)
            && (1..=PASSES_MAX).contains(&passes)
            && (8 * lanes..=MEMORY_MAX).contains(&memory);
        if legal { Ok(Self { memory, passes, lanes }) } else { Err(InvalidCost) }
    }

    fn argon2(self) -> Option<Argon2<'static>> {
        let params = Params::new(self.memory, self.passes, self.lanes, None).ok()?;
        Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    /// `None` when there is no memory for it.
    fn hash(self, password: &[u8], salt: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut hash = vec![0; len];
        self.argon2()?.hash_password_into(password, salt, &mut hash).ok()?;
        Some(hash)
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why what follows the colon is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// It is of none of the known kinds; the password itself, perhaps.
    #[error(
        "no known hash behind the `:`, which may be the password itself; \
         set it anew with `dunlin passwd FILE USER`"
    )]
    UnknownKind,
    /// Mosquitto's salted SHA-512, which is tried a billion times in a second.
    #[error(
        "`$6$` is one round of SHA-512, too weak to be taken; \
         set the password anew with `dunlin passwd FILE USER` or `mosquitto_passwd`"
    )]
    SingleRound,
    /// argon2i, argon2d, or an old version of argon2id.
    #[error("only argon2id of version 19 is taken; set the password anew")]
    OtherArgon2,
    /// The parameters of argon2 are missing or beyond their bounds.
    #[error("{0}; set the password anew")]
    Cost(#[from] InvalidCost),
    /// The iterations of a line of Mosquitto are missing or beyond their bound.
    #[error(
        "the iterations of `$7$` must be 1 to {MOSQUITTO_ITERATIONS_MAX}; set the password anew"
    )]
    Iterations,
    /// Salt or hash is cut off, not base64, or of another length than can be.
    #[error("the salt or the hash is damaged; set the password anew")]
    Damaged,
    /// A SCRAM line that is wrong.
    #[error("{0}; set the password anew")]
    Scram(#[from] InvalidCredentials),
}

/// The kind of a secret, and the parameters that decide how long a check takes.
pub(super) type SecretCost = (&'static str, [u32; 3]);

/// What a password is checked with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// argon2id, in the PHC string format.
    Argon2 { cost: Cost, salt: Vec<u8>, hash: Vec<u8> },
    /// Mosquitto's `$7$`: PBKDF2 with HMAC of SHA-512.
    Mosquitto { iterations: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    /// Credentials for SCRAM.
    Scram(Credentials),
}

impl Secret {
    /// Makes the hash of a password, with a random salt of 8 to 64 bytes. `None` if there is no
    /// memory for it, or the salt has another length.
    pub(super) fn derive(password: &[u8], cost: Cost, salt: &[u8]) -> Option<Self> {
        let salt = Some(salt).filter(|salt| SALT_LEN.contains(&salt.len()))?;
        let hash = cost.hash(password, salt, NEW_HASH_LEN)?;
        Some(Self::Argon2 { cost, salt: salt.to_vec(), hash })
    }

    pub(super) fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let body = text.strip_prefix('$').ok_or(InvalidSecret::UnknownKind)?;
        let (kind, rest) = body.split_once('$').ok_or(InvalidSecret::UnknownKind)?;
        match kind {
            "argon2id" => parse_argon2(rest),
            "argon2i" | "argon2d" => Err(InvalidSecret::OtherArgon2),
            "7" => parse_mosquitto(rest),
            "6" => Err(InvalidSecret::SingleRound),
            _ if kind.starts_with("scram-") => Ok(Self::Scram(Credentials::parse(text)?)),
            _ => Err(InvalidSecret::UnknownKind),
        }
    }

    /// The credentials, if it is a line for SCRAM.
    pub(super) fn scram(&self) -> Option<&Credentials> {
        match self {
            Self::Scram(credentials) => Some(credentials),
            _ => None,
        }
    }

    /// What a check of it costs: the kind and its parameters.
    pub(super) fn cost(&self) -> SecretCost {
        match self {
            Self::Argon2 { cost: Cost { memory, passes, lanes }, .. } => {
                ("argon2id", [*memory, *passes, *lanes])
            }
            Self::Mosquitto { iterations, .. } => ("7", [iterations.get(), 0, 0]),
            Self::Scram(credentials) => {
                (credentials.mechanism().method(), [credentials.iterations(), 0, 0])
            }
        }
    }

    /// Whether it was made of this password. Takes as long as its cost says.
    pub(super) fn is_password(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2 { cost, salt, hash } => {
                let found = cost.hash(password, salt, hash.len());
                found.is_some_and(|found| are_equal(&found, hash))
            }
            Self::Mosquitto { iterations, salt, hash } => {
                are_equal(&Hash::Sha512.pbkdf2(password, salt, *iterations), hash)
            }
            Self::Scram(credentials) => credentials.is_password(password),
        }
    }
}

/// `v=19$m=19456,t=2,p=1$SALT$HASH`
fn parse_argon2(text: &str) -> Result<Secret, InvalidSecret> {
    let text = text.strip_prefix("v=19$").ok_or(InvalidSecret::OtherArgon2)?;
    let (cost, rest) = text.split_once('$').ok_or(InvalidSecret::Damaged)?;
    let (salt, hash) = rest.split_once('$').ok_or(InvalidSecret::Damaged)?;
    let mut parameters = cost.split(',');
    let mut parameter = |name| {
        let value = parameters.next().and_then(|parameter| parameter.strip_prefix(name));
        value.and_then(number).ok_or(InvalidCost)
    };
    let cost = Cost::new(parameter("m=")?, parameter("t=")?, parameter("p=")?)?;
    if parameters.next().is_some() {
        return Err(InvalidCost.into());
    }
    let decode = |text, len: RangeInclusive<usize>| {
        let bytes = STANDARD_NO_PAD.decode(text).ok();
        bytes.filter(|bytes| len.contains(&bytes.len())).ok_or(InvalidSecret::Damaged)
    };
    Ok(Secret::Argon2 { cost, salt: decode(salt, SALT_LEN)?, hash: decode(hash, HASH_LEN)? })
}

/// `101$SALT$HASH`
fn parse_mosquitto(text: &str) -> Result<Secret, InvalidSecret> {
    let (iterations, rest) = text.split_once('$').ok_or(InvalidSecret::Damaged)?;
    let (salt, hash) = rest.split_once('$').ok_or(InvalidSecret::Damaged)?;
    let iterations = number(iterations).filter(|count| *count <= MOSQUITTO_ITERATIONS_MAX);
    let iterations = iterations.and_then(NonZeroU32::new).ok_or(InvalidSecret::Iterations)?;
    let salt = from_base64(salt).filter(|salt| (1..=64).contains(&salt.len()));
    let hash = from_base64(hash).filter(|hash| hash.len() == Hash::Sha512.len());
    let (salt, hash) = (salt.ok_or(InvalidSecret::Damaged)?, hash.ok_or(InvalidSecret::Damaged)?);
    Ok(Secret::Mosquitto { iterations, salt, hash })
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2 { cost: Cost { memory, passes, lanes }, salt, hash } => {
                let [salt, hash] = [salt, hash].map(|bytes| STANDARD_NO_PAD.encode(bytes));
                write!(f, "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
            }
            Self::Mosquitto { iterations, salt, hash } => {
                let [salt, hash] = [salt, hash].map(|bytes| crate::hash::to_base64(bytes));
                write!(f, "$7${iterations}${salt}${hash}")
            }
            Self::Scram(credentials) => credentials.fmt(f),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2 { .. } => "Argon2(..)",
            Self::Mosquitto { .. } => "Mosquitto(..)",
            Self::Scram(_) => "Scram(..)",
        })
    }
}
