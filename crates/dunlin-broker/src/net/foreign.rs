//! Clients that speak something else than their listener, by how they begin.

use std::fmt;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    Tls,
    Http,
    Mqtt,
}

/// How requests of HTTP begin, by their methods; `PRI` is that of HTTP/2.
const METHODS: [&[u8]; 8] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI "];

impl Foreign {
    /// Where MQTT is expected: TLS is a handshake of version 3, and neither it nor HTTP is a CONNECT.
    pub(crate) fn to_mqtt(beginning: &[u8]) -> Option<Self> {
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
            let known = (Foreign::to_mqtt(beginning), Foreign::to_web_socket(beginning));
            assert_eq!(known, (to_mqtt, to_web_socket), "{beginning:?}");
        }
    }
}
