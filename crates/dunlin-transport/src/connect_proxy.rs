//! A client's way through an HTTP proxy: the method CONNECT (RFC 9110, section 9.3.6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use httparse::EMPTY_HEADER;

use crate::http::{HEADERS_MAX, HeadError, HeadScanner, is_visible, parse_answer};

/// Why a request can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The host is empty or has a character that no host has.
    #[error("the host is not valid in an HTTP request")]
    Host,
    /// A user name with a colon can't be told from its password.
    #[error("a colon in the user name for the proxy")]
    UserName,
}

/// Why the proxy gives no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The head can't be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The proxy wants credentials, or others than these.
    #[error("the proxy demands other credentials")]
    Credentials,
    /// The proxy refuses, or can't reach the host.
    #[error("the proxy answers with status {0}")]
    Status(u16),
}

/// Waits for a proxy's answer to CONNECT.
#[derive(Debug)]
pub struct ConnectProxy {
    scanner: HeadScanner,
}

impl ConnectProxy {
    /// Appends the request for a way to this host to the output; the proxy resolves the name.
    /// Credentials are a user name and a password, sent as they are (Basic, RFC 7617).
    ///
    /// # Errors
    /// [`RequestError`], and nothing is appended.
    pub fn new(
        host: &str,
        port: u16,
        credentials: Option<(&str, &str)>,
        output: &mut BytesMut,
    ) -> Result<Self, RequestError> {
        if !is_visible(host) || host.contains(['/', '?', '#', '@']) {
            return Err(RequestError::Host);
        }
        let authority = authority(host, port);
        let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some((user_name, password)) = credentials {
            if user_name.contains(':') {
                return Err(RequestError::UserName);
            }
            let both = STANDARD.encode(format!("{user_name}:{password}"));
            text.extend(["Proxy-Authorization: Basic ", &both, "\r\n"]);
        }
        text.push_str("\r\n");
        output.extend_from_slice(text.as_bytes());
        Ok(Self { scanner: HeadScanner::default() })
    }

    /// Looks at what has arrived. `false`: more is needed, and the input has to stay as it is.
    /// `true`: the answer has been taken off the input, and what is left comes from the host.
    ///
    /// # Errors
    /// [`ConnectError`]: the connection can't be used.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<bool, ConnectError> {
        let Some(head) = self.scanner.take(input)? else { return Ok(false) };
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        match parse_answer(&head, &mut headers)?.status {
            // An answer to CONNECT has no body, whatever its fields say.
            200..=299 => Ok(true),
            407 => Err(ConnectError::Credentials),
            status => Err(ConnectError::Status(status)),
        }
    }
}

/// A host and port as URLs and `Host` have them: an IPv6 address is put in brackets.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, credentials: Option<(&str, &str)>) -> Result<String, RequestError> {
        let mut output = BytesMut::new();
        ConnectProxy::new(host, 8883, credentials, &mut output)?;
        Ok(String::from_utf8(output.to_vec()).expect("text"))
    }

    /// The answer whole and cut at every byte gives the same.
    fn check(answer: &[u8], expected: Result<bool, ConnectError>, rest: &[u8]) {
        for cut in 0..=answer.len() {
            let mut proxy = ConnectProxy::new("a", 1, None, &mut BytesMut::new()).expect("valid");
            let mut input = BytesMut::from(&answer[..cut]);
            let mut outcome = proxy.handle_input(&mut input);
            input.extend_from_slice(&answer[cut..]);
            if outcome == Ok(false) {
                outcome = proxy.handle_input(&mut input);
            }
            assert_eq!(outcome, expected, "cut at {cut}");
            if outcome == Ok(true) {
                assert_eq!(input, rest, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_request_names_the_host_and_carries_credentials() {
        let plain = "CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\r\n";
        assert_eq!(request("broker.example", None).as_deref(), Ok(plain));
        let with = "CONNECT [2001:db8::1]:8883 HTTP/1.1\r\nHost: [2001:db8::1]:8883\r\n\
                    Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        let credentials = Some(("Aladdin", "open sesame"));
        assert_eq!(request("2001:db8::1", credentials).as_deref(), Ok(with));
    }

    #[test]
    fn nobody_adds_lines_by_a_host() {
        for host in ["", "a b", "a\r\nX: y", "a/b", "u@a", "bücher.example"] {
            assert_eq!(request(host, None), Err(RequestError::Host), "{host:?}");
        }
        assert_eq!(request("a", Some(("b:c", "d"))), Err(RequestError::UserName));
    }

    #[test]
    fn a_way_is_given_and_what_follows_stays() {
        check(
            b"HTTP/1.1 200 Connection established\r\n\r\n \x02\x00\x00",
            Ok(true),
            b" \x02\x00\x00",
        );
        check(b"HTTP/1.0 204 x\r\nContent-Length: 5\r\n\r\nab", Ok(true), b"ab");
    }

    #[test]
    fn other_answers_are_errors() {
        check(b"HTTP/1.1 407 Who?\r\n\r\n", Err(ConnectError::Credentials), b"");
        check(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Err(ConnectError::Status(502)), b"");
        check(b"HTTP/1.1 100 Continue\r\n\r\n", Err(ConnectError::Status(100)), b"");
        check(b"HTTPS 200\r\n\r\n", Err(HeadError::Malformed.into()), b"");
        check(b" HTTP/1.1 200 OK\r\n\r\n", Err(HeadError::Malformed.into()), b"");
    }
}
