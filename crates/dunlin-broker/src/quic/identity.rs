//! What an endpoint keeps over a restart without writing it down: the keys by which it knows the
//! identifiers of its connections, and by which it tells clients that theirs is gone.

#[cfg(test)]
mod tests;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use dunlin_transport::tls::ServerTls;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use quinn_proto::InvalidCid;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An identifier is random, so that none is used again with the same keys, and ends with what only
/// its endpoint can make.
const NONCE_LEN: usize = 8;
const TAG_LEN: usize = 4;
const IDENTIFIER_LEN: usize = NONCE_LEN + TAG_LEN;

/// Between two Stateless Resets: after a restart many clients have to be told, and nobody is told
/// whose packet does not name one of our identifiers.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// The settings of the endpoint at this address. Its keys come from the private key of the certificate,
/// so that they are the same when the broker comes back, and differ from those of every other endpoint
/// with that key: one must not say what ends the connections of another (RFC 9000 §10.3.2).
pub(super) fn endpoint_config(tls: &ServerTls, address: SocketAddr) -> EndpointConfig {
    let place = place(address);
    let key = |purpose: &[u8]| {
        let bytes = tls.derive_key(&[purpose, &place]);
        hmac::Key::new(HMAC_SHA256, &bytes)
    };
    let mut config = EndpointConfig::new(Arc::new(key(b"dunlin quic stateless reset\0")));
    let identifiers = Identifiers(key(b"dunlin quic connection identifier\0"));
    config.cid_generator(move || Box::new(identifiers.clone()));
    config.min_reset_interval(RESET_INTERVAL);
    config
}

/// What is the endpoint's alone: its machine, and its address there.
fn place(address: SocketAddr) -> Vec<u8> {
    let mut place = rustix::system::uname().nodename().to_bytes_with_nul().to_vec();
    // Of two machines with one name; not every system has it.
    place.extend(fs::read("/etc/machine-id").unwrap_or_default());
    place.extend(address.to_string().into_bytes());
    place
}

/// Makes identifiers of connections, and knows them again.
#[derive(Clone)]
struct Identifiers(hmac::Key);

impl Identifiers {
    fn tag(&self, nonce: &[u8]) -> [u8; TAG_LEN] {
        let tag = hmac::sign(&self.0, nonce);
        std::array::from_fn(|at| tag.as_ref()[at])
    }
}

impl ConnectionIdGenerator for Identifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut identifier = [0; IDENTIFIER_LEN];
        let (nonce, tag) = identifier.split_at_mut(NONCE_LEN);
        aws_lc_rs::rand::fill(nonce).expect("the system gives random bytes");
        tag.copy_from_slice(&self.tag(nonce));
        ConnectionId::new(&identifier)
    }

    fn validate(&self, identifier: &ConnectionId) -> Result<(), InvalidCid> {
        let parts = identifier.split_at_checked(NONCE_LEN);
        let is_ours = parts.is_some_and(|(nonce, tag)| tag == self.tag(nonce));
        if is_ours { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        IDENTIFIER_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
