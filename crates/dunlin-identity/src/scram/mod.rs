//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677) as they are used in MQTT 5.0's enhanced
//! authentication: the password never travels, and the server doesn't know it either.
//!
//! ```text
//! client                                        server
//! n,,n=user,r=CLIENT                ──────▶                     CONNECT
//!                                   ◀──────    r=CLIENTSERVER,s=SALT,i=4096      AUTH 0x18
//! c=biws,r=CLIENTSERVER,p=PROOF     ──────▶                     AUTH 0x18
//!                                   ◀──────    v=SIGNATURE      CONNACK
//! ```
//!
//! Channel binding is not offered: what a connection is bound to differs between TLS, QUIC and
//! proxies in front. A client that asks for it (`p=`, `y`) is refused, and so is an authorization
//! identity.

mod client;
mod credentials;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::{ClientError, ClientFinal, ClientStart};
pub use credentials::{Credentials, InvalidCredentials};
pub use message::MalformedMessage;
pub use server::{Challenge, Login, ScramServer, ServerError, ServerState, claimed_user};

use crate::hash::Hash;
use std::fmt;
use std::ops::RangeInclusive;

/// Iterations that credentials may have. Fewer make guessing cheap for whoever steals a file or
/// plays the server (RFC 7677 §4), more would let a server keep its clients busy.
pub const ITERATIONS: RangeInclusive<u32> = 4_096..=100_000;

/// Iterations of new credentials, unless somebody wants it otherwise.
pub const ITERATIONS_DEFAULT: u32 = 4_096;

/// Random bytes in each end's nonce.
pub const NONCE_LEN: usize = 24;

/// Bytes that a message may have; longer ones are refused unread.
pub const MESSAGE_LEN_MAX: usize = 2_048;

/// Which SCRAM it is: the Authentication Method of MQTT 5.0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mechanism(Hash);

impl Mechanism {
    /// SCRAM-SHA-256 of RFC 7677.
    pub const SHA_256: Self = Self(Hash::Sha256);
    /// SCRAM-SHA-512, registered with the same construction.
    pub const SHA_512: Self = Self(Hash::Sha512);
    /// Both.
    pub const ALL: [Self; 2] = [Self::SHA_256, Self::SHA_512];

    /// The mechanism of an Authentication Method; names are compared with case.
    pub fn from_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.method() == method)
    }

    /// The registered name, to be the Authentication Method [MQTT-4.12.0-1].
    pub const fn method(self) -> &'static str {
        match self.0 {
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(crate) const fn hash(self) -> Hash {
        self.0
    }

    /// The client's proof for messages: its key, hidden by a signature that only this exchange has.
    fn proof(self, client_key: &[u8], stored_key: &[u8], messages: &[&[u8]]) -> Vec<u8> {
        xor(client_key, &self.signature(stored_key, messages))
    }

    /// The client's key out of its proof: the same operation once more.
    fn client_key(self, proof: &[u8], stored_key: &[u8], messages: &[&[u8]]) -> Vec<u8> {
        xor(proof, &self.signature(stored_key, messages))
    }

    /// The signature of an exchange, whose messages are joined by commas as `AuthMessage`.
    fn signature(self, key: &[u8], messages: &[&[u8]]) -> Vec<u8> {
        self.hash().hmac(key, &[&messages.join(&b","[..])])
    }
}

impl fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method())
    }
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}
