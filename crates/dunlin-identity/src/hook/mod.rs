//! What a back end over HTTP is asked about a client, and what its answer says: JSON both ways.
//!
//! The back end is trusted in whom it lets in, and in nothing else: names pass the one validator, and
//! an answer that could be read in two ways is none.

#[cfg(test)]
mod tests;

use crate::certificate::CertificateField;
use crate::jwt::Claims;
use crate::user_name::{InvalidUserName, UserName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::net::IpAddr;
use serde_json::{Map, Value};

/// Bytes that an answer may have.
pub const ANSWER_LEN_MAX: usize = 16 << 10;

/// Bytes of a password that a back end is asked about: as many as a token may have.
pub const PASSWORD_LEN_MAX: usize = crate::jwt::TOKEN_LEN_MAX;

/// Bytes of a Client Identifier that a back end is asked about.
pub const CLIENT_IDENTIFIER_LEN_MAX: usize = 1024;

/// Groups that an answer may name.
pub const GROUPS_MAX: usize = crate::jwt::GROUPS_MAX;

/// What an answer that allows may have.
const MEMBERS: [&str; 5] = ["allow", "user", "groups", "rules", "expires_in"];

/// A client as it is shown to the back end. What is `None` is null there.
#[derive(Clone, Copy, Default)]
pub struct Question<'a> {
    /// The URL of the listener that it came by.
    pub listener: Option<&'a str>,
    /// Where it comes from; `None` without a network.
    pub address: Option<IpAddr>,
    /// The Client Identifier of CONNECT; empty if the server is to choose one.
    pub client_identifier: &'a str,
    /// The User Name of CONNECT.
    pub user_name: Option<&'a str>,
    /// The Password of CONNECT.
    pub password: Option<&'a [u8]>,
    /// The certificate that it has shown and that was verified, in DER.
    pub certificate: Option<&'a [u8]>,
}

impl Question<'_> {
    /// The question as an object of JSON. A password that is not UTF-8 is there as
    /// `password_base64`, and `password` is null.
    pub fn to_json(&self) -> String {
        let text = self.password.map(std::str::from_utf8).transpose();
        let mut members = Map::new();
        let mut member = |name: &str, value: Option<String>| {
            members.insert(name.to_owned(), value.map_or(Value::Null, Value::String));
        };
        member("listener", self.listener.map(str::to_owned));
        member("address", self.address.map(|address| address.to_string()));
        member("client_identifier", Some(self.client_identifier.to_owned()));
        member("user_name", self.user_name.map(str::to_owned));
        match text {
            Ok(password) => member("password", password.map(str::to_owned)),
            Err(_) => {
                member("password", None);
                member("password_base64", self.password.map(|bytes| STANDARD.encode(bytes)));
            }
        }
        let certificate = self.certificate.map_or(Value::Null, names);
        members.insert("certificate".to_owned(), certificate);
        Value::Object(members).to_string()
    }
}

/// The names of a certificate: each that it has once, and that a user may have.
fn names(certificate: &[u8]) -> Value {
    let fields = [
        ("common_name", CertificateField::CommonName),
        ("dns", CertificateField::Dns),
        ("uri", CertificateField::Uri),
        ("email", CertificateField::Email),
        ("subject", CertificateField::Subject),
    ];
    let names = fields.into_iter().filter_map(|(name, field)| {
        let value = field.user(certificate).ok()?;
        Some((name.to_owned(), Value::String(value.as_str().to_owned())))
    });
    Value::Object(names.collect())
}

/// What a back end says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It must not come in.
    Deny,
    /// It may, as this.
    Allow(Vouched),
}

/// Whom a back end lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vouched {
    /// The user; without one it is the one whom the client has named.
    pub user: Option<UserName>,
    /// The groups that the user is in.
    pub groups: Vec<UserName>,
    /// Rules, unread.
    pub rules: Option<Value>,
    /// Seconds after which the login ends; never 0.
    pub expires_in_secs: Option<u64>,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// It has more than [`ANSWER_LEN_MAX`] bytes.
    #[error("the answer is longer than {} KiB", ANSWER_LEN_MAX >> 10)]
    TooLong,
    /// It is not an object of JSON, or one in it has a member twice.
    #[error("the answer is no JSON object, or has a member twice")]
    NotAnObject,
    /// It does not say whether the client may come in.
    #[error("the answer has no `allow`")]
    Missing,
    /// A member is of another type than it must be.
    #[error("`{0}` of the answer is of the wrong type")]
    WrongType(&'static str),
    /// It has a member that nobody knows, which might have been meant to narrow what is allowed.
    #[error("the answer has an unknown member, {0:?}")]
    Unknown(String),
    /// The user or a group is none that may be: the client may have chosen the name.
    #[error("a name in the answer is not legal: {0}")]
    Name(#[from] InvalidUserName),
    /// It names more than [`GROUPS_MAX`] groups.
    #[error("the answer names more than {GROUPS_MAX} groups")]
    TooManyGroups,
}

/// Reads an answer. One that denies may say more, which nobody reads.
///
/// # Errors
/// [`InvalidAnswer`]: nobody is to be let in by it.
pub fn parse(json: &[u8]) -> Result<Answer, InvalidAnswer> {
    if json.len() > ANSWER_LEN_MAX {
        return Err(InvalidAnswer::TooLong);
    }
    let members = Claims::parse(json).map_err(|_| InvalidAnswer::NotAnObject)?;
    let is_allowed = members.get("allow").ok_or(InvalidAnswer::Missing)?;
    if !is_allowed.as_bool().ok_or(InvalidAnswer::WrongType("allow"))? {
        return Ok(Answer::Deny);
    }
    if let Some(unknown) = members.names().find(|name| !MEMBERS.contains(name)) {
        return Err(InvalidAnswer::Unknown(unknown.chars().take(64).collect()));
    }
    // Null is no way to leave something out: it may be what has become of a name that is not known.
    let member = |name| members.get(name);
    let expires_in = member("expires_in").map(|value| value.as_u64().filter(|secs| *secs > 0));
    let expires_in_secs = typed(expires_in, "expires_in")?;
    let user = typed(member("user").map(Value::as_str), "user")?;
    let rules = member("rules").map(|rules| (!rules.is_null()).then(|| rules.clone()));
    let rules = typed(rules, "rules")?;
    let groups = member("groups").map(|groups| {
        groups.as_array().and_then(|groups| groups.iter().map(Value::as_str).collect())
    });
    let groups: Vec<&str> = typed(groups, "groups")?.unwrap_or_default();
    if groups.len() > GROUPS_MAX {
        return Err(InvalidAnswer::TooManyGroups);
    }
    Ok(Answer::Allow(Vouched {
        user: user.map(UserName::new).transpose()?,
        groups: groups.into_iter().map(UserName::new).collect::<Result<_, _>>()?,
        rules,
        expires_in_secs,
    }))
}

/// What a member is; an error if it is there and of another type.
fn typed<T>(member: Option<Option<T>>, name: &'static str) -> Result<Option<T>, InvalidAnswer> {
    member.map(|value| value.ok_or(InvalidAnswer::WrongType(name))).transpose()
}
