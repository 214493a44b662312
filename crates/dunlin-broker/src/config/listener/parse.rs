//! Reads a listener: a URL, and options in it or beside it.

use super::{Listener, ListenerError};
use crate::config::{Endpoint, InvalidNetwork, SocketFile, WebSocketListener};
use crate::core::Durability;
use dunlin_identity::certificate::CertificateField;
use dunlin_transport::tls::{CertificateFiles, ClientCertificate, ServerFiles};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// The ports of `mqtt://` and `mqtts://` when none is given, as registered for MQTT.
pub(super) const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;
/// The ports of `ws://` and `wss://`. None is registered, and those of HTTP need rights and are often
/// taken; these are the ports that EMQX and its clients take, and Mosquitto has none of its own.
const WS_PORT: u16 = 8083;
const WSS_PORT: u16 = 8084;
/// The port of `quic://`: none is registered, and EMQX and NanoMQ take this one.
const QUIC_PORT: u16 = 14567;

impl Listener {
    /// Parses `SCHEME://ADDRESS[:PORT][/PATH][?OPTION=VALUE&...]`, and sets further options.
    pub(in crate::config) fn parse<'a>(
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

/// Undoes [`encode`](super::encode); nothing if a `%` is not followed by two hexadecimal digits, or
/// what comes out is not UTF-8.
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
