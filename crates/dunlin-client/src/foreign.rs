//! What a server speaks that is not one of MQTT, by how its answer begins.

/// What a server speaks in place of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// TLS, which was not asked for.
    Tls,
    /// HTTP: a web server, or MQTT within WebSocket.
    Http,
}

/// How an alert of TLS begins; in MQTT it is a CONNECT, which no server sends.
const TLS_ALERT: u8 = 0x15;
/// How an answer of HTTP begins; in MQTT that is no packet.
const HTTP: &[u8] = b"HTTP/";

impl Foreign {
    /// What the first bytes of a server show, of which there need not be all; nothing if they may be
    /// MQTT.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let len = beginning.len().min(HTTP.len());
        match beginning {
            [] => None,
            [TLS_ALERT, ..] => Some(Self::Tls),
            _ => HTTP.starts_with(&beginning[..len]).then_some(Self::Http),
        }
    }
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_how_it_begins() {
        for (beginning, expected) in [
            (&b""[..], None),
            (b"\x15", Some(Foreign::Tls)),
            (b"\x15\x03\x03\0\x02\x02\x0a", Some(Foreign::Tls)),
            (b"H", Some(Foreign::Http)),
            (b"HTTP/1.1 400 Bad Request\r\n", Some(Foreign::Http)),
            (b"HELO", None),
            (b"\x20\x02\0\0", None),
        ] {
            assert_eq!(Foreign::of(beginning), expected, "{beginning:?}");
        }
    }
}
