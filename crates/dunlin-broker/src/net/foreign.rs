//! Clients that speak something else than their listener, by how they begin.

use dunlin_transport::proxy_header;
use std::fmt;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Foreign {
    Tls,
    Http,
    Mqtt,
    /// Something else than TLS.
    Plain,
    /// It is a proxy, or says so.
    ProxyHeader,
    /// It comes by a proxy, and there is another one.
    SecondProxyHeader,
}

/// How requests of HTTP begin, by their methods; `PRI` is that of HTTP/2.
const METHODS: [&[u8]; 8] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI "];

impl Foreign {
    /// A PROXY header where none is expected, or a second one behind that of a proxy.
    pub(crate) const fn proxy_header(is_proxied: bool) -> Self {
        if is_proxied { Self::SecondProxyHeader } else { Self::ProxyHeader }
    }

    /// Whether it has to be closed at once: what it says may look like the beginning of a packet.
    pub(crate) const fn is_proxy_header(self) -> bool {
        matches!(self, Self::ProxyHeader | Self::SecondProxyHeader)
    }

    /// Where MQTT is expected, perhaps behind a PROXY header: TLS is a handshake of version 3, and
    /// neither it nor HTTP is a CONNECT.
    pub(crate) fn to_mqtt(beginning: &[u8], is_proxied: bool) -> Option<Self> {
        if proxy_header::begins(beginning) == Some(true) {
            return Some(Self::proxy_header(is_proxied));
        }
        let is_http = || METHODS.iter().any(|method| beginning.starts_with(method));
        if beginning.starts_with(&TLS) { Some(Self::Tls) } else { is_http().then_some(Self::Http) }
    }

    /// Where HTTP is expected, which begins with letters.
    pub(crate) fn to_web_socket(beginning: &[u8]) -> Option<Self> {
        let is_connect = beginning.first() == Some(&CONNECT);
        let is_tls = beginning.starts_with(&TLS);
        if is_tls { Some(Self::Tls) } else { is_connect.then_some(Self::Mqtt) }
    }
}

/// A record of a handshake, of any version of TLS.
const TLS: [u8; 2] = [0x16, 0x03];
/// The first byte of a CONNECT.
const CONNECT: u8 = 0x10;

/// Who came, and where it should have gone.
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => {
                "a TLS client came to a listener without TLS; clients with TLS need one with \
                 mqtts:// or wss://"
            }
            Self::Http => {
                "an HTTP client came to a listener of MQTT; clients with WebSocket need one with \
                 ws:// or wss://"
            }
            Self::Mqtt => {
                "a client of MQTT without WebSocket came to a listener for WebSocket; it needs one \
                 with mqtt:// or mqtts://"
            }
            Self::Plain => {
                "a client without TLS came to a listener with TLS; clients have to use mqtts:// or \
                 wss:// there"
            }
            Self::ProxyHeader => {
                "a PROXY header came to a listener without proxy_from; if it is from a proxy of yours, \
                 name the proxy's address there (proxy_from=ADDRESS), or have it send no header"
            }
            Self::SecondProxyHeader => {
                "a second PROXY header came behind the first; of several proxies on the way the one \
                 next to the broker has to take the header of the others, and send its own"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_by_how_it_begins() {
        let (hello, connect) = (b"\x16\x03\x01\x02\x00\x01", b"\x10\x0c\x00\x04MQTT\x05");
        for (beginning, to_mqtt, to_web_socket) in [
            (&hello[..], Some(Foreign::Tls), Some(Foreign::Tls)),
            (b"GET /mqtt HTTP/1.1\r\n", Some(Foreign::Http), None),
            (b"PRI * HTTP/2.0\r\n", Some(Foreign::Http), None),
            (&connect[..], None, Some(Foreign::Mqtt)),
            (b"", None, None),
            (b"GETTING", None, None),
            (b"\x16", None, None),
            (b"\xc0\x00", None, None),
        ] {
            let known = (Foreign::to_mqtt(beginning, false), Foreign::to_web_socket(beginning));
            assert_eq!(known, (to_mqtt, to_web_socket), "{beginning:?}");
        }
        for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
            assert_eq!(Foreign::to_mqtt(header, false), Some(Foreign::ProxyHeader));
            assert_eq!(Foreign::to_mqtt(header, true), Some(Foreign::SecondProxyHeader));
            assert_eq!(Foreign::to_mqtt(&header[..5], false), None);
        }
    }
}
