//! The keys of an issuer of tokens, fetched from its URL by a thread that does nothing else.
//!
//! No login waits for a fetch: who comes while no key is known, or with one that is not known yet,
//! is told that the server is unavailable, and may try again.

use super::http_client::{HttpClient, HttpError};
use dunlin_identity::jwks::{InvalidKeySet, KeySetCache, SET_LEN_MAX, Timing, parse};
use dunlin_identity::jwt::{Algorithm, KeySet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};

/// What one fetch may take once its name is looked up, which the system bounds.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// No answer, or one that is cut short.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer of another kind; redirections are not followed.
    #[error("the answer has the status {0}, not 200")]
    Status(u16),
    #[error(transparent)]
    KeySet(#[from] InvalidKeySet),
    /// With such a set no token could be checked.
    #[error("none of the keys is for one of auth.jwt.algorithms")]
    OtherAlgorithms,
}

/// An issuer and its thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Issuer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    url: String,
    /// A set without keys for one of these is of no use.
    algorithms: Vec<Algorithm>,
    started_at: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    cache: KeySetCache,
    is_stopping: bool,
    /// Fetches that have ended, and of these, in a row up to now, such as failed.
    fetches: u64,
    failures: u64,
    /// What the log has told of the last one that failed.
    told: Option<String>,
}

impl Issuer {
    /// Begins to fetch from a URL.
    pub(super) fn start(url: &str, algorithms: &[Algorithm], timing: Timing) -> io::Result<Self> {
        let cache = KeySetCache::new(timing);
        let state = State { cache, is_stopping: false, fetches: 0, failures: 0, told: None };
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            algorithms: algorithms.to_vec(),
            started_at: Clock::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let issuer = Self(shared.clone());
        // Nobody joins it: at the end of the broker it may be in the midst of a fetch.
        std::thread::Builder::new()
            .name("dunlin-issuer".to_owned())
            .spawn(move || shared.run(&client(&shared.url)))?;
        Ok(issuer)
    }

    /// The keys, if they are not too old to be believed.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.0.state().cache.key_set(self.0.now()).cloned()
    }

    /// Tells of a token whose key is not there, or of an operator who wants the keys to be fetched.
    /// The time between two fetches is kept.
    pub(super) fn ask_again(&self) {
        self.0.state().cache.handle_unknown_key();
        self.0.changed.notify_all();
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.0.state().is_stopping = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }

    fn run(&self, client: &HttpClient) {
        let mut state = self.state();
        while !state.is_stopping {
            let now = self.now();
            if !state.cache.begin_fetch(now) {
                let pause = state.cache.poll_timeout().saturating_sub(now);
                let waited = self.changed.wait_timeout(state, pause);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            drop(state);
            let fetched = fetch(client, &self.algorithms);
            state = self.state();
            state.handle_fetched(self.now(), &self.url, fetched);
            self.changed.notify_all();
        }
    }
}

impl State {
    fn handle_fetched(&mut self, now: Duration, url: &str, fetched: Result<KeySet, FetchError>) {
        self.fetches += 1;
        match &fetched {
            Ok(keys) if self.fetches == 1 || self.failures > 0 => {
                tracing::info!(keys = keys.len(), "the keys of tokens were fetched from {url}");
            }
            // Of a failure that lasts the log tells once, until it is another one.
            Err(error) if self.told != Some(error.to_string()) => {
                tracing::error!("the keys of tokens can't be fetched from {url}: {error}");
            }
            _ => {}
        }
        self.told = fetched.as_ref().err().map(ToString::to_string);
        self.failures = if fetched.is_ok() { 0 } else { self.failures + 1 };
        self.cache.handle_fetched(now, fetched.ok());
    }
}

fn client(url: &str) -> HttpClient {
    HttpClient::new(url, FETCH_TIMEOUT, SET_LEN_MAX, None)
}

fn fetch(client: &HttpClient, algorithms: &[Algorithm]) -> Result<KeySet, FetchError> {
    let answer = client.get()?;
    if answer.status != 200 {
        return Err(FetchError::Status(answer.status));
    }
    let keys = parse(&answer.body)?;
    match algorithms.iter().any(|algorithm| keys.serves(*algorithm)) {
        true => Ok(keys),
        false => Err(FetchError::OtherAlgorithms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::http_client::HEAD_LEN_MAX;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// A key of RFC 8037, appendix A.
    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// A key of RFC 7515, appendix A.3.
    const OTHER_KIND: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    const ALGORITHMS: [Algorithm; 1] = [Algorithm::EdDsa];

    /// No pause between fetches that fail, and no second one after one that does not.
    const AT_ONCE: Timing = Timing {
        refresh: Duration::from_secs(86_400),
        cooldown: Duration::ZERO,
        expiry: Duration::from_secs(86_400),
        fetch_timeout: Duration::from_secs(86_400),
    };

    /// A server that answers one request after another, each on a connection of its own.
    fn serve(answers: Vec<String>) -> (SocketAddr, JoinHandle<TcpListener>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a request");
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).expect("a whole request");
                    head.push(byte[0]);
                }
                // Who has heard enough closes before the end.
                drop(stream.write_all(answer.as_bytes()));
            }
            listener
        });
        (address, thread)
    }

    fn response(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn wait_until(issuer: &Issuer, is_so: impl Fn(&State) -> bool) {
        let state = issuer.0.state();
        drop(issuer.0.changed.wait_while(state, |state| !is_so(state)).expect("no panic"));
    }

    #[test]
    fn keys_are_fetched_in_the_end_from_whatever_a_server_does() {
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\
                         Content-Length: 0\r\n\r\n";
        let large = " ".repeat(SET_LEN_MAX + 1);
        let (address, server) = serve(vec![
            String::new(),
            "garbage\r\n\r\n".to_owned(),
            response("500 Internal Server Error", SET),
            response("204 No Content", ""),
            elsewhere.to_owned(),
            response("200 OK", ""),
            response("200 OK", "<html>"),
            response("200 OK", r#"{"keys":[]}"#),
            response("200 OK", OTHER_KIND),
            response("200 OK", &large),
            // Without a length, and without an end but that of the bound.
            format!("HTTP/1.1 200 OK\r\n\r\n{large}"),
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n{SET}", "x".repeat(2 * HEAD_LEN_MAX)),
            // Cut short.
            format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{SET}"),
            response("200 OK", SET),
        ]);
        let issuer = Issuer::start(&format!("http://{address}/keys"), &ALGORITHMS, AT_ONCE)
            .expect("a thread");
        wait_until(&issuer, |state| state.fetches > 0 && state.failures == 0);
        assert_eq!(issuer.0.state().fetches, 14, "each of the others failed");
        assert!(issuer.keys().expect("keys").serves(Algorithm::EdDsa));
        server.join().expect("all were asked for");
    }

    #[test]
    fn keys_that_were_fetched_outlive_a_server_that_fails() {
        let (address, server) = serve(vec![
            response("200 OK", SET),
            response("200 OK", OTHER_KIND),
            response("200 OK", &SET.replace(r#""1""#, r#""2""#)),
        ]);
        let issuer =
            Issuer::start(&format!("http://{address}/"), &ALGORITHMS, AT_ONCE).expect("a thread");
        wait_until(&issuer, |state| state.fetches == 1);
        assert!(issuer.keys().expect("keys").names("1"));
        issuer.ask_again();
        wait_until(&issuer, |state| state.fetches >= 2);
        assert!(issuer.keys().is_some(), "those of before");
        wait_until(&issuer, |state| state.fetches == 3);
        assert!(issuer.keys().expect("keys").names("2"));
        server.join().expect("all were asked for");
    }

    #[test]
    fn a_server_must_show_a_certificate_that_is_trusted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("one");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .expect("a key and its certificate");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut tls = rustls::ServerConnection::new(Arc::new(config)).expect("legal");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            // In vain, as the client has gone.
            let _ = stream.write_all(response("200 OK", SET).as_bytes());
        });
        let fetched = fetch(&client(&format!("https://{address}/")), &ALGORITHMS);
        assert!(matches!(fetched, Err(FetchError::Http(HttpError::Tls(_)))), "{fetched:?}");
        server.join().expect("asked");
    }

    #[test]
    fn a_server_that_hangs_holds_up_neither_logins_nor_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let issuer =
            Issuer::start(&format!("http://{address}/"), &ALGORITHMS, AT_ONCE).expect("a thread");
        let _hanging = listener.accept().expect("a request");
        assert!(issuer.keys().is_none());
        for _ in 0..1_000 {
            issuer.ask_again();
        }
        assert_eq!(issuer.0.state().fetches, 0, "it hangs");
        drop(issuer);
    }
}
