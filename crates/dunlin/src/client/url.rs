//! `mqtt://user:password@host:port/topic`, or `mqtts://` or `quic://`; `ws://user:password@host:port/path`, or
//! `wss://`; `unix://user:password@/path`.

/// What a URL says; what it leaves out is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it asks for TLS.
    pub(crate) is_secure: bool,
    /// Whether it asks for QUIC.
    pub(crate) is_quic: bool,
    /// The path of a WebSocket, empty for the usual one, if it asks for one.
    pub(crate) web_socket: Option<String>,
    /// The path of a socket within this machine, as the URL has it, if it names one.
    pub(crate) socket: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) topic: Option<String>,
}

impl Url {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            let shown = without_credentials(url);
            return Err(format!("{shown:?} has no scheme; write mqtt://HOST:PORT/TOPIC"));
        };
        match scheme {
            "mqtt" | "mqtts" | "ws" | "wss" | "quic" | "unix" => {}
            _ => {
                return Err(format!(
                    "{scheme}:// is no transport; use mqtt://, mqtts://, ws://, wss:// or quic://"
                ));
            }
        }
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, Some(topic).filter(|topic| !topic.is_empty())),
            None => (rest, None),
        };
        let is_web_socket = scheme.starts_with("ws");
        // What follows is the path of the WebSocket there, and the topic elsewhere.
        let (web_socket, topic) = match is_web_socket {
            true => (Some(topic.map_or_else(String::new, |path| format!("/{path}"))), None),
            false => (None, topic),
        };
        let (socket, topic) = match scheme {
            "unix" => (Some(format!("/{}", topic.unwrap_or_default())), None),
            _ => (None, topic),
        };
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        let (host, port) = match &socket {
            Some(_) if !address.is_empty() => {
                return Err("unix:// has the path of a socket; write unix:///PATH".to_owned());
            }
            Some(_) => (String::new(), None),
            None => split_address(address)?,
        };
        let (user_name, password) = match credentials.map(|both| (both, both.split_once(':'))) {
            None => (None, None),
            Some((_, Some((name, password)))) => (Some(name), Some(password)),
            Some((name, None)) => (Some(name), None),
        };
        let text = |part: &str| String::from_utf8(decode(part)?).map_err(|_| escape_error(part));
        Ok(Self {
            is_secure: matches!(scheme, "mqtts" | "wss" | "quic"),
            is_quic: scheme == "quic",
            web_socket,
            socket,
            host,
            port,
            user_name: user_name.map(text).transpose()?,
            password: password.map(decode).transpose()?,
            topic: topic.map(text).transpose()?,
        })
    }
}

impl Url {
    /// Says so where a tool that speaks MQTT over plain TCP alone is asked for something else.
    pub(crate) fn check_plain(&self, tool: &str) -> Result<(), String> {
        match self.is_secure || self.web_socket.is_some() || self.socket.is_some() {
            true => Err(format!("dunlin {tool} speaks MQTT over plain TCP alone; use mqtt://")),
            false => Ok(()),
        }
    }
}

/// A URL, or what should be one, as it may be shown.
pub(super) fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, address)| address)
}

fn split_address(address: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err("the URL names no host; write mqtt://HOST:PORT/TOPIC".to_owned());
    }
    let port = port.map(|port| port.parse().map_err(|_| format!("{port:?} is no port")));
    Ok((host.to_owned(), port.transpose()?))
}

fn escape_error(part: &str) -> String {
    format!("{part:?} has a % that no two hex digits of UTF-8 follow; write a % as %25")
}

/// Resolves `%` escapes.
fn decode(part: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(escape_error(part)) };
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}
