//! The claims of a token, each at most once and of the type that is asked for.

use super::JwtError;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// The claims by name.
pub(crate) struct Claims(BTreeMap<String, Value>);

impl Claims {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, JwtError> {
        serde_json::from_slice(json).map_err(|_| JwtError::Claims)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, JwtError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| JwtError::WrongType(name.to_owned()))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, JwtError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| JwtError::WrongType(name.to_owned()))
    }

    /// A NumericDate (RFC 7519 §2): seconds since 1970, perhaps with a fraction, which is dropped.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<u64>, JwtError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // Casts from floating point saturate; what is negative or not a number is refused before.
        let fraction = || value.as_f64().filter(|seconds| *seconds >= 0.0).map(|s| s as u64);
        let seconds = value.as_u64().or_else(fraction);
        seconds.map(Some).ok_or_else(|| JwtError::WrongType(name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose members are there once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match claims.entry(name) {
                Entry::Vacant(place) => place.insert(value),
                // Readers differ in which one they take, so that it would mean two things.
                Entry::Occupied(_) => return Err(A::Error::custom("a member is there twice")),
            };
        }
        Ok(Claims(claims))
    }
}
