//! JSON Web Key Sets (RFC 7517): the public keys that an issuer of tokens offers at a URL.

mod cache;
#[cfg(test)]
mod tests;

pub use cache::{KeySetCache, Timing};

use crate::jwt::{Algorithm, InvalidKey, KeySet, VerificationKey, from_base64url};
use serde_json::{Map, Value};

/// Keys that a set may have.
pub const KEYS_MAX: usize = 64;

/// Bytes that a set may have.
pub const SET_LEN_MAX: usize = 256 << 10;

/// Why an answer is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeySet {
    /// It is larger than [`SET_LEN_MAX`].
    #[error("the key set is larger than {} KiB", SET_LEN_MAX >> 10)]
    TooLarge,
    /// It is not JSON, or has no list `keys`.
    #[error("no JSON object with a list `keys`")]
    NotASet,
    /// It has more than [`KEYS_MAX`] keys.
    #[error("the set has more than {KEYS_MAX} keys")]
    TooManyKeys,
    /// None of the keys can be used here.
    #[error(
        "no key in the set can be used: RSA from 2048 bits, P-256, P-384 or Ed25519, for signatures"
    )]
    NoKey,
}

/// Reads a key set. Keys of other kinds, for other purposes, or that are too weak are left out, as
/// RFC 7517 §5 asks; so are shared secrets, which have no place in a public document, and the later
/// one of two with the same identifier and kind.
///
/// # Errors
/// [`InvalidKeySet`]; the set that was in force should stay then.
pub fn parse(json: &[u8]) -> Result<KeySet, InvalidKeySet> {
    if json.len() > SET_LEN_MAX {
        return Err(InvalidKeySet::TooLarge);
    }
    let json: Value = serde_json::from_slice(json).map_err(|_| InvalidKeySet::NotASet)?;
    let keys = json.get("keys").and_then(Value::as_array).ok_or(InvalidKeySet::NotASet)?;
    if keys.len() > KEYS_MAX {
        return Err(InvalidKeySet::TooManyKeys);
    }
    let mut usable: Vec<VerificationKey> = Vec::new();
    for key in keys.iter().filter_map(Value::as_object).filter_map(key) {
        let same = |other: &VerificationKey| {
            key.identifier().is_some()
                && other.identifier() == key.identifier()
                && Algorithm::ALL.iter().any(|of| other.serves(*of) && key.serves(*of))
        };
        if !usable.iter().any(same) {
            usable.push(key);
        }
    }
    if usable.is_empty() { Err(InvalidKeySet::NoKey) } else { Ok(KeySet::new(usable)) }
}

/// A key, if it is one that signatures are checked with.
fn key(members: &Map<String, Value>) -> Option<VerificationKey> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(from_base64url);
    if members.get("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(operations) = members.get("key_ops") {
        operations.as_array()?.iter().find(|operation| *operation == "verify")?;
    }
    let key = match (text("kty")?, text("crv")) {
        ("RSA", _) => VerificationKey::from_rsa(&bytes("n")?, &bytes("e")?),
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let len = if curve == "P-256" { 32 } else { 48 };
            if x.len() != len || y.len() != len {
                return None;
            }
            VerificationKey::from_point(&[&[4], &x[..], &y].concat())
        }
        ("OKP", Some("Ed25519")) => VerificationKey::from_ed25519(&bytes("x")?),
        _ => Err(InvalidKey::UnknownKind),
    };
    let mut key = key.ok()?;
    if members.contains_key("alg") {
        let algorithm = text("alg")?.parse().ok()?;
        key = key.only_for(algorithm);
        key.serves(algorithm).then_some(())?;
    }
    if members.contains_key("kid") {
        key = key.with_identifier(text("kid")?);
    }
    Some(key)
}
