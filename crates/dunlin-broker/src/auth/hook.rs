//! A back end over HTTP that is asked about each login. Whatever goes wrong with it denies: only its
//! own word lets somebody in, or leaves it to the methods after it.

use super::chain::{Answer, Bulkhead, Candidate, Method, Why};
use super::circuit::{Circuit, FAILURES_MAX, Network, Outcome, Turn};
use super::faults::FaultLog;
use super::http_client::{HttpAnswer, HttpClient, HttpError};
use super::vouched::{self, Unvouched};
use crate::config::{Config, Http};
use crate::core::Grant;
use crate::net::network_of;
use crate::trusted_file::{self, Fault, TrustedFile};
use dunlin_identity::hook::{
    self, ANSWER_LEN_MAX, CLIENT_IDENTIFIER_LEN_MAX, InvalidAnswer, PASSWORD_LEN_MAX, Vouched,
};
use dunlin_identity::{USER_NAME_LEN_MAX, UserName};
use dunlin_protocol::codec::ReasonCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant as Clock};
use ureq::http::HeaderValue;
use ureq::tls::Certificate;

/// Bytes that the file of a secret may have.
const SECRET_LEN_MAX: usize = 4 << 10;
/// Bytes that the file of certificates may have.
const CERTIFICATES_LEN_MAX: usize = 1 << 20;

/// What is said of all whom the back end could have let in while it is left alone.
const LEFT_ALONE: Answer = Answer::Deny(
    ReasonCode::ServerUnavailable,
    Why::Borrowed("auth.http is not asked for a moment, since it has failed again and again"),
);

/// Why a file for the back end of logins is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}: {reason}", path.display())]
#[non_exhaustive]
pub struct HttpFileError {
    /// The setting that names it.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and the mend.
    pub reason: String,
}

impl HttpFileError {
    /// The file and its fault, where the setting is told apart from them.
    pub(crate) fn fault(&self) -> String {
        format!("{}: {}", self.path.display(), self.reason)
    }
}

/// A back end and what it is asked with.
#[derive(Debug)]
pub(crate) struct Hook {
    settings: Http,
    /// Whether anybody heeds rules that come with an answer.
    heeds_rules: bool,
    back_end: RwLock<Arc<BackEnd>>,
    circuit: Circuit,
    faults: Mutex<FaultLog>,
}

/// What was read from files, made ready for use.
#[derive(Debug)]
pub(crate) struct BackEnd {
    client: HttpClient,
    /// Never shows itself.
    authorization: Option<HeaderValue>,
}

/// Why the back end has not decided.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no whole answer has come within auth.http.timeout_millis, {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error(transparent)]
    Http(HttpError),
    #[error("the answer has the status {0}, neither 200 nor 204")]
    Status(u16),
    #[error(transparent)]
    Answer(#[from] InvalidAnswer),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout(timeout) => Self::Timeout(timeout),
            error => Self::Http(error),
        }
    }
}

impl Failure {
    /// What it says of the back end.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Answer(InvalidAnswer::Name(_)) => Outcome::Well,
            // It asks to be left alone, or to be asked later.
            Self::Status(408 | 429) => Outcome::Failed,
            Self::Status(400..=499) => Outcome::Refused,
            Self::Http(HttpError::Unreachable(_)) => Outcome::Unreachable,
            Self::Timeout(_) | Self::Http(_) | Self::Status(_) | Self::Answer(_) => Outcome::Failed,
        }
    }
}

impl BackEnd {
    /// Reads what the settings name, if they name a back end.
    pub(crate) fn read(settings: &Http) -> Result<Option<Self>, HttpFileError> {
        let Some(url) = &settings.url else { return Ok(None) };
        let trusted = settings.ca_file.as_deref().map(read_certificates).transpose()?;
        let client = HttpClient::new(url, timeout(settings), ANSWER_LEN_MAX, trusted);
        let authorization = settings.bearer_file.as_deref().map(read_secret).transpose()?;
        Ok(Some(Self { client, authorization }))
    }

    fn ask(&self, candidate: &Candidate) -> Result<Option<hook::Answer>, Failure> {
        let login = &candidate.login;
        let question = hook::Question {
            listener: candidate.listener.as_deref(),
            address: candidate.address.map(|address| address.ip().to_canonical()),
            client_identifier: &login.client_identifier,
            user_name: login.user_name.as_deref(),
            password: login.password.as_deref(),
            certificate: candidate.certificate.as_deref(),
        };
        match self.client.post(&question.to_json(), self.authorization.as_ref())? {
            HttpAnswer { status: 200, body } => Ok(Some(hook::parse(&body)?)),
            HttpAnswer { status: 204, .. } => Ok(None),
            HttpAnswer { status, .. } => Err(Failure::Status(status)),
        }
    }
}

fn network(candidate: &Candidate) -> Network {
    candidate.address.map(|address| network_of(address.ip()))
}

fn timeout(settings: &Http) -> Duration {
    Duration::from_millis(u64::from(settings.timeout_millis))
}

impl Hook {
    /// Reads what a configuration names, if it names a back end.
    pub(super) fn read(config: &Config) -> Result<Option<Self>, HttpFileError> {
        let settings = config.auth.http.clone();
        let Some(back_end) = BackEnd::read(&settings)? else { return Ok(None) };
        let back_end = RwLock::new(Arc::new(back_end));
        let circuit = Circuit::new(timeout(&settings));
        let heeds_rules = config.rights.file.is_some();
        let faults = Mutex::new(FaultLog::new(Clock::now()));
        Ok(Some(Self { settings, heeds_rules, back_end, circuit, faults }))
    }

    /// Reads the files again, also those of the authorities that this machine trusts; whether there
    /// are some of our own. What is in force stays so if one of them is of no use.
    pub(crate) fn reload(&self) -> Result<bool, HttpFileError> {
        if let Some(back_end) = BackEnd::read(&self.settings)? {
            *self.back_end.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(back_end);
        }
        Ok(self.settings.ca_file.is_some() || self.settings.bearer_file.is_some())
    }

    fn back_end(&self) -> Arc<BackEnd> {
        self.back_end.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, candidate: &Candidate) -> Answer {
        let Some(attempt) = self.circuit.begin(Clock::now(), network(candidate)) else {
            return LEFT_ALONE;
        };
        let asked = self.back_end().ask(candidate);
        let outcome = asked.as_ref().err().map_or(Outcome::Well, Failure::outcome);
        let turn = self.circuit.end(Clock::now(), attempt, outcome);
        self.tell(turn, asked.as_ref().err());
        match asked {
            Ok(Some(hook::Answer::Allow(vouched))) => self.allow(candidate, &vouched),
            Ok(Some(hook::Answer::Deny)) => {
                Answer::deny(ReasonCode::BadUserNameOrPassword, "auth.http has denied it")
            }
            Ok(None) => Answer::NotMine,
            Err(failure @ Failure::Answer(InvalidAnswer::Name(_))) => {
                not_authorized(format!("auth.http: {failure}"))
            }
            Err(failure) => {
                Answer::deny(ReasonCode::ServerUnavailable, format!("auth.http: {failure}"))
            }
        }
    }

    fn allow(&self, candidate: &Candidate, vouched: &Vouched) -> Answer {
        let named = candidate.login.user_name.as_deref();
        let user = vouched.user.as_ref().map(UserName::as_str).or(named);
        let Some(user) = user else {
            return not_authorized("auth.http names no user, and neither does the client");
        };
        let rules = vouched.rules.as_ref();
        match vouched::identity(user, &vouched.groups, rules, self.heeds_rules) {
            Ok(identity) => {
                let left = vouched.expires_in_secs.map(Duration::from_secs);
                let expires_at = left.map(|left| candidate.now() + left);
                Answer::Allow(Grant { expires_at, ..Grant::of(identity) })
            }
            Err(Unvouched::Name) => not_authorized("the user has no legal name"),
            Err(Unvouched::Unheeded) => not_authorized(
                "the answer of auth.http has rules, which count beside a rights.file alone",
            ),
            Err(Unvouched::Rules) => {
                not_authorized("the rules in the answer of auth.http are not legal")
            }
        }
    }

    fn tell(&self, turn: Turn, failure: Option<&Failure>) {
        let url = self.settings.url.as_deref().unwrap_or_default();
        // Nobody waits for the log.
        let faults = || self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        match (turn, failure.map(ToString::to_string)) {
            (Turn::Opened, Some(fault)) => {
                faults().note(Clock::now(), &fault);
                tracing::error!(
                    "auth.http is not asked for a moment: {FAILURES_MAX} times in a row {url} has \
                     failed: {fault}"
                );
            }
            (Turn::Failed | Turn::StillFails, Some(fault)) => {
                let lasts = turn == Turn::StillFails;
                let admitted = faults().admit(Clock::now(), &fault, lasts);
                if let Some(unsaid) = admitted {
                    tracing::error!(unsaid, "auth.http: {url}: {fault}");
                }
            }
            (Turn::Closed, _) => {
                faults().forget();
                tracing::info!("auth.http answers again: {url}");
            }
            _ => {}
        }
    }
}

fn not_authorized(why: impl Into<Why>) -> Answer {
    Answer::deny(ReasonCode::NotAuthorized, why)
}

/// The certificates of authorities in a file of PEM.
fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, HttpFileError> {
    let wrong = |reason: String| wrong("auth.http.ca_file", path, reason);
    let TrustedFile { bytes, .. } = read_file("auth.http.ca_file", path, CERTIFICATES_LEN_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| wrong(format!("no PEM with a certificate: {error}")))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in it; it has to be PEM".to_owned()));
    }
    // What the library can't read it would leave out.
    let mut roots = rustls::RootCertStore::empty();
    for certificate in &found {
        let added = roots.add(certificate.clone());
        added.map_err(|error| wrong(format!("a certificate can't be used: {error}")))?;
    }
    Ok(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

/// What `Authorization` says, with the secret of a file.
fn read_secret(path: &Path) -> Result<HeaderValue, HttpFileError> {
    const KEY: &str = "auth.http.bearer_file";
    let TrustedFile { bytes, is_public } = read_file(KEY, path, SECRET_LEN_MAX)?;
    let secret = bytes.trim_ascii_end();
    if secret.is_empty() || !secret.iter().all(u8::is_ascii_graphic) {
        let reason = "expected one line with the secret, of ASCII characters without spaces";
        return Err(wrong(KEY, path, reason.to_owned()));
    }
    if is_public {
        tracing::warn!("{}: everybody may read the secret; say chmod o-r", path.display());
    }
    let value = [b"Bearer ", secret].concat();
    let mut value = HeaderValue::from_bytes(&value)
        .map_err(|error| wrong(KEY, path, format!("it can't be sent: {error}")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_file(key: &'static str, path: &Path, len_max: usize) -> Result<TrustedFile, HttpFileError> {
    let file = trusted_file::read(path, len_max).map_err(|fault| match fault {
        Fault::Unreadable(error) => wrong(key, path, error.to_string()),
        Fault::WorldWritable => {
            wrong(key, path, "everybody may write to it; say chmod o-w".to_owned())
        }
    })?;
    if file.bytes.len() > len_max {
        return Err(wrong(key, path, format!("the file has more than {} KiB", len_max >> 10)));
    }
    Ok(file)
}

fn wrong(key: &'static str, path: &Path, reason: String) -> HttpFileError {
    HttpFileError { key, path: path.to_owned(), reason }
}

impl Method for Arc<Hook> {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        let login = &candidate.login;
        let password_len = login.password.as_ref().map_or(0, |password| password.len());
        // What can't be right does not wait, for the queue would have to hold it.
        if login.user_name.as_ref().is_some_and(|user| user.len() > USER_NAME_LEN_MAX)
            || password_len > PASSWORD_LEN_MAX
        {
            let why = "the user name or password is too long for auth.http";
            return Some(Answer::deny(ReasonCode::BadUserNameOrPassword, why));
        }
        if login.client_identifier.len() > CLIENT_IDENTIFIER_LEN_MAX {
            let why = "the client identifier is too long for auth.http";
            return Some(Answer::deny(ReasonCode::ClientIdentifierNotValid, why));
        }
        self.circuit.is_open(Clock::now(), network(candidate)).then_some(LEFT_ALONE)
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        self.ask(candidate)
    }

    fn bulkhead(&self) -> Option<Bulkhead> {
        Some(Bulkhead { name: "http", threads: self.settings.requests_max, may_hang: true })
    }

    fn news(&self) -> Vec<(&'static str, String)> {
        let Some(counts) = self.circuit.news() else { return Vec::new() };
        let values = [
            ("logins/http/open", u64::from(counts.is_open)),
            ("logins/http/opened", counts.opened),
            ("logins/http/failed", counts.failed),
        ];
        values.map(|(name, value)| (name, value.to_string())).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    /// What becomes of a file with this text, and these rights.
    fn read<T>(
        text: &str,
        mode: u32,
        read: fn(&Path) -> Result<T, HttpFileError>,
    ) -> Result<T, String> {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its owner's");
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_one_line_that_never_shows() {
        for text in ["sesame", "sesame\n", "sesame\r\n"] {
            let value = read(text, 0o600, read_secret).expect("a secret");
            assert_eq!(value, "Bearer sesame");
            assert!(!format!("{value:?}").contains("sesame"), "{value:?}");
        }
        for (text, mode, expected) in [
            ("", 0o600, "expected one line"),
            ("\n", 0o600, "expected one line"),
            ("open sesame", 0o600, "expected one line"),
            ("open\nsesame\n", 0o600, "expected one line"),
            ("öffne", 0o600, "expected one line"),
            (&*"x".repeat(SECRET_LEN_MAX + 1), 0o600, "more than 4 KiB"),
            ("sesame", 0o602, "chmod o-w"),
        ] {
            let error = read(text, mode, read_secret).expect_err("no secret");
            assert!(error.starts_with("auth.http.bearer_file: /"), "{error}");
            assert!(error.contains(expected) && !error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn authorities_are_certificates_that_can_be_used() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let pem = own.cert.pem();
        let count = |text: &str| read(text, 0o600, read_certificates).map(|found| found.len());
        assert_eq!(count(&pem), Ok(1));
        assert_eq!(count(&pem.repeat(2)), Ok(2));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            (String::new(), "there is no certificate"),
            ("nonsense".to_owned(), "there is no certificate"),
            (own.signing_key.serialize_pem(), "there is no certificate"),
            (format!("{pem}{broken}"), "can't be used"),
            (pem.replace("-----END", "-----BEGIN"), "no PEM"),
        ] {
            let error = count(&text).expect_err("of no use");
            assert!(error.contains("auth.http.ca_file") && error.contains(expected), "{error}");
        }
    }

    /// A back end that answers each question with these bytes, and leaves; it never answers if there
    /// are none.
    fn serve(answer: Option<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut waiting: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let (mut request, mut byte) = (Vec::new(), [0]);
                // The object of the question has no other in it.
                while !request.ends_with(b"}") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                match &answer {
                    // Who has heard enough closes before the end.
                    Some(answer) => drop(stream.write_all(answer)),
                    None => waiting.push(stream),
                }
            }
        });
        address
    }

    fn hook(address: SocketAddr, timeout_millis: u32) -> Arc<Hook> {
        let mut config = Config::default();
        config.auth.http.url = Some(format!("http://{address}/"));
        config.auth.http.timeout_millis = timeout_millis;
        Arc::new(Hook::read(&config).expect("no files").expect("a URL"))
    }

    fn candidate() -> Candidate {
        Candidate::local(Some("gauge"), Some(b"open sesame"))
    }

    /// Why the back end lets nobody in.
    fn why(hook: &Arc<Hook>) -> String {
        match hook.answer(&candidate()) {
            Answer::Deny(_, why) => why.into_owned(),
            answer => panic!("not denied: {answer:?}"),
        }
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_refusal_says_what_was_wrong_with_the_answer() {
        let error = "HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n";
        let cut = ok(r#"{"allow": true}"#).replace(": true}", "");
        let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
        let long = ok(&" ".repeat(ANSWER_LEN_MAX + 1));
        for (answer, expected) in [
            (error, "auth.http: the answer has the status 503, neither 200 nor 204"),
            (&ok("lies"), "auth.http: the answer is no JSON object, or has a member twice"),
            (&ok("{}"), "auth.http: the answer has no `allow`"),
            (&ok(r#"{"allow": 1}"#), "auth.http: `allow` of the answer is of the wrong type"),
            (
                &ok(r#"{"allow": true, "user": ""}"#),
                "auth.http: a name in the answer is not legal: the name is empty",
            ),
            ("\x16\x03\x01 garbage\r\n\r\n", "auth.http: its answer is no HTTP/1.1: "),
            (&long, "auth.http: its answer is longer than 16384 bytes"),
            (&endless_head, "auth.http: the head of its answer is longer than 16384 bytes"),
            (&cut, "auth.http: it has closed the connection before its answer was whole"),
            ("", "auth.http: it has closed the connection before its answer was whole"),
        ] {
            let address = serve(Some(answer.as_bytes().to_vec()));
            let told = why(&hook(address, 60_000));
            assert!(told.starts_with(expected), "{expected}\n{told}");
        }
        let told = why(&hook(serve(None), 50));
        assert_eq!(
            told,
            "auth.http: no whole answer has come within auth.http.timeout_millis, 50 ms"
        );
        let gone = TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr());
        let hook = hook(gone.expect("a port"), 60_000);
        for _ in 0..FAILURES_MAX {
            let told = why(&hook);
            assert!(
                told.starts_with("auth.http: it can't be reached: Connection refused"),
                "{told}"
            );
        }
        assert!(why(&hook).starts_with("auth.http is not asked for a moment"), "left alone");
    }
}
