//! JSON Web Tokens (RFC 7519) as passwords: signed by somebody whose key is configured, short-lived,
//! and made for this server.
//!
//! What a token says of itself decides nothing: its header chooses among the keys and algorithms
//! that are configured, and an algorithm serves only keys of its own kind.

mod algorithm;
mod claims;
mod key;
#[cfg(test)]
pub(crate) mod tests;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub(crate) use claims::Claims;
pub(crate) use key::from_base64url;
pub use key::{InvalidKey, KeySet, VerificationKey};

use crate::user_name::{InvalidUserName, UserName};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Bytes that a token may have.
pub const TOKEN_LEN_MAX: usize = 8 << 10;

/// Groups that a token may name.
pub const GROUPS_MAX: usize = 64;

/// What a token must be like. Made with [`JwtRules::new`], then changed field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtRules {
    /// The algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// If not empty, the token must be meant for one of these (`aud`). If empty, a token that is
    /// meant for somebody is refused: it was not made for this server.
    pub audiences: Vec<String>,
    /// If not empty, the token must be issued by one of these (`iss`).
    pub issuers: Vec<String>,
    /// The claim that names the user: `sub`.
    pub user_claim: String,
    /// The claim that binds a Client Identifier: `client_identifier`. A token without it serves any.
    pub client_identifier_claim: String,
    /// The claim that names groups, as a list of strings: `groups`.
    pub groups_claim: String,
    /// The claim that is handed on as it is, for whoever decides about rights: `rules`.
    pub rules_claim: String,
    /// Whether the User Name of CONNECT, if there is one, must be the user of the token: yes.
    pub binds_user_name: bool,
    /// Seconds by which clocks may differ: 5.
    pub leeway_secs: u64,
}

/// What a client said beside its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The User Name of CONNECT.
    pub user_name: Option<&'a str>,
    /// The Client Identifier of CONNECT.
    pub client_identifier: &'a str,
}

/// What a token that is valid says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The user.
    pub user: UserName,
    /// The groups that the user is in, by the issuer's word.
    pub groups: Vec<UserName>,
    /// The Client Identifier that the token is bound to, if it is.
    pub client_identifier: Option<String>,
    /// The claim of rules, unread.
    pub rules: Option<Value>,
    /// When the login ends, in seconds since 1970; the leeway is added already.
    pub expires_at: u64,
}

/// Why a token is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// It does not look like a token at all: another method may know what it is.
    #[error("not a token: not an object in three parts of base64url between two dots")]
    NotAToken,
    /// It has more than [`TOKEN_LEN_MAX`] bytes.
    #[error("the token is longer than {TOKEN_LEN_MAX} bytes")]
    TooLong,
    /// The header is not legal JSON, names no algorithm that is known (`none` is not), or insists on
    /// extensions.
    #[error("the header of the token is not legal")]
    Header,
    /// The algorithm is known but not configured.
    #[error("tokens with {0} are not accepted")]
    Algorithm(Algorithm),
    /// There is no key for the token's algorithm and key identifier. Other keys may have to be
    /// fetched.
    #[error("there is no key for the token")]
    UnknownKey,
    /// No key is for the token's algorithm, and the token does not say which one it wants: there is
    /// none to wait for.
    #[error("there is no key for {0}, and the token names none")]
    NoKey(Algorithm),
    /// No key made this signature.
    #[error("the signature is wrong")]
    Signature,
    /// The claims are not an object of JSON, or name something twice.
    #[error("the claims are not an object, or one is there twice")]
    Claims,
    /// A claim that must be there is missing.
    #[error("the claim `{0}` is missing")]
    Missing(String),
    /// A claim is of another type than it must be: a time that is text, for example.
    #[error("the claim `{0}` is of the wrong type")]
    WrongType(String),
    /// The token has expired.
    #[error("the token has expired, by its claim `exp`")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet, by its claim `nbf`")]
    NotYet,
    /// The token was made for another server.
    #[error("the token was made for another audience, by its claim `aud`")]
    Audience,
    /// The token was made by somebody who is not trusted here.
    #[error("the token was made by another issuer, by its claim `iss`")]
    Issuer,
    /// A claim names a user or a group that is none that may be.
    #[error("a name in the claim `{0}` is not legal: {1}")]
    Name(String, InvalidUserName),
    /// The User Name of CONNECT is another than this claim.
    #[error("the token is for another user name, by its claim `{0}`")]
    UserName(String),
    /// The token is bound to another Client Identifier by this claim.
    #[error("the token is for another client identifier, by its claim `{0}`")]
    ClientIdentifier(String),
    /// The claim names more than [`GROUPS_MAX`] groups.
    #[error("the claim `{0}` names more than {GROUPS_MAX} groups")]
    TooManyGroups(String),
}

impl JwtRules {
    /// Rules that take tokens of these algorithms, with the defaults that each field names.
    pub fn new(algorithms: &[Algorithm]) -> Self {
        Self {
            algorithms: algorithms.to_vec(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            user_claim: "sub".to_owned(),
            client_identifier_claim: "client_identifier".to_owned(),
            groups_claim: "groups".to_owned(),
            rules_claim: "rules".to_owned(),
            binds_user_name: true,
            leeway_secs: 5,
        }
    }

    /// Checks a token; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`JwtError`] for the first thing that is wrong. Nothing that the token says is believed
    /// before its signature is checked.
    pub fn verify(
        &self,
        now: u64,
        token: &[u8],
        keys: &KeySet,
        presented: Presented<'_>,
    ) -> Result<Verified, JwtError> {
        let token = Token::split(token)?;
        let header = jsonwebtoken::decode_header(token.whole).map_err(|_| JwtError::Header)?;
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(JwtError::Header);
        }
        let algorithm = Algorithm::of(header.alg).ok_or(JwtError::Header)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(JwtError::Algorithm(algorithm));
        }
        let signature = URL_SAFE_NO_PAD.decode(token.signature).map_err(|_| JwtError::Signature)?;
        let identifier = header.kid.as_deref();
        let mut candidates = keys.candidates(identifier, algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(identifier.map_or(JwtError::NoKey(algorithm), |_| JwtError::UnknownKey));
        }
        if !candidates.any(|key| key.verifies(algorithm, token.signed, &signature)) {
            let unknown = identifier.is_some_and(|identifier| !keys.names(identifier));
            return Err(if unknown { JwtError::UnknownKey } else { JwtError::Signature });
        }
        let claims = URL_SAFE_NO_PAD.decode(token.claims).map_err(|_| JwtError::Claims)?;
        self.check(now, &Claims::parse(&claims)?, presented)
    }

    fn check(
        &self,
        now: u64,
        claims: &Claims,
        presented: Presented<'_>,
    ) -> Result<Verified, JwtError> {
        let expires_at = claims.seconds("exp")?.ok_or(JwtError::Missing("exp".to_owned()))?;
        let expires_at = expires_at.saturating_add(self.leeway_secs);
        if now >= expires_at {
            return Err(JwtError::Expired);
        }
        let not_before = claims.seconds("nbf")?.unwrap_or_default();
        if not_before > now.saturating_add(self.leeway_secs) {
            return Err(JwtError::NotYet);
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        let user = claims.text(&self.user_claim)?;
        let user = user.ok_or_else(|| JwtError::Missing(self.user_claim.clone()))?;
        let user = name_in(&self.user_claim, user)?;
        let user_name = presented.user_name.filter(|_| self.binds_user_name);
        if user_name.is_some_and(|user_name| user_name != user.as_str()) {
            return Err(JwtError::UserName(self.user_claim.clone()));
        }
        let client_identifier = claims.text(&self.client_identifier_claim)?;
        if client_identifier.is_some_and(|bound| bound != presented.client_identifier) {
            return Err(JwtError::ClientIdentifier(self.client_identifier_claim.clone()));
        }
        let groups = claims.texts(&self.groups_claim)?.unwrap_or_default();
        if groups.len() > GROUPS_MAX {
            return Err(JwtError::TooManyGroups(self.groups_claim.clone()));
        }
        let groups = groups.into_iter().map(|group| name_in(&self.groups_claim, group));
        let groups = groups.collect::<Result<_, _>>()?;
        Ok(Verified {
            user,
            groups,
            client_identifier: client_identifier.map(str::to_owned),
            rules: claims.get(&self.rules_claim).cloned(),
            expires_at,
        })
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), JwtError> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        let issuer = claims.text("iss")?.ok_or_else(|| JwtError::Missing("iss".to_owned()))?;
        if self.issuers.iter().any(|trusted| trusted == issuer) {
            Ok(())
        } else {
            Err(JwtError::Issuer)
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), JwtError> {
        let meant_for = match claims.get("aud") {
            None if self.audiences.is_empty() => return Ok(()),
            None => return Err(JwtError::Missing("aud".to_owned())),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(_) => claims.texts("aud")?.unwrap_or_default(),
        };
        let ours = |audience: &&str| self.audiences.iter().any(|ours| ours == audience);
        if meant_for.iter().any(ours) { Ok(()) } else { Err(JwtError::Audience) }
    }
}

/// A name that a claim has.
fn name_in(claim: &str, name: &str) -> Result<UserName, JwtError> {
    UserName::new(name).map_err(|error| JwtError::Name(claim.to_owned(), error))
}

/// Whether a password looks like a token: three parts of base64url between two dots, the first of
/// them an object of JSON. A method that checks tokens leaves all others to the next one.
pub fn is_token(password: &[u8]) -> bool {
    !matches!(Token::split(password), Err(JwtError::NotAToken))
}

/// Whether base64url begins with what `{` comes to: the six bits of `e`, and two more. A password
/// with two dots in it is a token seldom enough then.
fn opens_object(header: &[u8]) -> bool {
    matches!(header, [b'e', b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_', ..])
}

/// A token in its three parts.
struct Token<'a> {
    whole: &'a [u8],
    /// Header and claims with the dot between them.
    signed: &'a [u8],
    claims: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    fn split(whole: &'a [u8]) -> Result<Self, JwtError> {
        let mut parts = whole.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtError::NotAToken);
        };
        let base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // The signature of an unsigned token is empty: that is a token, and a bad one.
        if !opens_object(header)
            || claims.is_empty()
            || ![header, claims, signature].into_iter().flatten().all(base64url)
        {
            return Err(JwtError::NotAToken);
        }
        if whole.len() > TOKEN_LEN_MAX {
            return Err(JwtError::TooLong);
        }
        let signed = &whole[..header.len() + 1 + claims.len()];
        Ok(Self { whole, signed, claims, signature })
    }
}
