//! The server's side of the upgrade: one request in, one answer out.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Request};

use super::accept_value;
use super::origin::{ORIGIN_LEN_MAX, Origins};
use crate::http::{
    HEADERS_MAX, HeadError, HeadScanner, has_body, has_token, is_visible, single, tokens, values,
};

/// Which requests a listener takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The paths that are served, each beginning with `/`; a query behind them doesn't count.
    pub paths: Vec<String>,
    /// The web pages that may connect.
    pub origins: Origins,
}

/// The paths that clients use by themselves: `/mqtt` and `/`; no web page but by
/// [`Origins::new`].
impl Default for Policy {
    fn default() -> Self {
        let paths = vec!["/mqtt".to_owned(), "/".to_owned()];
        Self { paths, origins: Origins::default() }
    }
}

/// The sub-protocol that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubProtocol {
    /// `mqtt`, that of the standard [MQTT-6.0.0-3].
    Mqtt,
    /// `mqttv3.1`, which old clients in browsers offer alone.
    MqttV3_1,
}

impl SubProtocol {
    /// The name in the headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttV3_1 => "mqttv3.1",
        }
    }
}

/// Why a request was not granted; the answer that says so has been appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The head can't be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Another method than GET.
    #[error("the method is not GET")]
    Method,
    /// Not HTTP/1.1.
    #[error("the request is not HTTP/1.1")]
    HttpVersion,
    /// No `Host`, or more than one.
    #[error("the request does not name one host")]
    Host,
    /// The request has a body, which could be taken for frames.
    #[error("the request has a body")]
    Body,
    /// None of the listener's paths.
    #[error("the path is not served here")]
    Path,
    /// An ordinary request, as of a browser that was pointed here.
    #[error("the request does not ask for an upgrade to websocket")]
    NoUpgrade,
    /// Not version 13 of WebSocket.
    #[error("the version of WebSocket is not 13")]
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64, or not there once.
    #[error("the key of the handshake is not valid")]
    Key,
    /// A page from elsewhere: `origins` of the listener would have to name what is given here.
    #[error("the origin `{0}` is not among those that are allowed")]
    Origin(String),
    /// More than one `Origin`, one of more than [`ORIGIN_LEN_MAX`] bytes, or one that is not a word of
    /// visible ASCII.
    #[error("the request does not name one origin")]
    InvalidOrigin,
    /// Neither `mqtt` nor `mqttv3.1` is offered [MQTT-6.0.0-3].
    #[error("the sub-protocol mqtt is not offered")]
    SubProtocol,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status_line().0
    }

    const fn status_line(&self) -> (u16, &'static str) {
        match self {
            Self::Origin(_) | Self::InvalidOrigin => (403, "Forbidden"),
            Self::Path => (404, "Not Found"),
            Self::Method => (405, "Method Not Allowed"),
            Self::NoUpgrade | Self::WebSocketVersion => (426, "Upgrade Required"),
            Self::Head(_)
            | Self::HttpVersion
            | Self::Host
            | Self::Body
            | Self::Key
            | Self::SubProtocol => (400, "Bad Request"),
        }
    }

    /// Appends the answer: no body, and the connection ends.
    fn answer(&self, output: &mut BytesMut) {
        let (status, reason) = self.status_line();
        let more = match status {
            405 => "Allow: GET\r\n",
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        // `Upgrade` has to be named by `Connection` (RFC 9110, section 7.8).
        let connection = if status == 426 { "close, Upgrade" } else { "close" };
        let answer = format!(
            "HTTP/1.1 {status} {reason}\r\n{more}Connection: {connection}\r\nContent-Length: 0\r\n\r\n"
        );
        output.extend_from_slice(answer.as_bytes());
    }
}

/// Waits for a client's request, and answers it.
#[derive(Debug, Default)]
pub struct ServerUpgrade {
    scanner: HeadScanner,
}

impl ServerUpgrade {
    /// For a connection of which nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at what has arrived. `None`: more is needed, and the input has to stay as it is, never
    /// more than [`HEAD_LEN_MAX`](crate::HEAD_LEN_MAX) bytes. Otherwise the request has been taken
    /// off the input, where frames may follow it, and the answer 101 is appended to the output.
    ///
    /// # Errors
    /// [`Refusal`], with the answer appended: the connection is to be closed once it is sent.
    pub fn handle_input(
        &mut self,
        input: &mut BytesMut,
        policy: &Policy,
        output: &mut BytesMut,
    ) -> Result<Option<SubProtocol>, Refusal> {
        let head = self.scanner.take(input).map_err(Refusal::from);
        let granted = head.and_then(|head| head.map(|head| check(&head, policy)).transpose());
        let granted = granted.inspect_err(|refusal| refusal.answer(output))?;
        Ok(granted.map(|(sub_protocol, accept)| {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
                sub_protocol.name()
            );
            output.extend_from_slice(answer.as_bytes());
            sub_protocol
        }))
    }
}

/// Checks a whole request; gives the sub-protocol and the value that accepts the key.
fn check(head: &Bytes, policy: &Policy) -> Result<(SubProtocol, String), Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let parsed = request.parse(head).map_err(HeadError::from)?;
    // See `http::parse_answer`.
    if parsed != httparse::Status::Complete(head.len()) {
        return Err(HeadError::Malformed.into());
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    if request.version != Some(1) {
        return Err(Refusal::HttpVersion);
    }
    let headers: &[Header<'_>] = request.headers;
    if single(headers, "Host").is_none() {
        return Err(Refusal::Host);
    }
    if has_body(headers) {
        return Err(Refusal::Body);
    }
    let path = path(request.path.unwrap_or_default());
    if !policy.paths.iter().any(|served| served == path) {
        return Err(Refusal::Path);
    }
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if single(headers, "Sec-WebSocket-Version") != Some("13") {
        return Err(Refusal::WebSocketVersion);
    }
    let key = single(headers, "Sec-WebSocket-Key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    check_origin(headers, &policy.origins)?;
    Ok((sub_protocol(headers)?, accept_value(key.as_bytes())))
}

/// The path of a request target, which may be a whole URL (RFC 9112, section 3.2.2).
fn path(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or_default();
    let url = ["http://", "https://"].iter().find_map(|scheme| {
        let found = target.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        found.then(|| &target[scheme.len()..])
    });
    match url {
        None => target,
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
    }
}

/// Whether these are 16 bytes in base64, in whatever way the last bits are filled.
fn is_key(key: &str) -> bool {
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));
    key.len() == 24 && LENIENT.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn check_origin(headers: &[Header<'_>], origins: &Origins) -> Result<(), Refusal> {
    if values(headers, "Origin").next().is_none() {
        return Ok(());
    }
    let valid = |origin: &&str| is_visible(origin) && origin.len() <= ORIGIN_LEN_MAX;
    let origin = single(headers, "Origin").filter(valid).ok_or(Refusal::InvalidOrigin)?;
    if origins.allows(origin) { Ok(()) } else { Err(Refusal::Origin(origin.to_owned())) }
}

/// The better of those that are offered [MQTT-6.0.0-4].
fn sub_protocol(headers: &[Header<'_>]) -> Result<SubProtocol, Refusal> {
    [SubProtocol::Mqtt, SubProtocol::MqttV3_1]
        .into_iter()
        .find(|known| tokens(headers, "Sec-WebSocket-Protocol").any(|name| name == known.name()))
        .ok_or(Refusal::SubProtocol)
}
