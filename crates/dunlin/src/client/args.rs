//! The flags that `dunlin pub` and `dunlin sub` share, and the CONNECT they make.

use super::advice::{Asked, Scheme};
use super::property::Properties;
use super::proxy;
use super::secure::{TlsArgs, tls_mistake};
use super::url::{Url, without_credentials};
use crate::arguments::number;
use crate::failure::Failure;
use bytes::Bytes;
use clap::{ArgAction, Args};
use dunlin_client::{ConfigError, Scram, Tls, UrlTransport};
use dunlin_codec::{Connect, ProtocolVersion, QoS, Text, TopicName, Will};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::str::FromStr as _;

/// A Session that never expires.
const FOR_EVER: u32 = u32::MAX;

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// The broker's host [default: localhost]
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,
    /// The broker's port [default: 1883, or 8883 with TLS]
    #[arg(short, long, value_name = "PORT", value_parser = number::<u16>)]
    port: Option<u16>,
    #[arg(
        short = 'L',
        long,
        value_name = "URL",
        conflicts_with_all = ["host", "port", "positional"],
        help = "All at once: mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC], or mqtts:// for TLS, or quic://; ws:// or wss://, with a path in place of the topic, for WebSocket"
    )]
    url: Option<String>,
    /// The same as --url
    #[arg(value_name = "URL")]
    positional: Option<String>,
    /// The Client Identifier [default: chosen by the broker, or at random before MQTT 5]
    #[arg(short, long, value_name = "ID", conflicts_with = "id_prefix")]
    id: Option<String>,
    /// A Client Identifier of this and the process id
    #[arg(short = 'I', long, value_name = "PREFIX")]
    id_prefix: Option<String>,
    /// Seconds between signs of life; 0 is none
    #[arg(short, long, value_name = "SECS", default_value_t = 60,
          value_parser = number::<u16>)]
    keepalive: u16,
    /// The user's name
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,
    /// The password; others on this machine may see it in the list of processes
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// Prove the password instead of sending it (MQTT 5): sha-256, or sha-512
    #[arg(long, value_name = "HASH", num_args = 0..=1, require_equals = true,
          default_missing_value = "sha-256", value_parser = parse_hash)]
    scram: Option<Hash>,
    /// The version of MQTT: 5, 311 or 31 (mqttv5, 3.1.1, ... as well)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5",
          value_parser = crate::decode::parse_version)]
    protocol_version: ProtocolVersion,
    /// Keep the session: go on with it, and leave it on the broker. Needs --id
    #[arg(short = 'c', long)]
    disable_clean_session: bool,
    /// Seconds that the session outlives the connection; -1 is for ever (MQTT 5)
    #[arg(short = 'x', long, value_name = "SECS", allow_negative_numbers = true,
          value_parser = parse_expiry)]
    session_expiry_interval: Option<u32>,
    /// Add a property (MQTT 5): -D publish content-type text/plain, -D connect user-property a b
    #[arg(short = 'D', long = "property", value_name = "COMMAND IDENTIFIER VALUE")]
    properties: Vec<String>,
    /// Where the broker publishes should this program vanish
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// What the broker publishes then
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<String>,
    /// With which QoS
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = parse_qos,
          default_value = "0")]
    will_qos: QoS,
    /// As a retained message
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
    /// Go through this proxy: `http://USER:PASSWORD@HOST:PORT`, or `socks5://`
    /// [default: that of HTTPS_PROXY with TLS, or of ALL_PROXY, save for this machine and NO_PROXY]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Show every packet on standard error
    #[arg(short, long)]
    pub(super) debug: bool,
    /// Say nothing about failures while running; the exit code tells
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print this help
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,
}

/// The hash function of SCRAM.
#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha512,
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    match text {
        "sha-256" | "SCRAM-SHA-256" => Ok(Hash::Sha256),
        "sha-512" | "SCRAM-SHA-512" => Ok(Hash::Sha512),
        _ => Err("there are sha-256 and sha-512".to_owned()),
    }
}

/// What is proven with SCRAM.
#[derive(Clone)]
pub(super) struct ScramLogin {
    hash: Hash,
    user_name: String,
    password: Vec<u8>,
}

impl ScramLogin {
    /// The exchange.
    pub(super) fn exchange(&self) -> Scram {
        match self.hash {
            Hash::Sha256 => Scram::sha_256(&*self.user_name, &self.password),
            Hash::Sha512 => Scram::sha_512(&*self.user_name, &self.password),
        }
    }
}

/// Never shows the password.
impl fmt::Debug for ScramLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramLogin").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Reads a QoS.
pub(super) fn parse_qos(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().and_then(QoS::new);
    qos.ok_or_else(|| "the QoS is 0, 1 or 2".to_owned())
}

fn parse_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(FOR_EVER),
        _ => text.parse().map_err(|_| "seconds are expected, or -1 for ever".to_owned()),
    }
}

/// Where to connect, with what, and the properties of later packets.
#[derive(Debug)]
pub(super) struct Target {
    /// The same for people.
    pub(super) asked: Asked,
    /// The URL of that, for the async client.
    pub(super) url: String,
    pub(super) tls: Tls,
    pub(super) transport: UrlTransport,
    pub(super) proxy: Option<String>,
    /// The topic of the URL.
    pub(super) topic: Option<String>,
    pub(super) connect: Connect,
    pub(super) scram: Option<ScramLogin>,
    pub(super) properties: Properties,
}

impl ConnectArgs {
    pub(super) fn target(&self) -> Result<Target, Failure> {
        self.check_positional()?;
        let url = self.url.as_deref().or(self.positional.as_deref());
        let url = url.map(Url::parse).transpose().map_err(Failure::usage)?.unwrap_or_default();
        let version = self.protocol_version;
        let mut properties = Properties::parse(&self.properties).map_err(Failure::usage)?;
        let needs_v5 = !self.properties.is_empty() || self.session_expiry_interval.is_some();
        if needs_v5 && !version.is_v5() {
            return Err(Failure::usage(format!(
                "-D and -x need MQTT 5, not {version}; leave out -V"
            )));
        }
        let client_identifier = self.client_identifier()?;
        if let Some(secs) = self.session_expiry_interval {
            properties.connect.session_expiry_interval = Some(secs);
        } else if self.disable_clean_session && version.is_v5() {
            properties.connect.session_expiry_interval.get_or_insert(FOR_EVER);
        }
        let user_name = self.username.clone().or(url.user_name);
        let password = self.password.clone().map(String::into_bytes).or(url.password);
        if password.is_some() && user_name.is_none() && !version.is_v5() {
            return Err(Failure::usage(format!("MQTT {version} has no password without -u")));
        }
        let (scram, user_name, password) = match self.scram {
            Some(_) if !version.is_v5() => {
                return Err(Failure::usage(format!("--scram needs MQTT 5, not {version}")));
            }
            Some(hash) => match (user_name, password) {
                (Some(user_name), Some(password)) => {
                    (Some(ScramLogin { hash, user_name, password }), None, None)
                }
                _ => return Err(Failure::usage("--scram needs a user (-u) and a password (-P)")),
            },
            None => (None, user_name, password),
        };
        let connect = Connect {
            protocol_version: version,
            bridge: false,
            clean_start: !self.disable_clean_session,
            keep_alive: self.keepalive,
            client_identifier,
            will: self.will(&properties)?,
            user_name: user_name.map(|name| text("-u", &name)).transpose()?,
            password: password.map(Bytes::from),
            properties: properties.connect.clone(),
        };
        let names_server = !url.host.is_empty() || url.socket.is_some();
        if self.tls.is_given() && names_server && !url.is_secure {
            return Err(Failure::usage("the flags of TLS go with mqtts://, wss:// and quic://"));
        }
        let is_secure = url.is_secure || self.tls.is_given();
        let (scheme, name, default_port) = match (is_secure, url.web_socket.is_some()) {
            _ if url.socket.is_some() => (Scheme::Unix, "unix", 0),
            _ if url.is_quic => (Scheme::Quic, "quic", 14567),
            (false, false) => (Scheme::Mqtt, "mqtt", 1883),
            (true, false) => (Scheme::Mqtts, "mqtts", 8883),
            (false, true) => (Scheme::Ws, "ws", 80),
            (true, true) => (Scheme::Wss, "wss", 443),
        };
        let host = if url.host.is_empty() { self.host.clone() } else { Some(url.host) };
        let host = host.unwrap_or_else(|| "localhost".to_owned());
        let port = url.port.or(self.port).unwrap_or(default_port);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let path = url.web_socket.unwrap_or_default();
        let address = match &url.socket {
            Some(socket) => format!("{name}://{socket}"),
            None => format!("{name}://{bracketed}:{port}{path}"),
        };
        let asked = Asked {
            scheme,
            peer: url.socket.clone().unwrap_or_else(|| format!("{host}:{port}")),
            path: match path.as_str() {
                "" | "/" => "/mqtt".to_owned(),
                _ => path.split('?').next().unwrap_or_default().to_owned(),
            },
            cafile: self.tls.cafile().map(Path::to_owned),
            has_certificate: self.tls.has_certificate(),
        };
        let tls = self.tls.tls()?;
        let usage = |error: ConfigError| match error {
            ConfigError::Tls(error) => tls_mistake(&error),
            error => Failure::usage(error.to_string()),
        };
        let mut transport = UrlTransport::with_tls(&address, &tls).map_err(usage)?;
        let proxy = match &url.socket {
            Some(_) => None,
            // Those of the environment carry TCP; who names one is told so.
            None if url.is_quic => self.proxy.clone(),
            None => proxy::choose(self.proxy.as_deref(), &host, is_secure, |name| {
                std::env::var(name).ok()
            }),
        };
        if let Some(proxy) = &proxy {
            transport = transport.with_proxy(proxy).map_err(usage)?;
        }
        Ok(Target {
            asked,
            proxy,
            url: address,
            tls,
            transport,
            topic: url.topic,
            connect,
            scram,
            properties,
        })
    }

    /// What stands alone is a URL, but a topic is what people put there.
    fn check_positional(&self) -> Result<(), Failure> {
        match &self.positional {
            Some(given) if !given.contains("://") => {
                let shown = without_credentials(given);
                Err(Failure::usage(format!(
                    "{shown:?} is no URL like mqtt://HOST/TOPIC; if it is a topic, write -t '{shown}'"
                )))
            }
            Some(given) if self.host.is_some() || self.port.is_some() => {
                let shown = without_credentials(given);
                Err(Failure::usage(format!("{shown:?} names host and port; leave out -h and -p")))
            }
            _ => Ok(()),
        }
    }

    fn client_identifier(&self) -> Result<Text, Failure> {
        let identifier = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) if self.disable_clean_session => {
                return Err(Failure::usage("-c keeps a session, which needs a name; add -i ID"));
            }
            (None, None) if self.protocol_version.is_v5() => String::new(),
            (None, None) => format!("dunlin-{:016x}", RandomState::new().hash_one(())),
        };
        text("-i", &identifier)
    }

    fn will(&self, properties: &Properties) -> Result<Option<Will>, Failure> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        Ok(Some(Will {
            topic_name: topic_name("--will-topic", topic)?,
            payload: Bytes::from(self.will_payload.clone().unwrap_or_default()),
            qos: self.will_qos,
            retain: self.will_retain,
            properties: properties.will.clone(),
        }))
    }
}

fn text(flag: &str, value: &str) -> Result<Text, Failure> {
    Text::from_str(value).map_err(|error| Failure::usage(format!("{flag} {value:?}: {error}")))
}

pub(super) fn topic_name(flag: &str, value: &str) -> Result<TopicName, Failure> {
    TopicName::from_str(value).map_err(|error| Failure::usage(format!("{flag} {value:?}: {error}")))
}
