//! `mqtt://[user[:password]@]host[:port]`, or `mqtts://`, or `ws://` and `wss://` with a path, or
//! `quic://`, or `unix://` with the path of a socket, taken apart.

use crate::ConfigError;
use dunlin_protocol::codec::Text;
use std::path::PathBuf;

/// What a scheme stands for.
struct Scheme {
    name: &'static str,
    /// The port that IANA assigned to it, if it has one.
    port: u16,
    is_secure: bool,
    is_web_socket: bool,
    is_quic: bool,
}

const SCHEMES: [Scheme; 5] = [
    Scheme { name: "mqtt", port: 1883, is_secure: false, is_web_socket: false, is_quic: false },
    Scheme { name: "mqtts", port: 8883, is_secure: true, is_web_socket: false, is_quic: false },
    Scheme { name: "ws", port: 80, is_secure: false, is_web_socket: true, is_quic: false },
    Scheme { name: "wss", port: 443, is_secure: true, is_web_socket: true, is_quic: false },
    // IANA has assigned none; EMQX and NanoMQ listen here.
    Scheme { name: "quic", port: 14567, is_secure: true, is_web_socket: false, is_quic: true },
];

/// The schemes that this build speaks.
fn built() -> impl Iterator<Item = &'static Scheme> {
    SCHEMES.iter().filter(|scheme| {
        (cfg!(feature = "tls") || !scheme.is_secure)
            && (cfg!(feature = "websocket") || !scheme.is_web_socket)
            && (cfg!(feature = "quic") || !scheme.is_quic)
    })
}

/// The same for people.
pub(crate) fn supported() -> String {
    let unix = cfg!(unix).then_some("unix");
    let names: Vec<_> = built().map(|scheme| scheme.name).chain(unix).collect();
    match names.split_last() {
        Some((last, [])) => format!("{last}://"),
        Some((last, others)) => format!("{}:// and {last}://", others.join("://, ")),
        None => String::new(),
    }
}

/// Where brokers are asked for MQTT within WebSocket.
const PATH_DEFAULT: &str = "/mqtt";

/// Where a server is, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    /// Whether it is reached by QUIC.
    pub(crate) is_quic: bool,
    /// The path of a WebSocket, if there is to be one.
    pub(crate) web_socket: Option<String>,
    /// The path of a socket within this machine, in place of host and port.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user_name: Option<Text>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| ConfigError::SchemeMissing(without_secrets(url)))?;
        let is_socket = cfg!(unix) && scheme.eq_ignore_ascii_case("unix");
        // A socket has neither TLS nor port.
        let name = if is_socket { SCHEMES[0].name } else { scheme };
        let known = built().find(|known| name.eq_ignore_ascii_case(known.name));
        let known = known.ok_or_else(|| ConfigError::SchemeUnsupported(scheme.to_owned()))?;
        let (authority, trailing) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let web_socket = match (known.is_web_socket, trailing) {
            (true, "" | "/") => Some(PATH_DEFAULT.to_owned()),
            (true, path) if path.starts_with('/') && !path.contains('#') => Some(path.to_owned()),
            (false, "" | "/") => None,
            (false, path) if is_socket && !path.contains(['?', '#']) => None,
            _ => return Err(ConfigError::Trailing(without_query(trailing).to_owned())),
        };
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host_and_port)) => (Some(user), host_and_port),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port, known.port)?;
        let socket = match (is_socket, trailing.len()) {
            (false, _) => None,
            (true, 2..) if host.is_empty() => Some(path_of(trailing)?),
            (true, 2..) => return Err(ConfigError::Trailing(trailing.to_owned())),
            (true, _) => return Err(ConfigError::HostMissing),
        };
        if host.is_empty() && socket.is_none() {
            return Err(ConfigError::HostMissing);
        }
        let (user_name, password) = match user.map(|user| (user, user.split_once(':'))) {
            None => (None, None),
            Some((_, Some((name, password)))) => (Some(name), Some(password)),
            Some((name, None)) => (Some(name), None),
        };
        let user_name = user_name.map(percent_decode).transpose()?;
        Ok(Self {
            host: host.to_owned(),
            port,
            is_secure: known.is_secure,
            is_quic: known.is_quic,
            web_socket,
            socket,
            user_name: user_name.map(|name| Text::from_bytes(name.into())).transpose()?,
            password: password.map(percent_decode).transpose()?,
        })
    }
}

/// A URL, or what should be one, as it may be shown.
pub(crate) fn without_secrets(url: &str) -> String {
    let host = url.rsplit_once('@').map_or(url, |(_, host)| host);
    without_query(host).to_owned()
}

/// What stands before the `?`, which goes with it, so that it can be told that there was one.
pub(crate) fn without_query(path: &str) -> &str {
    path.find('?').map_or(path, |at| &path[..=at])
}

#[cfg(unix)]
fn path_of(path: &str) -> Result<PathBuf, ConfigError> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(std::ffi::OsString::from_vec(percent_decode(path)?).into())
}

#[cfg(not(unix))]
fn path_of(path: &str) -> Result<PathBuf, ConfigError> {
    Err(ConfigError::Trailing(path.to_owned()))
}

pub(crate) fn split_port(
    host_and_port: &str,
    default_port: u16,
) -> Result<(&str, u16), ConfigError> {
    let (host, port) = if let Some(rest) = host_and_port.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(ConfigError::HostMissing)?;
        match after {
            "" => (host, None),
            _ => match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return Err(ConfigError::Trailing(after.to_owned())),
            },
        }
    } else {
        match host_and_port.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_and_port, None),
        }
    };
    let Some(port) = port else { return Ok((host, default_port)) };
    match port.parse() {
        Ok(number) if number > 0 => Ok((host, number)),
        _ => Err(ConfigError::Port(port.to_owned())),
    }
}

pub(crate) fn percent_decode(text: &str) -> Result<Vec<u8>, ConfigError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| {
        let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(ConfigError::PercentEscape)
    };
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte => byte,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, host: &str, port: u16, user_name: Option<&str>, password: Option<&[u8]>) {
        let address = Address::parse(url).unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.user_name.as_deref(), user_name);
        assert_eq!(address.password.as_deref(), password);
    }

    #[test]
    fn urls_are_taken_apart() {
        check("mqtt://example.org", "example.org", 1883, None, None);
        check("MQTT://example.org:2000/", "example.org", 2000, None, None);
        check("mqtts://example.org", "example.org", 8883, None, None);
        check("mqtts://example.org:2000", "example.org", 2000, None, None);
        check("mqtt://[::1]", "::1", 1883, None, None);
        check("mqtt://[fe80::1]:77", "fe80::1", 77, None, None);
        check("mqtt://user@h", "h", 1883, Some("user"), None);
        check("mqtt://user:pass@h:1", "h", 1, Some("user"), Some(b"pass"));
        check("mqtt://u%40x:p%3A%ff@h", "h", 1883, Some("u@x"), Some(b"p:\xff"));
        check("mqtt://u:@h", "h", 1883, Some("u"), Some(b""));
    }

    #[test]
    fn a_web_socket_has_a_path() {
        let address = |url| Address::parse(url).unwrap();
        for (url, port, path) in [
            ("ws://h", 80, "/mqtt"),
            ("wss://h/", 443, "/mqtt"),
            ("ws://u:p@h:8083/a/b?c=d", 8083, "/a/b?c=d"),
        ] {
            let address = address(url);
            assert_eq!((address.port, address.web_socket.as_deref()), (port, Some(path)));
            assert_eq!(address.is_secure, url.starts_with("wss"));
        }
        assert_eq!(address("mqtts://h").web_socket, None);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_a_path_and_nothing_else() {
        let address = Address::parse("unix://u:p@/run/a%20b.sock").unwrap();
        assert_eq!(address.socket.as_deref(), Some(std::path::Path::new("/run/a b.sock")));
        assert_eq!(address.user_name.as_deref(), Some("u"));
        let fault = |url| Address::parse(url).err().unwrap();
        assert_eq!(fault("unix://run/a"), ConfigError::Trailing("/a".into()));
        assert_eq!(fault("unix:///a?mode=0600"), ConfigError::Trailing("/a?".into()));
        assert_eq!(fault("unix://"), ConfigError::HostMissing);
        assert_eq!(fault("unix:///"), ConfigError::HostMissing);
    }

    #[test]
    fn faults_are_named() {
        let fault = |url| Address::parse(url).err().unwrap();
        assert_eq!(fault("localhost:1883"), ConfigError::SchemeMissing("localhost:1883".into()));
        assert_eq!(fault("coap://h"), ConfigError::SchemeUnsupported("coap".into()));
        assert_eq!(fault("u:p@h:1883/a?b"), ConfigError::SchemeMissing("h:1883/a?".into()));
        assert_eq!(fault("ws://h?a"), ConfigError::Trailing("?".into()));
        assert_eq!(fault("ws://h/a#b"), ConfigError::Trailing("/a#b".into()));
        assert_eq!(fault("mqtt://"), ConfigError::HostMissing);
        assert_eq!(fault("mqtt://:1883"), ConfigError::HostMissing);
        assert_eq!(fault("mqtt://[::1"), ConfigError::HostMissing);
        assert_eq!(fault("mqtt://h:0"), ConfigError::Port("0".into()));
        assert_eq!(fault("mqtt://h:65536"), ConfigError::Port("65536".into()));
        assert_eq!(fault("mqtt://h:x"), ConfigError::Port("x".into()));
        assert_eq!(fault("mqtt://h/path"), ConfigError::Trailing("/path".into()));
        assert_eq!(fault("mqtt://u%4@h"), ConfigError::PercentEscape);
        assert!(matches!(fault("mqtt://u%00@h"), ConfigError::Text(_)));
    }

    #[test]
    fn an_unsupported_scheme_is_told_what_is_supported() {
        let message = Address::parse("http://h").err().unwrap().to_string();
        let (before, supported) = message.split_once("; supported are ").unwrap();
        assert_eq!(before, "the scheme \"http\" is not supported");
        assert!(supported.starts_with("mqtt://"), "{message}");
        for scheme in ["mqtts", "ws", "wss", "quic", "unix"] {
            let is_named = supported.contains(&format!(" {scheme}://"));
            let rest = if scheme == "unix" { "/a" } else { "h" };
            let is_taken = Address::parse(&format!("{scheme}://{rest}")).is_ok();
            assert_eq!(is_named, is_taken, "{scheme}: {message}");
        }
    }

    #[cfg(feature = "quic")]
    #[test]
    fn quic_has_a_port_and_tls_of_its_own() {
        check("quic://u:p@h", "h", 14567, Some("u"), Some(b"p"));
        let address = Address::parse("quic://h:1").unwrap();
        assert!((address.is_quic, address.is_secure, address.port) == (true, true, 1));
        assert!(!Address::parse("mqtts://h").unwrap().is_quic);
        let path = Address::parse("quic://h/a").err();
        assert_eq!(path, Some(ConfigError::Trailing("/a".into())));
    }
}
