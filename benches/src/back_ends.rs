//! A broker that knows its clients by a back end, the back end, clients that log in by it, and a pair of
//! clients at another listener who should notice nothing of all that.

mod broker;
mod logins;
mod pair;
mod server;

pub use broker::{Asking, USER};
pub use logins::{Logins, Outcomes, wait_until_well};
pub use pair::Pair;
pub use server::{BackEnd, Mood};

use crate::frame::{CONNECT, push_frame, push_string};

/// Appends a CONNECT with a User Name and a password.
fn push_login(out: &mut Vec<u8>, client_identifier: &str, user: &str, password: &str) {
    let mut body = b"\x00\x04MQTT\x04\xC2\xFF\xFF".to_vec();
    for text in [client_identifier, user, password] {
        push_string(&mut body, text.as_bytes());
    }
    push_frame(out, CONNECT, &body);
}
