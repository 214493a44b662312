//! The client's side of the upgrade: the request, and the check of the answer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Header};

use super::accept_value;
use crate::http::{
    HEADERS_MAX, HeadError, HeadScanner, has_token, is_field_name, is_field_value, is_visible,
    parse_answer, single, tokens,
};

/// How an alert begins: a record of TLS, which is no letter.
const TLS_ALERT: u8 = 0x15;

/// The longest location that is told.
const LOCATION_LEN_MAX: usize = 512;

/// What a client asks for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The `Host`: a name or address, with the port unless it is the scheme's own.
    pub host: &'a str,
    /// The path with its query, beginning with `/`.
    pub path: &'a str,
    /// Header fields besides those of the handshake, as `Authorization`.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Values of headers are often secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("host", &self.host)
            .field("path", &self.path)
            .field("headers", &names)
            .finish()
    }
}

/// Why a request can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The host is empty or has a character that no host has.
    #[error("the host is not valid in an HTTP request")]
    Host,
    /// The path doesn't begin with `/`, or has a character that belongs encoded.
    #[error("the path is not valid in an HTTP request")]
    Path,
    /// A header field whose name or value is not valid, or which belongs to the handshake.
    #[error("a header field is not valid in this request")]
    Header,
}

/// Why the answer is no upgrade.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The head can't be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The server answers with an alert of TLS.
    #[error("the server speaks TLS")]
    Tls,
    /// The server refuses with this status.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// The server sends elsewhere.
    #[error("the server answers with status {status}, which leads to {location}")]
    Moved {
        /// From 300 to 399.
        status: u16,
        /// The URL, which may be relative, as the server has it; visible ASCII.
        location: String,
    },
    /// The server switches to something else.
    #[error("the answer is not an upgrade to websocket")]
    NoUpgrade,
    /// The answer is to another request: a cache or a program that knows nothing of WebSocket.
    #[error("the answer does not accept the key of this handshake")]
    Accept,
    /// The server didn't choose `mqtt` [MQTT-6.0.0-4].
    #[error("the server does not choose the sub-protocol mqtt")]
    SubProtocol,
    /// The server uses an extension that nobody offered.
    #[error("the server uses an extension that was not offered")]
    Extension,
}

/// Waits for the answer to a request.
#[derive(Debug)]
pub struct ClientUpgrade {
    accept: String,
    scanner: HeadScanner,
}

impl ClientUpgrade {
    /// Appends the request to the output. The nonce has to be a new random one (RFC 6455, section
    /// 4.1).
    ///
    /// # Errors
    /// [`RequestError`], and nothing is appended.
    pub fn new(
        request: &Request<'_>,
        nonce: [u8; 16],
        output: &mut BytesMut,
    ) -> Result<Self, RequestError> {
        let Request { host, path, headers } = *request;
        if !is_visible(host) || host.contains(['/', '?', '#', '@']) {
            return Err(RequestError::Host);
        }
        if !path.starts_with('/') || !is_visible(path) || path.contains('#') {
            return Err(RequestError::Path);
        }
        if !headers.iter().all(|(name, value)| is_additional(name) && is_field_value(value)) {
            return Err(RequestError::Header);
        }
        let key = STANDARD.encode(nonce);
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n"
        );
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        output.extend_from_slice(text.as_bytes());
        let accept = accept_value(key.as_bytes());
        Ok(Self { accept, scanner: HeadScanner::default() })
    }

    /// Looks at what has arrived. `false`: more is needed, and the input has to stay as it is.
    /// `true`: the answer has been taken off the input, and what is left are frames.
    ///
    /// # Errors
    /// [`UpgradeError`]: the connection can't be used.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<bool, UpgradeError> {
        if input.first() == Some(&TLS_ALERT) {
            return Err(UpgradeError::Tls);
        }
        let Some(head) = self.scanner.take(input)? else { return Ok(false) };
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let answer = parse_answer(&head, &mut headers)?;
        match answer.status {
            101 => {}
            status @ 300..400 => return Err(moved(status, answer.headers)),
            status => return Err(UpgradeError::Status(status)),
        }
        let headers = answer.headers;
        let upgraded = has_token(headers, "Upgrade", "websocket")
            && has_token(headers, "Connection", "upgrade");
        if !upgraded {
            return Err(UpgradeError::NoUpgrade);
        }
        if single(headers, "Sec-WebSocket-Accept") != Some(self.accept.as_str()) {
            return Err(UpgradeError::Accept);
        }
        if tokens(headers, "Sec-WebSocket-Extensions").next().is_some() {
            return Err(UpgradeError::Extension);
        }
        if single(headers, "Sec-WebSocket-Protocol") != Some("mqtt") {
            return Err(UpgradeError::SubProtocol);
        }
        Ok(true)
    }
}

/// Where an answer leads, if it is to be told to people.
fn moved(status: u16, headers: &[Header<'_>]) -> UpgradeError {
    let shown = |location: &&str| is_visible(location) && location.len() <= LOCATION_LEN_MAX;
    match single(headers, "Location").filter(shown) {
        Some(location) => UpgradeError::Moved { status, location: location.to_owned() },
        None => UpgradeError::Status(status),
    }
}

/// Whether a field may be added to the request: those of the handshake itself may not, nor a body.
fn is_additional(name: &str) -> bool {
    let own = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
    let name = name.to_ascii_lowercase();
    is_field_name(&name) && !own.contains(&name.as_str()) && !name.starts_with("sec-websocket-")
}
