//! Keys that signatures are checked with, each for algorithms of its own kind.

use super::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use std::fmt;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Bytes that a secret for HMAC must have: those of the smallest digest (RFC 7518 §3.2).
const SECRET_LEN_MIN: usize = 32;

/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Keys that are tried for one token that does not say which one it is.
const TRIED_MAX: usize = 8;

/// A key, and what it may be used for.
#[derive(Clone)]
pub struct VerificationKey {
    identifier: Option<String>,
    /// The only algorithm that its owner wants it used with, if there is one.
    only: Option<Algorithm>,
    kind: Kind,
    key: DecodingKey,
}

/// The kinds of keys, with the algorithms that each serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A secret is shorter than the digests of HMAC.
    #[error("the secret is shorter than {SECRET_LEN_MIN} bytes: it could be guessed")]
    ShortSecret,
    /// There is no PEM block, or it is neither a public key nor a certificate.
    #[error("no public key or certificate in PEM")]
    NotPem,
    /// It is a private key: whoever checks tokens must not be able to make them.
    #[error("a private key; give the public one: `openssl pkey -pubout`")]
    Private,
    /// The key is damaged.
    #[error("the key can't be read")]
    Damaged,
    /// The modulus is too short or too long.
    #[error("RSA keys must have {} to {} bits", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits,
    /// It is a key of a kind that no algorithm here uses.
    #[error("no RSA, P-256, P-384 or Ed25519 key")]
    UnknownKind,
    /// There are more keys without identifiers than are tried for a token.
    #[error(
        "more than {TRIED_MAX} keys: give those that are in use, or a key set with a `kid` each"
    )]
    TooMany,
}

impl VerificationKey {
    /// A secret that issuer and server share, for HMAC.
    ///
    /// # Errors
    /// [`InvalidKey::ShortSecret`] below 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.len() < SECRET_LEN_MIN {
            return Err(InvalidKey::ShortSecret);
        }
        Ok(Self::new(Kind::Hmac, DecodingKey::from_secret(secret)))
    }

    /// A public key in PEM: `PUBLIC KEY`, `RSA PUBLIC KEY`, or that of a `CERTIFICATE`, whose dates
    /// and issuer are not looked at.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok);
        Self::from_block(&block.ok_or(InvalidKey::NotPem)?)
    }

    fn from_block(block: &Pem) -> Result<Self, InvalidKey> {
        match block.label.as_str() {
            "PUBLIC KEY" => {
                let (_, info) = SubjectPublicKeyInfo::from_der(&block.contents)
                    .map_err(|_| InvalidKey::Damaged)?;
                Self::from_public_key(&info)
            }
            "RSA PUBLIC KEY" => {
                let (_, key) =
                    RSAPublicKey::from_der(&block.contents).map_err(|_| InvalidKey::Damaged)?;
                Self::from_rsa(key.modulus, key.exponent)
            }
            "CERTIFICATE" => {
                let (_, certificate) = x509_parser::parse_x509_certificate(&block.contents)
                    .map_err(|_| InvalidKey::Damaged)?;
                Self::from_public_key(certificate.public_key())
            }
            label if label.ends_with("PRIVATE KEY") => Err(InvalidKey::Private),
            _ => Err(InvalidKey::NotPem),
        }
    }

    fn from_public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, InvalidKey> {
        /// id-Ed25519 of RFC 8410.
        const ED25519: &str = "1.3.101.112";
        if info.algorithm.algorithm.to_id_string() == ED25519 {
            return Self::from_ed25519(&info.subject_public_key.data);
        }
        match info.parsed().map_err(|_| InvalidKey::Damaged)? {
            PublicKey::RSA(key) => Self::from_rsa(key.modulus, key.exponent),
            PublicKey::EC(point) => Self::from_point(point.data()),
            _ => Err(InvalidKey::UnknownKind),
        }
    }

    pub(crate) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidKey> {
        let [modulus, exponent] = [modulus, exponent].map(|number| {
            let zeroes = number.iter().take_while(|byte| **byte == 0).count();
            &number[zeroes..]
        });
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&(modulus.len() * 8 - unused)) {
            return Err(InvalidKey::RsaBits);
        }
        // With an exponent of one, every signature would be right.
        let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent == [1] || exponent.len() > 8 {
            return Err(InvalidKey::Damaged);
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(Kind::Rsa, key))
    }

    /// A point that is not compressed; its length tells the curve.
    pub(crate) fn from_point(point: &[u8]) -> Result<Self, InvalidKey> {
        let kind = match (point.first(), point.len()) {
            (Some(4), 65) => Kind::P256,
            (Some(4), 97) => Kind::P384,
            _ => return Err(InvalidKey::UnknownKind),
        };
        Ok(Self::new(kind, DecodingKey::from_ec_der(point)))
    }

    pub(crate) fn from_ed25519(bytes: &[u8]) -> Result<Self, InvalidKey> {
        if bytes.len() != 32 {
            return Err(InvalidKey::Damaged);
        }
        Ok(Self::new(Kind::Ed25519, DecodingKey::from_ed_der(bytes)))
    }

    fn new(kind: Kind, key: DecodingKey) -> Self {
        Self { identifier: None, only: None, kind, key }
    }

    /// Gives the key the identifier (`kid`) by which tokens ask for it.
    #[must_use]
    pub fn with_identifier(mut self, identifier: &str) -> Self {
        self.identifier = Some(identifier.to_owned());
        self
    }

    /// Binds the key to one algorithm; one of another kind leaves it without any use.
    #[must_use]
    pub fn only_for(mut self, algorithm: Algorithm) -> Self {
        self.only = Some(algorithm);
        self
    }

    /// The identifier, if it has one.
    pub fn identifier(&self) -> Option<&str> {
        self.identifier.as_deref()
    }

    /// Whether signatures of this algorithm may be checked with it.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512};
        let kind = match algorithm {
            Hs256 | Hs384 | Hs512 => Kind::Hmac,
            Es256 => Kind::P256,
            Es384 => Kind::P384,
            EdDsa => Kind::Ed25519,
            _ => Kind::Rsa,
        };
        kind == self.kind && self.only.is_none_or(|only| only == algorithm)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        // Not by the process's default provider, which panics when a program enables two.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm.inner(), &self.key);
        let verified =
            verifier.is_ok_and(|verifier| verifier.verify(signed, &signature.to_vec()).is_ok());
        self.serves(algorithm) && verified
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("identifier", &self.identifier)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The keys among which a token's header chooses.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
}

impl KeySet {
    /// A set of keys.
    pub fn new(keys: Vec<VerificationKey>) -> Self {
        Self { keys }
    }

    /// The keys of all blocks of PEM, each as [`VerificationKey::from_pem`] reads it; none of them
    /// has an identifier.
    ///
    /// # Errors
    /// [`InvalidKey`] for the first block that is wrong, when there is none, and when there are more
    /// than are tried for a token.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        let mut keys = Vec::new();
        for block in Pem::iter_from_buffer(pem) {
            if keys.len() == TRIED_MAX {
                return Err(InvalidKey::TooMany);
            }
            keys.push(VerificationKey::from_block(&block.map_err(|_| InvalidKey::NotPem)?)?);
        }
        if keys.is_empty() { Err(InvalidKey::NotPem) } else { Ok(Self { keys }) }
    }

    /// Whether a key is there for this algorithm.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.serves(algorithm))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> &[VerificationKey] {
        &self.keys
    }

    /// Whether one of the keys has this identifier.
    pub fn names(&self, identifier: &str) -> bool {
        self.keys.iter().any(|key| key.identifier() == Some(identifier))
    }

    /// Those that may have signed a token: with its identifier if it names one that is known,
    /// otherwise those that have none. A token without an identifier may have been signed by any that
    /// serves its algorithm. A few of them at most: each costs time.
    pub(super) fn candidates(
        &self,
        identifier: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &VerificationKey> {
        let named = identifier.is_some_and(|identifier| self.names(identifier));
        let fits = move |key: &&VerificationKey| match key.identifier() {
            _ if identifier.is_none() => true,
            Some(own) => identifier == Some(own),
            None => !named,
        };
        self.keys.iter().filter(move |key| key.serves(algorithm)).filter(fits).take(TRIED_MAX)
    }
}

/// A number or a point's coordinate in a key set's JSON.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
