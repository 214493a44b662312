//! The claims of a token, each at most once and of the type that is asked for.

use super::JwtError;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// The claims by name.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, JwtError> {
        let Once = serde_json::from_slice(json).map_err(|_| JwtError::Claims)?;
        serde_json::from_slice(json).map(Self).map_err(|_| JwtError::Claims)
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

/// JSON in which no object has a member twice, however deep it lies. Nothing is kept of it: how numbers
/// are read is not the same in every build of the library.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Once, A::Error> {
        while values.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, Once)) = map.next_entry::<String, _>()? {
            // Readers differ in which one they take, so that it would mean two things.
            if !names.insert(name) {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Once)
    }
}
