//! Requests to back ends of logins, on the thread that asks: bounded in time and size, not redirected
//! and by no proxy.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::{HeaderValue, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Bytes that the head of an answer may have.
pub(super) const HEAD_LEN_MAX: usize = 16 << 10;

/// How long an address is used before its name is looked up again, beside those who use it.
const ADDRESS_AGE_MAX: Duration = Duration::from_secs(30);

/// One URL, and how it is asked.
#[derive(Debug)]
pub(super) struct HttpClient {
    agent: Agent,
    url: String,
    timeout: Duration,
    answer_len_max: usize,
}

/// Why nothing of use came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Nobody is there, whatever is asked.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// What a request may take.
    #[error("no whole answer has come within {0:?}")]
    Timeout(Duration),
    #[error("it has closed the connection before its answer was whole")]
    Closed,
    /// More than so many bytes.
    #[error("its answer is longer than {0} bytes")]
    TooLong(u64),
    #[error("the head of its answer is longer than {HEAD_LEN_MAX} bytes")]
    HeadTooLong,
    #[error("its answer is no HTTP/1.1: {0}")]
    NotHttp(String),
    #[error("TLS with it has failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Other(String),
}

impl HttpError {
    /// What the library says of a request that may take so long.
    fn of(error: &ureq::Error, timeout: Duration) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            NetworkUnreachable, UnexpectedEof,
        };
        match error {
            ureq::Error::Timeout(_) => Self::Timeout(timeout),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                Self::Unreachable(error.to_string())
            }
            ureq::Error::BodyExceedsLimit(len) => Self::TooLong(*len),
            ureq::Error::LargeResponseHeader(..) => Self::HeadTooLong,
            ureq::Error::Protocol(error) => Self::NotHttp(error.to_string()),
            ureq::Error::Rustls(error) => Self::Tls(error.to_string()),
            ureq::Error::Tls(error) => Self::Tls((*error).to_owned()),
            ureq::Error::Io(error) => match error.kind() {
                ConnectionRefused | HostUnreachable | NetworkUnreachable => {
                    Self::Unreachable(error.to_string())
                }
                UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Self::Closed,
                _ if matches!(error.get_ref(), Some(cause) if cause.is::<rustls::Error>()) => {
                    Self::Tls(error.to_string())
                }
                _ => Self::Other(error.to_string()),
            },
            _ => Self::Other(error.to_string()),
        }
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    /// Its body if the status is 200; of no other is it read.
    pub(super) body: Vec<u8>,
}

impl HttpClient {
    /// A request may take so long, and an answer may have so many bytes. That includes the first
    /// look-up of its name; later ones keep nobody waiting. Without certificates, those count that this machine trusts.
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        answer_len_max: usize,
        trusted: Option<Vec<Certificate<'static>>>,
    ) -> Self {
        // Not the process's default provider: a program may have none, or another one.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(trusted.map_or(RootCerts::PlatformVerifier, RootCerts::from))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(HEAD_LEN_MAX)
            .max_idle_connections(0)
            .timeout_global(Some(timeout))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::new(), OnThisThread::default());
        Self { agent, url: url.to_owned(), timeout, answer_len_max }
    }

    pub(super) fn get(&self) -> Result<HttpAnswer, HttpError> {
        self.read(self.agent.get(&self.url).call())
    }

    /// Sends JSON, with an `Authorization` if there is one.
    pub(super) fn post(
        &self,
        json: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<HttpAnswer, HttpError> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        self.read(request.send(json))
    }

    fn read(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<HttpAnswer, HttpError> {
        let whole = answer.and_then(|mut answer| {
            let status = answer.status().as_u16();
            let body = match status {
                200 => {
                    let body = answer.body_mut().with_config();
                    body.limit(self.answer_len_max as u64).read_to_vec()?
                }
                _ => Vec::new(),
            };
            Ok(HttpAnswer { status, body })
        });
        whole.map_err(|error| HttpError::of(&error, self.timeout))
    }
}

/// Looks the name of the one URL up on the thread that asks for the first time, then beside those who
/// ask: whoever looks names up may be slow or down, which the back end need not be. By itself the library
/// starts a thread for each look-up, and panics when the system gives none.
#[derive(Clone, Debug, Default)]
struct OnThisThread(Arc<Lookups>);

#[derive(Debug, Default)]
struct Lookups {
    resolver: DefaultResolver,
    /// What the name has come to, and when.
    found: Mutex<Option<(Clock, ResolvedSocketAddrs)>>,
    is_looking: AtomicBool,
}

impl Lookups {
    fn found(&self) -> Option<(Clock, ResolvedSocketAddrs)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_up(&self, uri: &Uri, config: &Config) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // Not locked meanwhile: who waits for a name does so alone.
        let addresses = self.resolver.resolve(uri, config, NextTimeout::default())?;
        let found = Some((Clock::now(), addresses.clone()));
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(addresses)
    }
}

impl OnThisThread {
    /// Looks the name up again on a thread of its own, if none does.
    fn refresh(&self, uri: &Uri, config: &Config) {
        if self.0.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (lookups, uri, config) = (self.0.clone(), uri.clone(), config.clone());
        let looks = move || {
            if let Err(error) = lookups.look_up(&uri, &config) {
                let host = uri.host().unwrap_or_default();
                tracing::warn!("{host} can't be looked up, its last address is used on: {error}");
            }
            lookups.is_looking.store(false, Ordering::Release);
        };
        let begun = std::thread::Builder::new().name("dunlin-lookup".to_owned()).spawn(looks);
        if begun.is_err() {
            self.0.is_looking.store(false, Ordering::Release);
        }
    }
}

impl Resolver for OnThisThread {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let Some((at, addresses)) = self.0.found() else { return self.0.look_up(uri, config) };
        if at.elapsed() >= ADDRESS_AGE_MAX {
            self.refresh(uri, config);
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// A server that answers one request, and then tells what it was asked.
    fn serve(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a request");
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                assert_ne!(stream.read_line(&mut request).expect("text"), 0, "{request}");
            }
            let lower = request.to_ascii_lowercase();
            if let Some((_, rest)) = lower.split_once("content-length: ") {
                let len = rest.lines().next().and_then(|len| len.parse().ok()).expect("a length");
                let mut body = vec![0; len];
                stream.read_exact(&mut body).expect("the whole body");
                request.push_str(std::str::from_utf8(&body).expect("text"));
            }
            stream.get_mut().write_all(answer.as_bytes()).expect("sent");
            request
        });
        (address, thread)
    }

    fn client(url: &str) -> HttpClient {
        HttpClient::new(url, Duration::from_secs(60), 8, None)
    }

    #[test]
    fn a_question_goes_out_whole_and_its_secret_in_a_header() {
        let (address, server) = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        let client = client(&format!("http://{address}/mqtt?x=y"));
        let secret = HeaderValue::from_static("Bearer sesame");
        let answer = client.post("{\"a\":1}", Some(&secret)).expect("an answer");
        assert_eq!(answer, HttpAnswer { status: 200, body: b"{}".to_vec() });
        let request = server.join().expect("asked");
        assert!(request.starts_with("POST /mqtt?x=y HTTP/1.1\r\n"), "{request}");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        let head = head.to_ascii_lowercase();
        for line in ["content-type: application/json", "authorization: bearer sesame"] {
            assert!(head.lines().any(|other| other == line), "{line}: {head}");
        }
        assert_eq!(body, "{\"a\":1}");
    }

    #[test]
    fn an_answer_is_read_up_to_its_bound_and_none_but_of_200() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678", Some((200, "12345678"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", None),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            ("HTTP/1.1 500 Oh\r\nContent-Length: 9999\r\n\r\n1", Some((500, ""))),
            ("HTTP/1.1 307 There\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", Some((307, ""))),
            ("garbage\r\n\r\n", None),
        ] {
            let (address, server) = serve(answer);
            let got = client(&format!("http://{address}/")).post("{}", None);
            let got = got.ok().map(|HttpAnswer { status, body }| (status, body));
            let expected = expected.map(|(status, body)| (status, body.as_bytes().to_vec()));
            assert_eq!(got, expected, "{answer}");
            server.join().expect("asked");
        }
    }

    #[test]
    fn a_name_is_looked_up_or_the_request_fails() {
        let (address, server) = serve("HTTP/1.1 204 No Content\r\n\r\n");
        let named = client(&format!("http://localhost:{}/", address.port()));
        assert_eq!(named.get().expect("an answer").status, 204);
        server.join().expect("asked");
        assert!(client("http://name.invalid/").get().is_err());
    }

    #[test]
    fn an_old_address_serves_while_its_name_is_looked_up_beside_it() {
        let lookups = OnThisThread::default();
        let ask = |uri: &'static str| {
            let (uri, config) = (Uri::from_static(uri), Config::default());
            lookups.resolve(&uri, &config, NextTimeout::default()).expect("addresses")
        };
        let known = ask("http://127.0.0.1:1/");
        let Some(old) = Clock::now().checked_sub(ADDRESS_AGE_MAX) else { return };
        let set = |at| *lookups.0.found.lock().expect("no panic") = Some((at, known.clone()));
        set(old);
        // Somebody looks it up already.
        lookups.0.is_looking.store(true, Ordering::Release);
        assert_eq!(ask("http://127.0.0.1:2/")[..], known[..]);
        lookups.0.is_looking.store(false, Ordering::Release);
        // Now this one has it looked up, and does not wait for that.
        assert_eq!(ask("http://127.0.0.1:2/")[..], known[..]);
        while lookups.0.is_looking.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(ask("http://127.0.0.1:3/")[0].port(), 2);
        // A name that can't be looked up any more keeps its address.
        set(old);
        assert_eq!(ask("http://name.invalid/")[..], known[..]);
        while lookups.0.is_looking.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(ask("http://name.invalid/")[..], known[..]);
    }
}
