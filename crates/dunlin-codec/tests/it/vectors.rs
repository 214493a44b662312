//! The vectors of `vectors/*.toml`: bytes beside what they mean, or beside what is wrong with them.

use crate::support::{decode, encode};
use dunlin_codec::{DecodeError, ProtocolVersion};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Large enough for all vectors but those that are about size.
const PACKET_SIZE_MAX: u32 = 20_480;

#[derive(Deserialize)]
struct File {
    vector: Vec<Vector>,
}

/// Bytes, and one of `packet`, `error` and `incomplete`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    versions: Vec<String>,
    /// Hexadecimal, with texts in double quotes.
    bytes: String,
    packet: Option<String>,
    /// The name of the variant of [`DecodeError`].
    error: Option<String>,
    statement: Option<String>,
    reason_code: Option<u8>,
    #[serde(default)]
    incomplete: bool,
    /// The encoder says the same in other bytes.
    #[serde(default)]
    other_form: bool,
}

impl Vector {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, part) in self.bytes.split('"').enumerate() {
            if at % 2 == 1 {
                bytes.extend_from_slice(part.as_bytes());
                continue;
            }
            let digits: Vec<u8> = part
                .chars()
                .filter(|character| !character.is_whitespace())
                .map(|digit| digit.to_digit(16).expect("a hexadecimal digit") as u8)
                .collect();
            bytes.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
        }
        bytes
    }

    pub(crate) fn versions(&self) -> impl Iterator<Item = ProtocolVersion> {
        self.versions.iter().map(|version| match version.as_str() {
            "3.1" => ProtocolVersion::V3_1,
            "3.1.1" => ProtocolVersion::V3_1_1,
            "5.0" => ProtocolVersion::V5,
            other => panic!("there is no version {other}"),
        })
    }
}

/// All vectors of all files.
pub(crate) fn all() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of the vectors") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a text");
        vectors.extend(toml::from_str::<File>(&text).expect("a file of vectors").vector);
    }
    vectors
}

/// The name of the variant.
fn name(error: &DecodeError) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn vectors_are_read_as_they_say() {
    for vector in all() {
        for version in vector.versions() {
            check(&vector, version);
        }
    }
}

fn check(vector: &Vector, version: ProtocolVersion) {
    let bytes = vector.bytes();
    let context = format!("{version}: {}", vector.bytes);
    match decode(&bytes, version, PACKET_SIZE_MAX) {
        Ok((None, rest)) => {
            assert!(vector.incomplete, "{context}: not complete");
            assert_eq!(rest, bytes, "{context}: took bytes of an incomplete packet");
        }
        Ok((Some(packet), rest)) => {
            assert_eq!(vector.packet, Some(packet.to_string()), "{context}");
            assert!(rest.is_empty(), "{context}: {} bytes left", rest.len());
            let again = encode(&packet, version);
            assert_eq!(again != bytes, vector.other_form, "{context}: written as {again:02X?}");
            let (decoded, _) = decode(&again, version, PACKET_SIZE_MAX).expect("legal");
            assert_eq!(decoded, Some(packet), "{context}");
        }
        Err(error) => {
            assert_eq!(vector.error, Some(name(&error)), "{context}: {error}");
            assert_eq!(vector.statement.as_deref(), Some(error.statement()), "{context}");
            assert_eq!(vector.reason_code, Some(error.reason_code().value()), "{context}");
        }
    }
}

/// Causes that bytes alone don't have: what the caller's limits refuse, tested beside the decoder.
const BY_LIMITS: [&str; 3] = ["TopicNameTooLong", "TooManyUserProperties", "UserPropertiesTooLong"];

#[test]
fn every_cause_has_a_vector() {
    let source = include_str!("../../src/error/mod.rs");
    let variants = source.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let is_name = line.starts_with(|c: char| c.is_ascii_uppercase());
        is_name.then(|| {
            line.split(|c: char| !c.is_ascii_alphanumeric()).next().expect("a name").to_owned()
        })
    });
    let variants: BTreeSet<String> =
        variants.filter(|variant| !BY_LIMITS.contains(&variant.as_str())).collect();
    assert!(variants.len() >= 40, "found too few variants: {variants:?}");
    let hit: BTreeSet<String> = all().into_iter().filter_map(|vector| vector.error).collect();
    assert_eq!(variants, hit);
}

#[test]
fn there_are_many_vectors() {
    assert!(all().len() >= 200);
}
