//! The four messages of an exchange, taken apart and checked; what they are signed over stays the
//! bytes that came.

use super::{MESSAGE_LEN_MAX, NONCE_LEN};
use crate::UserName;
use crate::hash::{from_base64, number};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The header that says: no channel binding wanted, no other identity.
pub(super) const GS2_HEADER: &str = "n,,";

/// The same in base64, as the client repeats it under its signature.
pub(super) const CHANNEL_BINDING: &str = "c=biws";

/// Characters that the other end's part of a nonce may have.
const NONCE_TEXT_MAX: usize = 256;

/// Why a message of the other end is not one of SCRAM, or asks for what is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedMessage {
    /// It is longer than [`MESSAGE_LEN_MAX`] bytes.
    #[error("the message is longer than {MESSAGE_LEN_MAX} bytes")]
    TooLong,
    /// It is not UTF-8 (RFC 5802 §5.1).
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// The client wants channel binding (`p=`), or would have wanted it (`y`).
    #[error("channel binding is not offered: begin with `n,,`")]
    ChannelBinding,
    /// The client names an identity beside its own (`a=`).
    #[error("an authorization identity is not taken")]
    AuthorizationIdentity,
    /// An extension is mandatory (`m=`), and none is known here.
    #[error("a mandatory extension is unknown")]
    MandatoryExtension,
    /// An attribute is missing, doubled or out of its order.
    #[error("the attributes are not those that belong here, in their order")]
    Attributes,
    /// The nonce is empty, too long, or holds what is not printable ASCII.
    #[error("the nonce is empty, too long or not printable")]
    Nonce,
    /// The user's name has `=` other than as `=2C` or `=3D`, or is none that may be.
    #[error("the user name is not legal")]
    UserName,
    /// The salt, proof or signature is not base64, or not of the length that it must have.
    #[error("a value is not base64 of its length")]
    Value,
    /// The number of iterations is not a number.
    #[error("the iterations are not a number")]
    Iterations,
}

/// Random bytes as text without commas.
pub(super) fn nonce_text(nonce: &[u8; NONCE_LEN]) -> String {
    URL_SAFE_NO_PAD.encode(nonce)
}

/// The text of a message, if it is one of acceptable length.
pub(super) fn text(message: &[u8]) -> Result<&str, MalformedMessage> {
    if message.len() > MESSAGE_LEN_MAX {
        return Err(MalformedMessage::TooLong);
    }
    std::str::from_utf8(message).map_err(|_| MalformedMessage::NotUtf8)
}

/// What a client opens with.
pub(super) struct ClientFirst<'a> {
    /// The message without its header: signed.
    pub(super) bare: &'a str,
    /// The user's name, unescaped and prepared.
    pub(super) user: UserName,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, MalformedMessage> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(MalformedMessage::Attributes)?;
        if flag == "y" || flag.starts_with("p=") {
            return Err(MalformedMessage::ChannelBinding);
        }
        let (identity, bare) = rest.split_once(',').ok_or(MalformedMessage::Attributes)?;
        if flag != "n" {
            return Err(MalformedMessage::Attributes);
        }
        if !identity.is_empty() {
            return Err(MalformedMessage::AuthorizationIdentity);
        }
        Self::parse_bare(bare)
    }

    /// The part behind the header, which the server's state keeps.
    pub(super) fn parse_bare(bare: &'a str) -> Result<Self, MalformedMessage> {
        let mut attributes = bare.split(',');
        let user = user_name(expect(attributes.next(), "n=")?)?;
        let nonce = expect(attributes.next(), "r=")?;
        extensions(attributes)?;
        Ok(Self { bare, user, nonce: checked_nonce(nonce)? })
    }
}

/// What a server answers with.
pub(super) struct ServerFirst<'a> {
    /// Both ends' nonces, the client's first.
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, MalformedMessage> {
        let mut attributes = message.split(',');
        let nonce = expect(attributes.next(), "r=")?;
        let salt = expect(attributes.next(), "s=")?;
        let iterations = expect(attributes.next(), "i=")?;
        extensions(attributes)?;
        let salt = from_base64(salt).filter(|salt| !salt.is_empty());
        Ok(Self {
            nonce: checked_nonce(nonce)?,
            salt: salt.ok_or(MalformedMessage::Value)?,
            iterations: number(iterations).ok_or(MalformedMessage::Iterations)?,
        })
    }
}

/// What a client proves its password with.
pub(super) struct ClientFinal<'a> {
    /// The message up to the proof: signed.
    pub(super) without_proof: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, MalformedMessage> {
        let message = text(message)?;
        let (without_proof, proof) =
            message.rsplit_once(',').ok_or(MalformedMessage::Attributes)?;
        let proof = expect(Some(proof), "p=")?;
        let mut attributes = without_proof.split(',');
        match attributes.next() {
            Some(CHANNEL_BINDING) => {}
            Some(binding) if binding.starts_with("c=") => {
                return Err(MalformedMessage::ChannelBinding);
            }
            _ => return Err(MalformedMessage::Attributes),
        }
        let nonce = expect(attributes.next(), "r=")?;
        extensions(attributes)?;
        let proof = from_base64(proof).ok_or(MalformedMessage::Value)?;
        // The nonce here is both ends' together; it is compared, so its length needs no bound.
        Ok(Self { without_proof, nonce, proof })
    }
}

/// The value of an attribute that must come next.
fn expect<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, MalformedMessage> {
    let attribute = attribute.ok_or(MalformedMessage::Attributes)?;
    if attribute.starts_with("m=") {
        return Err(MalformedMessage::MandatoryExtension);
    }
    attribute.strip_prefix(name).ok_or(MalformedMessage::Attributes)
}

/// Extensions are skipped, if they have the form of attributes and don't insist (RFC 5802 §5.1).
fn extensions<'a>(mut attributes: impl Iterator<Item = &'a str>) -> Result<(), MalformedMessage> {
    attributes.try_for_each(|attribute| match attribute.as_bytes() {
        [b'm', b'=', ..] => Err(MalformedMessage::MandatoryExtension),
        [name, b'=', ..] if name.is_ascii_alphabetic() => Ok(()),
        _ => Err(MalformedMessage::Attributes),
    })
}

fn checked_nonce(nonce: &str) -> Result<&str, MalformedMessage> {
    let printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
    if nonce.is_empty() || nonce.len() > NONCE_TEXT_MAX || !printable {
        return Err(MalformedMessage::Nonce);
    }
    Ok(nonce)
}

/// A name as it may stand between commas.
pub(super) fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// The opposite of [`escaped`], prepared by SASLprep and checked.
fn user_name(escaped: &str) -> Result<UserName, MalformedMessage> {
    let mut name = String::with_capacity(escaped.len());
    let mut parts = escaped.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match part.get(..2) {
            Some("2C") => (',', &part[2..]),
            Some("3D") => ('=', &part[2..]),
            _ => return Err(MalformedMessage::UserName),
        };
        name.push(character);
        name.push_str(rest);
    }
    prepared_user_name(&name).ok_or(MalformedMessage::UserName)
}

/// A user's name as SASLprep wants it, if that is one that users may have.
pub(super) fn prepared_user_name(name: &str) -> Option<UserName> {
    let name = stringprep::saslprep(name).ok()?;
    UserName::new(&name).ok()
}
