//! Who used a session, left a Will or published what is retained, as a part of a stored value.

use super::bytes::{Damage, Reader, Writer, known_flags};
use dunlin_broker::core::{Identity, Rules, Subject};
use dunlin_protocol::codec::Text;
use std::net::IpAddr;
use std::sync::Arc;

const USER: u8 = 1 << 0;
const ADDRESS_V4: u8 = 1 << 1;
const ADDRESS_V6: u8 = 1 << 2;
const LISTENER: u8 = 1 << 3;
const RULES: u8 = 1 << 4;

/// Appends a subject.
pub(crate) fn put_subject(out: &mut Writer, subject: &Subject) {
    let identity = subject.identity();
    let mut flags = 0;
    flags |= if identity.user().is_some() { USER } else { 0 };
    flags |= match subject.address() {
        None => 0,
        Some(IpAddr::V4(_)) => ADDRESS_V4,
        Some(IpAddr::V6(_)) => ADDRESS_V6,
    };
    flags |= if subject.listener().is_some() { LISTENER } else { 0 };
    flags |= if identity.rules().is_some() { RULES } else { 0 };
    out.u8(flags);
    out.short(subject.client_identifier().as_bytes());
    if let Some(user) = identity.user() {
        out.short(user.as_bytes());
    }
    // An identity is in a few dozen groups at most.
    out.u8(u8::try_from(identity.groups().len()).unwrap_or(u8::MAX));
    for group in identity.groups() {
        out.short(group.as_bytes());
    }
    match subject.address() {
        None => {}
        Some(IpAddr::V4(address)) => out.u32(address.to_bits()),
        Some(IpAddr::V6(address)) => {
            out.u64((address.to_bits() >> 64) as u64);
            out.u64(address.to_bits() as u64);
        }
    }
    if let Some(listener) = subject.listener() {
        out.short(listener.as_bytes());
    }
    if let Some(rules) = identity.rules() {
        out.long(rules.text().as_bytes());
    }
}

/// Takes a subject.
pub(crate) fn take_subject(reader: &mut Reader) -> Result<Arc<Subject>, Damage> {
    let flags = known_flags(reader.u8()?, USER | ADDRESS_V4 | ADDRESS_V6 | LISTENER | RULES)?;
    let client_identifier = reader.text()?.detached();
    let user = if flags & USER == 0 { None } else { Some(reader.text()?) };
    let mut groups = Vec::new();
    for _ in 0..reader.u8()? {
        groups.push(reader.text()?);
    }
    let identity = Identity::new(user.as_deref(), groups.iter().map(Text::as_str));
    let mut identity = identity.map_err(|_| Damage::IllegalString)?;
    let address = match flags & (ADDRESS_V4 | ADDRESS_V6) {
        0 => None,
        ADDRESS_V4 => Some(IpAddr::from(reader.u32()?.to_be_bytes())),
        ADDRESS_V6 => {
            let (high, low) = (reader.u64()?, reader.u64()?);
            Some(IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes()))
        }
        _ => return Err(Damage::Impossible),
    };
    let listener = if flags & LISTENER == 0 { None } else { Some(reader.text()?) };
    if flags & RULES != 0 {
        let text = reader.long()?;
        let text = std::str::from_utf8(&text).map_err(|_| Damage::IllegalString)?;
        let rules = Rules::parse(text).map_err(|_| Damage::Impossible)?;
        identity = identity.with_rules(Arc::new(rules));
    }
    let mut subject = Subject::new(Arc::new(identity), client_identifier);
    if let Some(address) = address {
        subject = subject.with_address(address);
    }
    if let Some(listener) = listener {
        subject = subject.with_listener(listener.as_str().into());
    }
    Ok(Arc::new(subject))
}
