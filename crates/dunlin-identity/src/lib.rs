//! Who is at the other end of an MQTT connection: checks of passwords, tokens, SCRAM exchanges and
//! certificates, as functions of bytes. No sockets, no files, no clocks, no randomness of its own.
//!
//! | | |
//! |---|---|
//! | [`UserName`] | the one validator that every identity passes, wherever it comes from |
//! | [`password_file`] | users with argon2id hashes, Mosquitto's PBKDF2 lines or SCRAM credentials |
//! | [`scram`] | SCRAM-SHA-256 and SCRAM-SHA-512, both ends, for enhanced authentication |
//! | [`jwt`] | signed tokens that carry the user, checked with keys that are configured |
//! | [`jwks`] | key sets of an issuer, and when to fetch them |
//! | [`certificate`] | the user that a verified client certificate names |
//! | [`hook`] | what a back end is asked about a client, and what it answers |
//!
//! What needs the world gets it as an argument: random bytes for salts and nonces, `now` for
//! tokens, the bytes of files and of answers. Nothing here panics on any input, and secrets don't
//! show in `Debug` output.
//!
//! ```
//! use dunlin_identity::password_file::{Cost, PasswordChecker, PasswordFile, Verdict, set_password};
//!
//! let salt = [7; 16]; // random in the field, as is the key below
//! let text = set_password("", "gauge", b"open sesame", Cost::DEFAULT, &salt)?;
//! let checker = PasswordChecker::new(PasswordFile::parse(text.as_bytes())?, &[9; 32], 1_000);
//! assert_eq!(checker.check("gauge", b"open sesame"), Verdict::Right);
//! assert_eq!(checker.check("gauge", b"open barley"), Verdict::Wrong);
//! assert_eq!(checker.check("nobody", b"open sesame"), Verdict::UnknownUser);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! `server` (default) is all of it. Without it there are [`scram`] and [`UserName`]: what a client
//! needs, with no more than a crypto library beneath.

#![forbid(unsafe_code)]

#[cfg(feature = "server")]
pub mod certificate;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
#[cfg(feature = "server")]
pub mod hook;
#[cfg(feature = "server")]
pub mod jwks;
#[cfg(feature = "server")]
pub mod jwt;
#[cfg(feature = "server")]
pub mod password_file;
pub mod scram;
mod user_name;

pub use user_name::{InvalidUserName, USER_NAME_LEN_MAX, UserName};
