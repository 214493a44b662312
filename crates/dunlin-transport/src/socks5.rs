//! A client's way through a SOCKS5 proxy (RFC 1928), with user name and password (RFC 1929).

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{Buf, BytesMut};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0x00;
const USER_NAME_PASSWORD: u8 = 0x02;
const NONE_ACCEPTABLE: u8 = 0xff;
/// Version of the exchange of user name and password.
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why a request can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The host is empty or longer than 255 bytes.
    #[error("a host name for the proxy has 1 to 255 bytes")]
    Host,
    /// User name or password is empty or longer than 255 bytes.
    #[error("user name and password for the proxy have 1 to 255 bytes")]
    Credentials,
}

/// Why the proxy gives no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Socks5Error {
    /// What answers is no SOCKS5 proxy, or one that breaks its rules.
    #[error("the answer is not that of a SOCKS5 proxy")]
    Malformed,
    /// The proxy wants credentials, or another way to log in.
    #[error("the proxy accepts none of the ways to log in")]
    Method,
    /// The proxy refuses these credentials.
    #[error("the proxy refuses user name or password")]
    Credentials,
    /// The proxy can't or won't connect, with its reason.
    #[error("the proxy does not connect: {}", reply_text(*.0))]
    Refused(u8),
}

/// The meanings of RFC 1928, section 6.
const fn reply_text(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "command not supported",
        8 => "kind of address not supported",
        _ => "unknown reason",
    }
}

/// The exchange with a proxy, up to the point from which on it only passes on.
pub struct Socks5 {
    state: State,
    /// What is sent when the proxy asks for it; empty without credentials.
    login: Vec<u8>,
    request: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Login,
    Reply,
}

/// Without the password.
impl std::fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socks5").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Socks5 {
    /// Appends the greeting to the output. The proxy resolves the host's name; credentials are a
    /// user name and a password, sent as they are.
    ///
    /// # Errors
    /// [`RequestError`], and nothing is appended.
    pub fn new(
        host: &str,
        port: u16,
        credentials: Option<(&str, &str)>,
        output: &mut BytesMut,
    ) -> Result<Self, RequestError> {
        let mut request = vec![VERSION, CONNECT, 0];
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            request.push(IPV4);
            request.extend(address.octets());
        } else if let Ok(address) = literal.unwrap_or(host).parse::<Ipv6Addr>() {
            request.push(IPV6);
            request.extend(address.octets());
        } else {
            request.push(NAME);
            push_text(&mut request, host).ok_or(RequestError::Host)?;
        }
        request.extend(port.to_be_bytes());
        let mut login = Vec::new();
        if let Some((user_name, password)) = credentials {
            login.push(LOGIN_VERSION);
            push_text(&mut login, user_name).ok_or(RequestError::Credentials)?;
            push_text(&mut login, password).ok_or(RequestError::Credentials)?;
        }
        let greeting: &[u8] = if login.is_empty() {
            &[VERSION, 1, NO_AUTHENTICATION]
        } else {
            &[VERSION, 2, NO_AUTHENTICATION, USER_NAME_PASSWORD]
        };
        output.extend_from_slice(greeting);
        Ok(Self { state: State::Method, login, request })
    }

    /// Takes the proxy's answers off the input, and appends what comes next to the output. `true`
    /// once the way is open: what is left in the input comes from the host.
    ///
    /// # Errors
    /// [`Socks5Error`]: the connection can't be used.
    pub fn handle_input(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<bool, Socks5Error> {
        loop {
            match (self.state, &input[..]) {
                (State::Method, [VERSION, method, ..]) => {
                    self.state = match *method {
                        NO_AUTHENTICATION => {
                            output.extend_from_slice(&self.request);
                            State::Reply
                        }
                        USER_NAME_PASSWORD if !self.login.is_empty() => {
                            output.extend_from_slice(&self.login);
                            State::Login
                        }
                        NONE_ACCEPTABLE => return Err(Socks5Error::Method),
                        _ => return Err(Socks5Error::Malformed),
                    };
                    input.advance(2);
                }
                (State::Login, [LOGIN_VERSION, status, ..]) => {
                    if *status != 0 {
                        return Err(Socks5Error::Credentials);
                    }
                    output.extend_from_slice(&self.request);
                    self.state = State::Reply;
                    input.advance(2);
                }
                (State::Reply, [VERSION, reply, ..]) if *reply != 0 => {
                    return Err(Socks5Error::Refused(*reply));
                }
                (State::Reply, [VERSION, 0, 0, kind, rest @ ..]) => {
                    // The address from which the proxy connects: of no use here.
                    let address_len = match (*kind, rest.first()) {
                        (IPV4, _) => 4,
                        (IPV6, _) => 16,
                        (NAME, Some(len)) => 1 + usize::from(*len),
                        (NAME, None) => return Ok(false),
                        _ => return Err(Socks5Error::Malformed),
                    };
                    let len = 4 + address_len + 2;
                    if input.len() < len {
                        return Ok(false);
                    }
                    input.advance(len);
                    return Ok(true);
                }
                (State::Method | State::Reply, [] | [VERSION])
                | (State::Login, [] | [LOGIN_VERSION])
                | (State::Reply, [VERSION, 0] | [VERSION, 0, 0]) => return Ok(false),
                _ => return Err(Socks5Error::Malformed),
            }
        }
    }
}

/// Appends a text behind its length in one byte.
fn push_text(target: &mut Vec<u8>, text: &str) -> Option<()> {
    let len = u8::try_from(text.len()).ok().filter(|len| *len > 0)?;
    target.push(len);
    target.extend(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent and left over when these answers come, cut into pieces of each length.
    fn check(
        host: &str,
        credentials: Option<(&str, &str)>,
        answers: &[u8],
        expected: (Result<bool, Socks5Error>, &[u8], &[u8]),
    ) {
        for piece_len in 1..=answers.len().max(1) {
            let mut output = BytesMut::new();
            let mut proxy = Socks5::new(host, 1883, credentials, &mut output).expect("valid");
            let mut input = BytesMut::new();
            let mut outcome = Ok(false);
            for piece in answers.chunks(piece_len) {
                input.extend_from_slice(piece);
                if outcome == Ok(false) {
                    outcome = proxy.handle_input(&mut input, &mut output);
                }
            }
            assert_eq!(outcome, expected.0, "pieces of {piece_len}");
            assert_eq!(output, expected.1, "pieces of {piece_len}");
            if outcome == Ok(true) {
                assert_eq!(input, expected.2, "pieces of {piece_len}");
            }
        }
    }

    #[test]
    fn a_name_goes_to_the_proxy_as_it_is() {
        let sent = b"\x05\x01\x00\x05\x01\x00\x03\x06b.test\x07\x5b";
        let answers = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x10\x00\x20\x02";
        check("b.test", None, answers, (Ok(true), sent, b"\x20\x02"));
    }

    #[test]
    fn addresses_go_as_addresses() {
        let sent = b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x07\x5b";
        let answers = b"\x05\x00\x05\x00\x00\x03\x01a\x10\x00";
        check("192.0.2.7", None, answers, (Ok(true), sent, b""));
        let mut sent = b"\x05\x01\x00\x05\x01\x00\x04".to_vec();
        sent.extend("2001:db8::1".parse::<Ipv6Addr>().expect("valid").octets());
        sent.extend(b"\x07\x5b");
        let mut answers = b"\x05\x00\x05\x00\x00\x04".to_vec();
        answers.extend([7; 18]);
        check("[2001:db8::1]", None, &answers, (Ok(true), &sent, b""));
        check("2001:db8::1", None, &answers, (Ok(true), &sent, b""));
    }

    #[test]
    fn credentials_are_sent_when_asked_for() {
        let greeting = b"\x05\x02\x00\x02";
        let login = b"\x01\x03bob\x02pw";
        let request = b"\x05\x01\x00\x03\x01h\x07\x5b";
        let all = [&greeting[..], login, request].concat();
        let answers = b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0";
        check("h", Some(("bob", "pw")), answers, (Ok(true), &all, b""));
        let unasked = [&greeting[..], request].concat();
        let answers = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0";
        check("h", Some(("bob", "pw")), answers, (Ok(true), &unasked, b""));
        let refused = [&greeting[..], login].concat();
        let expected = (Err(Socks5Error::Credentials), &refused[..], &b""[..]);
        check("h", Some(("bob", "pw")), b"\x05\x02\x01\x01", expected);
    }

    #[test]
    fn refusals_and_nonsense_are_errors() {
        let greeting = b"\x05\x01\x00";
        let connecting = b"\x05\x01\x00\x05\x01\x00\x03\x01h\x07\x5b";
        let check = |answers: &[u8], error, sent: &[u8]| {
            check("h", None, answers, (Err(error), sent, b""));
        };
        check(b"\x05\xff", Socks5Error::Method, greeting);
        check(b"\x05\x02", Socks5Error::Malformed, greeting);
        check(b"\x04\x00", Socks5Error::Malformed, greeting);
        check(b"HTTP/1.1", Socks5Error::Malformed, greeting);
        check(b"\x05\x00\x05\x05\x00\x01", Socks5Error::Refused(5), connecting);
        check(b"\x05\x00\x05\x00\x01", Socks5Error::Malformed, connecting);
        check(b"\x05\x00\x05\x00\x00\x02", Socks5Error::Malformed, connecting);
        assert_eq!(
            Socks5Error::Refused(5).to_string(),
            "the proxy does not connect: connection refused"
        );
    }

    #[test]
    fn texts_that_do_not_fit_are_the_callers_fault() {
        let output = &mut BytesMut::new();
        let long = "x".repeat(256);
        let host = |host: &str, output: &mut BytesMut| Socks5::new(host, 1, None, output).err();
        assert_eq!(host("", output), Some(RequestError::Host));
        assert_eq!(host(&long, output), Some(RequestError::Host));
        assert_eq!(host(&long[1..], output), None);
        let secret = Socks5::new("h", 1, Some(("bob", "hunter2")), output).expect("valid");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let empty = Socks5::new("h", 1, Some(("bob", "")), output).err();
        assert_eq!(empty, Some(RequestError::Credentials));
    }
}
