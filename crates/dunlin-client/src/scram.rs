//! SCRAM for enhanced authentication: the password is proven, not sent, and the Server proves that it
//! knows it as well.

use crate::Authenticator;
use bytes::Bytes;
use dunlin_identity::scram::{ClientFinal, ClientStart, Mechanism, NONCE_LEN};
use dunlin_protocol::codec::Text;
use std::fmt;

/// An [`Authenticator`] for SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677).
///
/// ```
/// use dunlin_client::{Client, Scram};
///
/// let client = Client::builder("mqtt://127.0.0.1")?
///     .client_identifier("gauge-7")
///     .authenticator(Scram::sha_256("gauge", "open sesame"));
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A Server that does not know the password either is not trusted: the connection ends. Channel
/// binding is not offered, so a Server in the middle is shut out by TLS alone.
pub struct Scram {
    mechanism: Mechanism,
    user_name: String,
    password: Box<[u8]>,
    state: State,
}

/// Which message of the Server is awaited.
enum State {
    None,
    First(ClientStart),
    Final(ClientFinal),
}

impl Scram {
    /// A user with a password, for SCRAM-SHA-256.
    pub fn sha_256(user_name: impl Into<String>, password: impl AsRef<[u8]>) -> Self {
        Self::new(Mechanism::SHA_256, user_name.into(), password.as_ref())
    }

    /// A user with a password, for SCRAM-SHA-512.
    pub fn sha_512(user_name: impl Into<String>, password: impl AsRef<[u8]>) -> Self {
        Self::new(Mechanism::SHA_512, user_name.into(), password.as_ref())
    }

    fn new(mechanism: Mechanism, user_name: String, password: &[u8]) -> Self {
        Self { mechanism, user_name, password: password.into(), state: State::None }
    }
}

impl Authenticator for Scram {
    fn method(&self) -> Text {
        Text::from_static(self.mechanism.method())
    }

    /// Nothing when the name or the password holds what SCRAM forbids: the Server refuses that.
    fn begin(&mut self) -> Option<Bytes> {
        self.state = State::None;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let start = ClientStart::new(self.mechanism, &self.user_name, &self.password, &nonce);
        let start = start.ok()?;
        let message = start.message();
        self.state = State::First(start);
        Some(message.into())
    }

    fn respond(&mut self, challenge: Option<&Bytes>) -> Result<Option<Bytes>, Text> {
        let State::First(start) = std::mem::replace(&mut self.state, State::None) else {
            return Err(Text::from_static("the server asks for more than SCRAM has to say"));
        };
        let challenge = challenge.map_or(&[][..], |data| data);
        let (message, last) = start.handle_server_first(challenge).map_err(|e| told(&e))?;
        self.state = State::Final(last);
        Ok(Some(message.into()))
    }

    fn finish(&mut self, data: Option<&Bytes>) -> Result<(), Text> {
        let State::Final(last) = std::mem::replace(&mut self.state, State::None) else {
            return Err(Text::from_static("the server did not ask for the password's proof"));
        };
        let data = data.map_or(&[][..], |data| data);
        last.handle_server_final(data).map_err(|error| told(&error))
    }
}

fn told(error: &dyn std::error::Error) -> Text {
    Text::try_from(error.to_string()).unwrap_or_default()
}

/// Never shows the password.
impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram")
            .field("mechanism", &self.mechanism)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_identity::scram::{Credentials, ScramServer};

    #[test]
    fn both_ends_prove_themselves() {
        for mut scram in [Scram::sha_256("gauge", "x"), Scram::sha_512("gauge", "x")] {
            let mechanism = scram.mechanism;
            let known = Credentials::derive(mechanism, b"x", &[7; 16], 4_096).unwrap();
            let server = ScramServer::new(mechanism, &[1; 32]);
            for _ in 0..2 {
                let first = scram.begin().unwrap();
                let challenge = server.begin(&first, |_| Some(&known), &[2; NONCE_LEN]).unwrap();
                let answer = scram.respond(Some(&challenge.data.into())).unwrap().unwrap();
                let login = server.finish(&challenge.state, &answer, |_| Some(&known)).unwrap();
                assert_eq!(login.user.as_str(), "gauge");
                assert_eq!(scram.finish(Some(&login.data.into())), Ok(()));
            }
        }
    }

    #[test]
    fn a_server_that_skips_its_part_is_not_trusted() {
        let mut scram = Scram::sha_256("gauge", "x");
        assert!(scram.finish(None).is_err(), "no exchange");
        scram.begin().unwrap();
        assert!(scram.finish(None).is_err(), "no challenge");
        scram.begin().unwrap();
        assert!(scram.respond(None).is_err(), "an empty challenge");
        assert!(scram.respond(None).is_err(), "one more");
        assert!(Scram::sha_256("", "x").begin().is_none());
        assert!(!format!("{:?}", Scram::sha_256("gauge", "secret")).contains("secret"));
    }
}
