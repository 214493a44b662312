//! A way to the server through a proxy: the CONNECT of HTTP, or SOCKS5.

use crate::address::{percent_decode, split_port, without_secrets};
use crate::transport::Tcp;
use crate::{ConfigError, ConnectError, Transport as _};
use bytes::BytesMut;
use dunlin_transport::connect_proxy::ConnectProxy;
use dunlin_transport::socks5::Socks5;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

/// A proxy, and who we are to it.
#[derive(Clone)]
pub(crate) struct Proxy {
    kind: Kind,
    tcp: Tcp,
    /// User name and password.
    credentials: Option<(String, String)>,
}

/// Without the credentials.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("peer", &self.tcp.peer())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Takes apart `http://[user:password@]host[:port]`, or the same with `socks5://`; in both the
    /// proxy resolves the server's name, so `socks5h://` is the same.
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::Proxy(without_secrets(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(invalid()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host_and_port)) => (Some(user), host_and_port),
            None => (None, authority),
        };
        if host_and_port.contains(['/', '?', '#']) {
            return Err(invalid());
        }
        let (host, port) = split_port(host_and_port, port).map_err(|_| invalid())?;
        if host.is_empty() {
            return Err(invalid());
        }
        let text = |part| String::from_utf8(percent_decode(part)?).map_err(|_| invalid());
        let credentials = match user {
            Some(user) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                Some((text(name)?, text(password)?))
            }
            None => None,
        };
        Ok(Self { kind, tcp: Tcp { host: host.to_owned(), port }, credentials })
    }

    /// A connection through which the server's bytes come, and nobody else's.
    pub(crate) async fn connect(&mut self, server: &Tcp) -> Result<TcpStream, ConnectError> {
        let proxy = self.tcp.peer();
        let stream = match self.tcp.connect().await {
            // It is the proxy that can't be reached: of the server nothing is known.
            Err(ConnectError::Transport { source, .. } | ConnectError::Resolve { source, .. }) => {
                return Err(ConnectError::Proxy { proxy, source });
            }
            connected => connected?,
        };
        let opened = self.open(stream, server).await;
        opened.map_err(|source| ConnectError::Proxy { proxy, source: Arc::new(source) })
    }

    async fn open(&self, mut stream: TcpStream, server: &Tcp) -> io::Result<TcpStream> {
        let credentials = self.credentials.as_ref();
        let credentials = credentials.map(|(name, password)| (name.as_str(), password.as_str()));
        let (host, port) = (server.host.as_str(), server.port);
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut exchange = match self.kind {
            Kind::Http => {
                let proxy = ConnectProxy::new(host, port, credentials, &mut output);
                Exchange::Http(proxy.map_err(invalid)?)
            }
            Kind::Socks5 => {
                let proxy = Socks5::new(host, port, credentials, &mut output);
                Exchange::Socks5(proxy.map_err(invalid)?)
            }
        };
        loop {
            stream.write_all(&output).await?;
            output.clear();
            if exchange.handle_input(&mut input, &mut output)? {
                break;
            }
            if output.is_empty() && stream.read_buf(&mut input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        if !input.is_empty() {
            // In MQTT, TLS and HTTP it is the client who speaks first.
            return Err(io::Error::new(ErrorKind::InvalidData, "the server speaks out of turn"));
        }
        Ok(stream)
    }
}

/// What is said to a proxy.
enum Exchange {
    Http(ConnectProxy),
    Socks5(Socks5),
}

impl Exchange {
    /// Whether the way is open.
    fn handle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> io::Result<bool> {
        match self {
            Self::Http(proxy) => proxy.handle_input(input).map_err(invalid),
            Self::Socks5(proxy) => proxy.handle_input(input, output).map_err(invalid),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn urls_of_proxies_are_taken_apart() {
        let parse = |url| Proxy::parse(url).map(|proxy| (proxy.kind, proxy.tcp.peer()));
        assert_eq!(parse("http://h").unwrap(), (Kind::Http, "h:80".to_owned()));
        assert_eq!(parse("SOCKS5://h").unwrap(), (Kind::Socks5, "h:1080".to_owned()));
        assert_eq!(parse("socks5h://[::1]:9/").unwrap(), (Kind::Socks5, "[::1]:9".to_owned()));
        let proxy = Proxy::parse("http://u%40:p%3A@h:3128").unwrap();
        assert_eq!(proxy.credentials, Some(("u@".to_owned(), "p:".to_owned())));
        assert!(!format!("{proxy:?}").contains("p:"), "{proxy:?}");
        for (url, shown) in [
            ("h:3128", "h:3128"),
            ("ftp://u:p@h", "h"),
            ("http://u:p@", ""),
            ("http://u:p@h:0", "h:0"),
            ("http://h/a?b", "http://h/a?"),
        ] {
            assert_eq!(Proxy::parse(url).err(), Some(ConfigError::Proxy(shown.to_owned())));
        }
    }

    /// A proxy that reads so many bytes of each request and says what is its answer.
    async fn proxy(
        script: Vec<(usize, &'static [u8])>,
    ) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut heard = Vec::new();
            for (len, answer) in script {
                let mut request = vec![0; len];
                stream.read_exact(&mut request).await.expect("a request");
                heard.extend_from_slice(&request);
                stream.write_all(answer).await.expect("it reads");
            }
            let mut server = [0; 4];
            // Whoever was turned away is gone.
            let _ = stream.read_exact(&mut server).await;
            heard
        });
        (address, task)
    }

    async fn go(
        scheme: &str,
        script: Vec<(usize, &'static [u8])>,
    ) -> (Result<(), String>, Vec<u8>) {
        let (address, task) = proxy(script).await;
        let url = format!("{scheme}://user:secret@{address}");
        let mut proxy = Proxy::parse(&url).expect("a proxy");
        let server = Tcp { host: "broker.example".to_owned(), port: 8883 };
        let outcome = match proxy.connect(&server).await {
            Ok(mut stream) => stream.write_all(b"ping").await.map_err(|error| error.to_string()),
            Err(ConnectError::Proxy { source, .. }) => Err(source.to_string()),
            Err(error) => panic!("{error:?}"),
        };
        (outcome, task.await.expect("it ends"))
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_named() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = gone.local_addr().expect("an address").to_string();
        drop(gone);
        let server = Tcp { host: "broker.example".to_owned(), port: 8883 };
        for peer in [address.as_str(), "nowhere.invalid:1080"] {
            let mut proxy = Proxy::parse(&format!("socks5://{peer}")).expect("a proxy");
            match proxy.connect(&server).await {
                Err(ConnectError::Proxy { proxy, .. }) => assert_eq!(proxy, peer),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_of_http_lets_through_or_says_why_not() {
        let request = "CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n\
                       Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n";
        for (answer, expected) in [
            (&b"HTTP/1.1 200 Welcome\r\n\r\n"[..], None),
            (b"HTTP/1.1 407 Who?\r\n\r\n", Some("credentials")),
            (b"HTTP/1.1 502 No\r\n\r\n", Some("502")),
            (b"HTTP/1.1 200 Welcome\r\n\r\nearly", Some("out of turn")),
        ] {
            let (outcome, heard) = go("http", vec![(request.len(), answer)]).await;
            assert_eq!(String::from_utf8_lossy(&heard), request);
            match expected {
                None => assert_eq!(outcome, Ok(())),
                Some(words) => assert!(outcome.expect_err("no way").contains(words)),
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_of_socks_lets_through_or_says_why_not() {
        // Greeting, user name and password, request with a name.
        let (greeting, login, request) = (4, 1 + 1 + 4 + 1 + 6, 4 + 1 + 14 + 2);
        let open = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00";
        let way = |last: &'static [u8]| {
            vec![(greeting, &b"\x05\x02"[..]), (login, b"\x01\x00"), (request, last)]
        };
        let (outcome, heard) = go("socks5", way(open)).await;
        assert_eq!(outcome, Ok(()));
        assert!(heard.ends_with(b"broker.example\x22\xb3"), "{heard:?}");
        let refused = go("socks5", way(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")).await.0;
        assert!(refused.expect_err("no way").contains("not allowed"));
        let wrong = vec![(greeting, &b"\x05\x02"[..]), (login, b"\x01\x01")];
        assert!(go("socks5", wrong).await.0.expect_err("no way").contains("password"));
    }
}
