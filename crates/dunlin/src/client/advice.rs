//! What keeps a connection from coming about, and what to do about it: one message for each mistake that
//! is often made, in terms of this program's own flags.

use crate::failure::Failure;
use dunlin_client::{
    CertificateFault, ConnectError, ConnectionEnd, Foreign, TlsAlert, TlsFault, UpgradeError,
};
use jiff::Timestamp;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Names of a certificate that are shown.
const NAMES_MAX: usize = 5;

/// How a broker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
    Quic,
    Unix,
}

/// What was asked for, as far as a mistake may be in it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) scheme: Scheme,
    /// Host and port, or the path of a socket, for people.
    pub(super) peer: String,
    /// The path of the WebSocket.
    pub(super) path: String,
    /// The file of `--cafile`.
    pub(super) cafile: Option<PathBuf>,
    /// Whether there is a certificate to show.
    pub(super) has_certificate: bool,
}

impl Asked {
    /// Why there is no connection.
    pub(super) fn unconnected(&self, error: &ConnectError) -> Failure {
        let peer = &self.peer;
        Failure::new(match error {
            ConnectError::Transport { source, .. }
                if source.kind() == ErrorKind::ConnectionRefused =>
            {
                format!(
                    "nobody listens on {peer}; start a broker (`dunlin`) or give its address with \
                     -h and -p"
                )
            }
            ConnectError::Transport { source, .. } if is_closed(source) => {
                self.unanswered().unwrap_or_else(|| format!("can't connect to {peer}: {source}"))
            }
            ConnectError::Transport { source, .. } | ConnectError::Resolve { source, .. } => {
                format!("can't connect to {peer}: {source}")
            }
            ConnectError::Tls { source, .. } => self.no_tls(source),
            ConnectError::WebSocket { source, .. } => {
                let why = match error.upgrade_error() {
                    Some(error) => self.upgrade(error),
                    None => self.no_answer(source),
                };
                format!("no WebSocket with {peer}: {why}")
            }
            ConnectError::NotMqtt(foreign) => self.foreign(*foreign),
            ConnectError::Ended(ConnectionEnd::Network) => match self.unanswered() {
                Some(why) => why,
                None => return Failure::of(error),
            },
            error => return Failure::of(error),
        })
    }

    /// What it may mean that a broker has closed a connection without having said anything on it.
    pub(super) fn unanswered(&self) -> Option<String> {
        let mend = match self.scheme {
            Scheme::Mqtt => "if it has TLS there, write mqtts://, and if it has WebSocket, ws://",
            Scheme::Mqtts => "if it has WebSocket there, write wss://",
            Scheme::Ws | Scheme::Wss | Scheme::Quic | Scheme::Unix => return None,
        };
        Some(format!("{}: the broker closed the connection without an answer; {mend}", self.peer))
    }

    /// What answers, in place of a broker.
    pub(super) fn foreign(&self, foreign: Foreign) -> String {
        let peer = &self.peer;
        match (foreign, self.scheme) {
            (Foreign::Tls, _) => format!(
                "{peer}: the broker speaks TLS there; write mqtts:// (or wss:// if it has WebSocket), \
                 or add --cafile FILE"
            ),
            (Foreign::Http, Scheme::Mqtts) => format!(
                "{peer}: a server of HTTP answers there; write wss:// for MQTT over WebSocket"
            ),
            (Foreign::Http, _) => format!(
                "{peer}: a server of HTTP answers there; write ws:// for MQTT over WebSocket"
            ),
            (foreign, _) => format!("{peer}: what answers there speaks {foreign}, not MQTT"),
        }
    }

    /// What is wrong with TLS, in the handshake or after it.
    pub(super) fn no_tls(&self, error: &io::Error) -> String {
        let why = match TlsFault::of(error) {
            Some(TlsFault::Certificate(fault)) => self.certificate(fault, error),
            Some(TlsFault::Alert(alert)) => self.alert(*alert, error),
            Some(TlsFault::NoTls) => format!("{error}; write {}", self.without_tls()),
            Some(TlsFault::Http) => {
                "a server of HTTP without TLS answers there; write ws://".to_owned()
            }
            // So does one end who does not know what the greeting of TLS means.
            None if is_closed(error) => {
                let mend = self.without_tls();
                format!("the connection was closed; if the broker has no TLS there, write {mend}")
            }
            _ => error.to_string(),
        };
        format!("no TLS with {}: {why}", self.peer)
    }

    const fn without_tls(&self) -> &'static str {
        match self.scheme {
            Scheme::Wss => "ws://, or mqtt:// if it has no WebSocket either",
            _ => "mqtt://, or ws:// if it has WebSocket",
        }
    }

    /// What the broker's certificate is refused for.
    fn certificate(&self, fault: &CertificateFault, error: &io::Error) -> String {
        let file = self.cafile.as_ref().map(|path| path.display().to_string());
        match (fault, file) {
            (CertificateFault::UnknownIssuer, Some(file)) => format!(
                "no authority in {file} has signed the broker's certificate; give --cafile the \
                 certificate of the one that has"
            ),
            (CertificateFault::UnknownIssuer, None) => {
                "no authority that this machine trusts has signed the broker's certificate; give \
                 the certificate of the one that has with --cafile FILE"
                    .to_owned()
            }
            (CertificateFault::SelfSigned, Some(file)) => format!(
                "the broker's certificate has signed itself, and is not in {file}; if it is the \
                 right one, give it to --cafile"
            ),
            (CertificateFault::SelfSigned, None) => {
                "the broker's certificate has signed itself; if it is the right one, trust it \
                 with --cafile FILE"
                    .to_owned()
            }
            (CertificateFault::BadSignature, Some(file)) => format!(
                "the authority in {file} has the name of the one that has signed the broker's \
                 certificate, but another key; give --cafile the certificate of the one that has"
            ),
            (CertificateFault::Authority, _) => {
                "the broker shows the certificate of an authority (CA:TRUE) as its own; give it one \
                 that an authority has signed, as `dunlin cert` does"
                    .to_owned()
            }
            (CertificateFault::Name { asked, names }, _) => misnamed(asked, names.as_deref()),
            (CertificateFault::Expired { not_after }, _) => format!(
                "the broker's certificate has ended{}; it has to be renewed, unless the clock of \
                 this machine is wrong: it says {}",
                on(*not_after),
                clock()
            ),
            (CertificateFault::NotYetValid { not_before }, _) => format!(
                "the broker's certificate has not begun{}; set the clock of this machine, which \
                 says {}, or wait",
                on(*not_before),
                clock()
            ),
            (CertificateFault::Purpose, _) => {
                "the broker's certificate is not for servers; give the broker one whose purposes \
                 have serverAuth, as `dunlin cert --server` does"
                    .to_owned()
            }
            (CertificateFault::Revoked, _) => {
                "the broker's certificate was revoked; the broker needs another one".to_owned()
            }
            _ => error.to_string(),
        }
    }

    /// What the broker has against us.
    fn alert(&self, alert: TlsAlert, error: &io::Error) -> String {
        let demanded = "the broker demands a certificate; add --cert FILE and --key FILE";
        let refused = "the broker refuses the certificate of --cert";
        match (alert, self.has_certificate) {
            (TlsAlert::CertificateRequired, true) => {
                format!("{refused}: it asks for one of another kind")
            }
            (TlsAlert::CertificateRequired, false) => demanded.to_owned(),
            (TlsAlert::UnknownCa, true) => format!(
                "{refused}: it does not trust the authority that has signed it; show one of an \
                 authority of the broker's"
            ),
            (TlsAlert::CertificateExpired, true) => format!(
                "{refused}: it has ended, or not begun, by the broker's clock; renew it, or set the \
                 clock"
            ),
            (TlsAlert::DecryptError, true) => format!(
                "{refused}: it can't verify its signature; show one that an authority of the \
                 broker's has signed"
            ),
            (TlsAlert::CertificateRevoked, true) => {
                format!("{refused}: it was revoked; show another one")
            }
            (TlsAlert::UnsupportedCertificate, true) => format!(
                "{refused}: it is not for clients, or of a kind that the broker does not take; show \
                 one whose purposes have clientAuth, as `dunlin cert --client` does"
            ),
            (
                TlsAlert::BadCertificate | TlsAlert::CertificateUnknown | TlsAlert::AccessDenied,
                true,
            ) => format!("{refused} ({error}); the broker's log says why"),
            // So do brokers of TLS 1.2 say that they want one.
            (
                TlsAlert::HandshakeFailure
                | TlsAlert::BadCertificate
                | TlsAlert::CertificateUnknown
                | TlsAlert::AccessDenied,
                false,
            ) => format!(
                "the broker ends it ({error}); if it demands a certificate, add --cert FILE and \
                 --key FILE"
            ),
            (TlsAlert::ProtocolVersion, _) => {
                "the broker speaks neither TLS 1.2 nor TLS 1.3; it has to learn one of them"
                    .to_owned()
            }
            (TlsAlert::UnrecognizedName, _) => {
                "the broker has no certificate for this name; connect by another one of its names"
                    .to_owned()
            }
            (TlsAlert::NoApplicationProtocol, _) if self.scheme == Scheme::Quic => {
                "the server speaks QUIC there, but not for MQTT; give the port of a broker's \
                 quic:// listener, and leave out --tls-alpn"
                    .to_owned()
            }
            (TlsAlert::NoApplicationProtocol, _) => {
                "the broker does not know the protocol of --tls-alpn; leave it out".to_owned()
            }
            _ => error.to_string(),
        }
    }

    /// What is wrong with the answer to the request for a WebSocket.
    fn upgrade(&self, error: &UpgradeError) -> String {
        let path = &self.path;
        let other_path = "give the broker's path, as in ws://HOST:PORT/PATH";
        match error {
            UpgradeError::Tls => {
                "the broker speaks TLS there; write wss://, or mqtts:// if it has no WebSocket"
                    .to_owned()
            }
            UpgradeError::Status(status @ 404) => {
                format!("there is nothing at {path} (status {status}); {other_path}")
            }
            UpgradeError::Status(status @ 200..300) => {
                format!("there is a web page at {path} (status {status}); {other_path}")
            }
            UpgradeError::Status(status @ (401 | 407)) => format!(
                "the server, or a proxy before it, wants a login over HTTP (status {status}), for \
                 which this program has no flag; let MQTT pass without one"
            ),
            UpgradeError::Status(status @ 403) => format!(
                "the server, or a proxy before it, forbids it (status {status}); have it let \
                 clients in that send no Origin"
            ),
            UpgradeError::Status(status @ (400 | 405 | 426 | 501)) => {
                let mend = match self.scheme {
                    Scheme::Wss => other_path.to_owned(),
                    _ => format!("{other_path}, or write wss:// if it has TLS there"),
                };
                format!("the server takes no WebSocket at {path} (status {status}); {mend}")
            }
            UpgradeError::Status(status @ 500..600) => format!(
                "the server, or a proxy before it, fails (status {status}); see whether the broker \
                 behind it runs"
            ),
            UpgradeError::Moved { status, location } => format!(
                "the server leads elsewhere (status {status}), to {location}; connect there, with \
                 ws:// in place of http://, and wss:// of https://"
            ),
            UpgradeError::SubProtocol => format!(
                "there is a WebSocket at {path}, but not for MQTT: the server does not choose the \
                 sub-protocol mqtt; {other_path}"
            ),
            UpgradeError::Head(error) => {
                format!("what answers is {error}; {}", self.without_web_socket())
            }
            error => format!("{error}; {other_path}"),
        }
    }

    /// What it means that the server says nothing to that request.
    fn no_answer(&self, error: &io::Error) -> String {
        match is_closed(error) {
            true => {
                let mend = self.without_web_socket();
                format!("the connection was closed without an answer; {mend}")
            }
            false => error.to_string(),
        }
    }

    const fn without_web_socket(&self) -> &'static str {
        match self.scheme {
            Scheme::Wss => "if the broker has no WebSocket there, write mqtts://",
            _ => "if the broker has no WebSocket there, write mqtt://, and if it has TLS, wss://",
        }
    }
}

/// What a certificate of other names is refused for.
fn misnamed(asked: &str, names: Option<&[String]>) -> String {
    let (shown, others) = match names {
        None => {
            return format!(
                "the broker's certificate is not for {asked}; connect by a name that it has or say it \
                 with --server-name, or take any name with --insecure"
            );
        }
        Some([]) => {
            return format!(
                "the broker's certificate is for no name or address (a Common Name does not count), \
                 and so not for {asked}; give the broker one of that name, as \
                 `dunlin cert --server {asked}` does"
            );
        }
        Some(names) if names.len() > NAMES_MAX => (&names[..NAMES_MAX], " and others"),
        Some(names) => (names, ""),
    };
    format!(
        "the broker's certificate is for {}{others}, not for {asked}; connect by such a name or say it \
         with --server-name, or take any name with --insecure",
        shown.join(", ")
    )
}

/// When something began or ended, if that is known: seconds since 1970.
fn on(at: Option<u64>) -> String {
    let at = at.and_then(|at| Timestamp::from_second(i64::try_from(at).ok()?).ok());
    at.map(|at| format!(" ({at})")).unwrap_or_default()
}

/// What the clock says, in seconds.
fn clock() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Whether the other end has gone without a word.
pub(super) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
