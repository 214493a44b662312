//! Where the broker listens: a URL whose scheme names the transport.

use super::{Endpoint, InvalidNetwork, Network, SocketFile, WebSocketListener};
use crate::core::Durability;
use dunlin_identity::certificate::CertificateField;
use dunlin_transport::tls::{CertificateFiles, ClientCertificate, ServerFiles};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// The ports of `mqtt://` and `mqtts://` when none is given, as registered for MQTT.
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;
/// The ports of `ws://` and `wss://`. None is registered, and those of HTTP need rights and are often
/// taken; these are the ports that EMQX and its clients take, and Mosquitto has none of its own.
const WS_PORT: u16 = 8083;
const WSS_PORT: u16 = 8084;
/// The port of `quic://`: none is registered, and EMQX and NanoMQ take this one.
const QUIC_PORT: u16 = 14567;

/// One address that clients connect to; prints as its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// What it is bound to.
    pub endpoint: Endpoint,
    /// The files of its TLS, if it has one.
    pub tls: Option<ServerFiles>,
    /// Which requests become WebSockets; without it, MQTT lies directly on TCP or TLS.
    pub web_socket: Option<WebSocketListener>,
    /// Whether MQTT lies on QUIC, with the TLS above, and not on TCP.
    pub is_quic: bool,
    /// The proxies that say by a PROXY header for whom they connect. Unless it is empty, nobody else
    /// is served, and nobody without a header.
    pub proxy_from: Vec<Network>,
    /// What an acknowledgement means to those who come by it; the broker's default if unset.
    pub durability: Option<Durability>,
    /// Which part of a client's certificate is its user, unless it is known by something else.
    pub certificate_user: CertificateField,
}

impl Listener {
    /// The options that its URL may have after the `?`, and its table in the file beside `url`.
    pub(super) const OPTIONS: [&str; 12] = [
        "durability",
        "mode",
        "certificate",
        "key",
        "client_ca",
        "client_crl",
        "client_certificate",
        "old_crl",
        "certificate_user",
        "proxy_from",
        "path",
        "origins",
    ];

    /// A listener for MQTT over TCP.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self {
            endpoint: Endpoint::Address(address),
            tls: None,
            web_socket: None,
            is_quic: false,
            proxy_from: Vec::new(),
            durability: None,
            certificate_user: CertificateField::CommonName,
        }
    }

    /// A listener for MQTT over TLS.
    pub fn tls(address: SocketAddr, files: ServerFiles) -> Self {
        Self { tls: Some(files), ..Self::tcp(address) }
    }

    /// A listener for MQTT over QUIC; the broker needs the feature `quic` for it.
    pub fn quic(address: SocketAddr, files: ServerFiles) -> Self {
        Self { is_quic: true, ..Self::tls(address, files) }
    }

    /// A listener for MQTT by a socket in the file system.
    pub fn unix(file: SocketFile) -> Self {
        Self { endpoint: Endpoint::Socket(file), ..Self::default() }
    }

    /// The address that it is bound to, unless it is a socket in the file system.
    pub const fn address(&self) -> Option<SocketAddr> {
        match &self.endpoint {
            Endpoint::Address(address) => Some(*address),
            Endpoint::Socket(_) => None,
        }
    }

    /// The same listener for MQTT within WebSocket.
    #[must_use]
    pub fn with_web_socket(mut self, web_socket: WebSocketListener) -> Self {
        self.web_socket = Some(web_socket);
        self
    }

    /// The same listener, where this part of a client's certificate is its user.
    #[must_use]
    pub const fn with_certificate_user(mut self, field: CertificateField) -> Self {
        self.certificate_user = field;
        self
    }

    /// The scheme of its URL.
    pub const fn scheme(&self) -> &'static str {
        match (self.web_socket.is_some(), self.tls.is_some()) {
            _ if matches!(self.endpoint, Endpoint::Socket(_)) => "unix",
            _ if self.is_quic => "quic",
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    /// Its URL without options.
    pub fn url(&self) -> String {
        let path = self.web_socket.as_ref().and_then(|web_socket| web_socket.path.as_deref());
        format!("{}://{}{}", self.scheme(), self.endpoint, path.unwrap_or_default())
    }

    /// Whether nobody gets in who is not known by a certificate.
    pub fn knows_its_clients(&self) -> bool {
        let files = self.tls.as_ref();
        files.is_some_and(|files| files.client_certificate == ClientCertificate::Required)
    }

    /// Whether clients may show a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        let files = self.tls.as_ref();
        files.is_some_and(|files| files.client_certificate != ClientCertificate::None)
    }

    /// Whether others than this machine can reach it, and what they send can be read on the way.
    pub(super) fn is_plaintext(&self) -> bool {
        !self.is_within() && self.tls.is_none()
    }

    /// Whether nobody but this machine can connect to it.
    fn is_within(&self) -> bool {
        self.address().is_none_or(|address| address.ip().is_loopback())
    }

    /// Whether others than this machine can reach it, and come in without being known.
    pub fn is_exposed(&self) -> bool {
        !self.is_local() && !self.knows_its_clients()
    }

    /// Whether only this machine can reach it, and no proxy stands for others.
    pub(crate) fn is_local(&self) -> bool {
        self.is_within() && self.proxy_from.is_empty()
    }

    /// Parses `SCHEME://ADDRESS[:PORT][/PATH][?OPTION=VALUE&...]`, and sets further options.
    pub(super) fn parse<'a>(
        url: &str,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ListenerError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(ListenerError::NoScheme(url.to_owned()));
        };
        let (port, has_tls, has_web_socket) = match scheme {
            "mqtt" => (MQTT_PORT, false, false),
            "mqtts" => (MQTTS_PORT, true, false),
            "ws" => (WS_PORT, false, true),
            "wss" => (WSS_PORT, true, true),
            "unix" => (0, false, false),
            "quic" if cfg!(feature = "quic") => (QUIC_PORT, true, false),
            "quic" => return Err(ListenerError::NotBuilt(scheme.to_owned())),
            _ => return Err(ListenerError::UnknownScheme(scheme.to_owned())),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let socket = match scheme {
            "unix" => Some(socket_file(authority)?),
            _ => None,
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (authority, path) = match authority.find('/') {
            Some(slash) if has_web_socket => authority.split_at(slash),
            _ => (authority, ""),
        };
        let mut listener = match socket {
            Some(file) => Self::unix(file),
            None => Self::tcp(resolve(authority, port)?),
        };
        let mut says_who_shows = false;
        listener.tls = has_tls.then(ServerFiles::default);
        listener.web_socket = has_web_socket.then(WebSocketListener::default);
        listener.is_quic = scheme == "quic";
        if !path.is_empty() {
            listener.set(scheme, "path", path)?;
        }
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let Some((name, value)) = option.split_once('=') else {
                return Err(ListenerError::Option(option.to_owned()));
            };
            let decoded = decode(value).ok_or_else(|| ListenerError::Option(option.to_owned()))?;
            listener.set(scheme, name, &decoded)?;
            says_who_shows |= name == "client_certificate";
        }
        for (name, value) in options {
            listener.set(scheme, name, value)?;
            says_who_shows |= name == "client_certificate";
        }
        if let Some(files) = &mut listener.tls
            && files.client_ca.is_some()
            && !says_who_shows
        {
            files.client_certificate = ClientCertificate::Required;
        }
        listener.check()?;
        Ok(listener)
    }

    fn set(&mut self, scheme: &str, name: &str, value: &str) -> Result<(), ListenerError> {
        if name == "durability" {
            let named = Durability::from_name(value);
            let named = named.ok_or_else(|| ListenerError::Durability(value.to_owned()))?;
            self.durability = Some(named);
            return Ok(());
        }
        if name == "mode" {
            return match &mut self.endpoint {
                Endpoint::Socket(file) => file.set_mode(value),
                Endpoint::Address(_) => Err(ListenerError::NeedsSocket(scheme.to_owned())),
            };
        }
        if name == "proxy_from" {
            if self.address().is_none() {
                return Err(ListenerError::NeedsNetwork);
            }
            if self.is_quic {
                return Err(ListenerError::NeedsTcp);
            }
            let networks = value.split([' ', '|']).filter(|network| !network.is_empty());
            let networks = networks.map(str::parse).collect::<Result<_, InvalidNetwork>>();
            self.proxy_from = networks.map_err(ListenerError::ProxyFrom)?;
            return Ok(());
        }
        if !Self::OPTIONS.contains(&name) {
            return Err(ListenerError::Option(format!("{name}={value}")));
        }
        if matches!(name, "path" | "origins") {
            let Some(web_socket) = &mut self.web_socket else {
                let (name, scheme) = (name.to_owned(), scheme.to_owned());
                return Err(ListenerError::NeedsWebSocket { name, scheme });
            };
            return match name {
                "path" => web_socket.set_path(value),
                _ => web_socket.set_origins(value),
            };
        }
        let Some(files) = &mut self.tls else {
            let (name, scheme) = (name.to_owned(), scheme.to_owned());
            return Err(ListenerError::NeedsTls { name, scheme });
        };
        match name {
            "certificate" => set_each(files, value, |files| &mut files.certificate),
            "key" => set_each(files, value, |files| &mut files.key),
            "client_ca" => files.client_ca = Some(value.into()),
            "client_crl" => files.client_crl = Some(value.into()),
            "certificate_user" => {
                self.certificate_user =
                    value.parse().map_err(|_| ListenerError::CertificateUser(value.to_owned()))?;
            }
            "old_crl" => {
                files.accepts_old_crl = match value {
                    "accept" => true,
                    "refuse" => false,
                    _ => return Err(ListenerError::OldCrl(value.to_owned())),
                };
            }
            _ => {
                files.client_certificate = ClientCertificate::from_name(value)
                    .ok_or_else(|| ListenerError::ClientCertificate(value.to_owned()))?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ListenerError> {
        let Some(files) = &self.tls else { return Ok(()) };
        if files.certificate.as_os_str().is_empty() || files.key.as_os_str().is_empty() {
            return Err(ListenerError::NoCertificate(self.scheme()));
        }
        let lacks = |path: &PathBuf| path.as_os_str().is_empty();
        if files.further.iter().any(|files| lacks(&files.certificate) || lacks(&files.key)) {
            return Err(ListenerError::KeysAndCertificates);
        }
        let is_asked = files.client_certificate != ClientCertificate::None;
        if files.client_ca.is_none() && (is_asked || files.client_crl.is_some()) {
            return Err(ListenerError::NoClientCa);
        }
        if files.client_ca.is_some() && !is_asked {
            return Err(ListenerError::UnusedClientCa);
        }
        if files.client_ca.is_none() && self.certificate_user != CertificateField::default() {
            return Err(ListenerError::NoClientCa);
        }
        Ok(())
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT)))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())?;
        let mut options = Vec::new();
        let default = |file: &SocketFile| SocketFile::new(&file.path).mode == file.mode;
        let mode = match &self.endpoint {
            Endpoint::Socket(file) if !default(file) => Some(format!("{:04o}", file.mode)),
            _ => None,
        };
        if let Some(files) = &self.tls {
            let of_each = |first: &PathBuf, further: fn(&CertificateFiles) -> &PathBuf| {
                let all = std::iter::once(first).chain(files.further.iter().map(further));
                let all: Vec<_> = all.map(|path| encode(&path.to_string_lossy())).collect();
                all.join("|")
            };
            options.push(("certificate", of_each(&files.certificate, |files| &files.certificate)));
            options.push(("key", of_each(&files.key, |files| &files.key)));
            let mut path = |name, path: &PathBuf| {
                options.push((name, encode(&path.to_string_lossy())));
            };
            if let Some(client_ca) = &files.client_ca {
                path("client_ca", client_ca);
            }
            if let Some(client_crl) = &files.client_crl {
                path("client_crl", client_crl);
            }
            if files.client_ca.is_some() {
                let choice = files.client_certificate.name().to_owned();
                options.push(("client_certificate", choice));
            }
            if files.accepts_old_crl {
                options.push(("old_crl", "accept".to_owned()));
            }
            if self.certificate_user != CertificateField::default() {
                options.push(("certificate_user", self.certificate_user.name().to_owned()));
            }
        }
        if let Some(WebSocketListener { origins, .. }) = &self.web_socket
            && !origins.is_empty()
        {
            options.push(("origins", encode(&origins.join("|"))));
        }
        options.extend(mode.map(|mode| ("mode", mode)));
        if !self.proxy_from.is_empty() {
            let networks: Vec<_> = self.proxy_from.iter().map(Network::to_string).collect();
            options.push(("proxy_from", networks.join("|")));
        }
        if let Some(durability) = self.durability {
            options.push(("durability", durability.name().to_owned()));
        }
        for (nth, (name, value)) in options.iter().enumerate() {
            write!(f, "{}{name}={value}", if nth == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// Why a listener's URL is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// There is no `scheme://` in front.
    #[error("{0:?} has no scheme; write it as mqtt://{0}")]
    NoScheme(String),
    /// The transport exists, but this program was built without it.
    #[error(
        "{0}:// listeners are not in this build, which lacks the feature {0}; use mqtt://, mqtts://, \
         ws://, wss:// or unix://"
    )]
    NotBuilt(String),
    /// No transport has this name.
    #[error(
        "{0}:// is no transport; use mqtt://ADDRESS:PORT, or mqtts, ws, wss or quic in its place"
    )]
    UnknownScheme(String),
    /// What follows the `?` isn't known.
    #[error("{0:?} is no option of a listener; there are {options}", options = Listener::OPTIONS.join(", "))]
    Option(String),
    /// An option of TLS where there is none.
    #[error(
        "{name} is for TLS, and {scheme}:// has none; use {secure}://",
        secure = if scheme == "ws" { "wss" } else { "mqtts" }
    )]
    NeedsTls {
        /// The option.
        name: String,
        /// The transport.
        scheme: String,
    },
    /// An option of WebSocket where there is none.
    #[error("{name} is for WebSocket, and {scheme}:// is none; use ws:// or wss://")]
    NeedsWebSocket {
        /// The option.
        name: String,
        /// The transport.
        scheme: String,
    },
    /// Not the path of a socket.
    #[error("{0:?} is no path of a socket; write it like unix:///run/dunlin.sock")]
    SocketPath(String),
    /// Not who may connect to a socket.
    #[error("{0:?} is no mode of a file, such as 0660")]
    Mode(String),
    /// A mode without a file.
    #[error("mode is for unix://, and {0}:// has no file")]
    NeedsSocket(String),
    /// A proxy that would come by a socket in the file system.
    #[error("proxy_from is for addresses, and unix:// has none")]
    NeedsNetwork,
    /// A proxy that would come over QUIC.
    #[error("proxy_from is for TCP: there is no PROXY header over quic://")]
    NeedsTcp,
    /// Not where a proxy could be.
    #[error("proxy_from: {0}")]
    ProxyFrom(InvalidNetwork),
    /// Not the path of a URL.
    #[error("{0:?} is no path, such as /mqtt")]
    Path(String),
    /// Not where a web page could come from.
    #[error("{0:?} is no origin of web pages, such as https://example.org, nor * for all")]
    Origin(String),
    /// A listener with TLS has nothing to show.
    #[error("{0}:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial")]
    NoCertificate(&'static str),
    /// A certificate without a key, or a key without a certificate.
    #[error(
        "certificate and key name as many files, with | between them: the first key is that of the \
         first certificate"
    )]
    KeysAndCertificates,
    /// Client certificates are asked for, and nobody says whose.
    #[error(
        "client_certificate, client_crl and certificate_user need client_ca=FILE, whose certificates \
         clients may show"
    )]
    NoClientCa,
    /// It is said whose certificates clients may show, and that none is asked for.
    #[error("client_ca is of no use with client_certificate=none; leave one of them out")]
    UnusedClientCa,
    /// No part of a certificate that a user could be.
    #[error("{0:?} is no certificate_user; there are cn, dns, uri, email and subject")]
    CertificateUser(String),
    /// There is no such way with a list that is past its date.
    #[error("{0:?} is no old_crl; there are refuse and accept")]
    OldCrl(String),
    /// There is no such demand for a certificate.
    #[error("{0:?} is no client_certificate; there are none, optional and required")]
    ClientCertificate(String),
    /// No level of safety has this name.
    #[error("{0:?} is no durability; there are memory, written and fsync")]
    Durability(String),
    /// What follows the scheme isn't an address with an optional port.
    #[error("{0:?} is no ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883")]
    Address(String),
    /// The host name has no address.
    #[error("host {host:?} can't be resolved: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
}

impl FromStr for Listener {
    type Err = ListenerError;

    /// Parses `mqtt://ADDRESS[:PORT][?durability=LEVEL]`, or `mqtts://` with
    /// `certificate=FILE&key=FILE`, or several with `|` between them, and perhaps `client_ca=FILE`, `client_crl=FILE` and
    /// `client_certificate=optional`; or `ws://ADDRESS[:PORT][/PATH]`, perhaps with
    /// `origins=ORIGIN|ORIGIN`, and `wss://` with the options of both; or `quic://` with those of
    /// `mqtts://`; or `unix:///PATH?mode=0660`; `%26` stands for a `&` in a value. A host name is resolved; of
    /// its addresses the first IPv4 one is taken, or the first when it has none.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Self::parse(url, [])
    }
}

/// Takes the certificates, or the keys, of a value with `|` between them.
fn set_each(
    files: &mut ServerFiles,
    value: &str,
    place: fn(&mut CertificateFiles) -> &mut PathBuf,
) {
    let first = (std::mem::take(&mut files.certificate), std::mem::take(&mut files.key));
    let mut all = vec![CertificateFiles { certificate: first.0, key: first.1 }];
    all.append(&mut files.further);
    let paths: Vec<&str> = value.split('|').collect();
    all.resize_with(all.len().max(paths.len()), CertificateFiles::default);
    for (nth, files) in all.iter_mut().enumerate() {
        *place(files) = paths.get(nth).copied().unwrap_or_default().into();
    }
    files.further = all.split_off(1);
    // What both have given up.
    files.further.retain(|files| *files != CertificateFiles::default());
    let first = all.pop().unwrap_or_default();
    (files.certificate, files.key) = (first.certificate, first.key);
}

/// What would end a value, or the URL, within a value.
const RESERVED: [char; 6] = ['%', '&', ',', '#', '"', '\\'];

pub(super) fn encode(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            c if RESERVED.contains(&c) || c.is_ascii_control() => {
                text.push_str(&format!("%{:02X}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

/// Undoes [`encode`]; nothing if a `%` is not followed by two hexadecimal digits, or what comes out
/// is not UTF-8.
fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn socket_file(path: &str) -> Result<SocketFile, ListenerError> {
    let decoded = decode(path).filter(|path| path.len() > 1 && path.starts_with('/'));
    decoded.map(SocketFile::new).ok_or_else(|| ListenerError::SocketPath(path.to_owned()))
}

fn resolve(authority: &str, default_port: u16) -> Result<SocketAddr, ListenerError> {
    if let Ok(address) = authority.parse() {
        return Ok(address);
    }
    let invalid = || ListenerError::Address(authority.to_owned());
    let (host, port) = match authority.rsplit_once(':') {
        // A bracket after the last colon belongs to an IPv6 address without a port.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| invalid())?),
        _ => (authority, default_port),
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']').and_then(|address| address.parse().ok());
        return address.map(|ip| SocketAddr::new(ip, port)).ok_or_else(invalid);
    }
    if host.is_empty() || host.contains([':', '/', '@', '?', '#', ' ']) {
        return Err(invalid());
    }
    let unresolved = |reason: String| ListenerError::Unresolved { host: host.to_owned(), reason };
    let addresses: Vec<_> =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| unresolved("it has no address".to_owned()))
}
