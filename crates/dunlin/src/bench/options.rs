//! The options of `dunlin bench`, in the groups that scenarios share.

use super::output::Output;
use crate::client::secure::{TlsArgs, tls_mistake};
use crate::client::url::Url;
use crate::failure::Failure;
use clap::Args;
use dunlin_bench::plan::{self, Disturbance, Plan, Quality, Scenario, Version};
use dunlin_bench::{Transport, TransportError};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime};

/// What every scenario has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Broker and connections")]
pub(super) struct Common {
    /// The broker, as a URL
    #[arg(
        value_name = "URL",
        help_heading = "Arguments",
        help = if cfg!(feature = "quic") {
            "The broker: mqtt://[USER[:PASSWORD]@]HOST[:PORT]; or mqtts://, ws://, wss:// or quic://"
        } else {
            "The broker: mqtt://[USER[:PASSWORD]@]HOST[:PORT]; or mqtts://, ws:// or wss://"
        }
    )]
    url: String,
    /// The version of MQTT: 3.1.1 or 5
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", value_parser = version)]
    version: Version,
    /// The user's name
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,
    /// The password; others on this machine may see it in the list of processes
    #[arg(short = 'P', long, value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// How Topic Names and Client Identifiers begin
    #[arg(long, value_name = "TEXT", default_value = "bench")]
    prefix: String,
    /// An address of this machine to connect from; several are used in turn, since each has ports for
    /// some 28,000 connections. May be repeated
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<IpAddr>,
    /// How many connections are being opened at once
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
    /// The broker's process on this machine, whose CPU time and memory are measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Seconds that the broker may be silent while something is owed
    #[arg(long, value_name = "SECS", default_value = "20", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    pub(super) output: Output,
}

/// What every scenario with messages has.
#[derive(Debug, Args)]
pub(super) struct Load {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    sides: Sides,
    #[command(flatten)]
    messages: Messages,
}

/// How many clients there are of each kind.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients and messages")]
struct Sides {
    /// Publishers and subscribers, where the scenario has several of them
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// Clients that publish
    #[arg(long, value_name = "N")]
    publishers: Option<u32>,
    /// Clients that subscribe
    #[arg(long, value_name = "N")]
    subscribers: Option<u32>,
}

/// What the messages are like, and how fast they come.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients and messages")]
struct Messages {
    /// 0, 1, 2, or mixed
    #[arg(short, long, value_name = "QOS", value_parser = quality)]
    qos: Option<Quality>,
    /// Bytes of each message, 24 at least
    #[arg(long, value_name = "BYTES")]
    payload: Option<usize>,
    /// Messages that each publisher has under way at most
    #[arg(long, value_name = "N")]
    window: Option<u32>,
    /// Messages per second of all publishers together, whether or not the broker keeps up
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
}

/// How long the run is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Length")]
pub(super) struct Length {
    /// Seconds to measure
    #[arg(long, value_name = "SECS", value_parser = duration, conflicts_with = "messages")]
    duration: Option<Duration>,
    /// Messages to publish, of all publishers together, instead of a time
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Seconds of traffic before that
    #[arg(long, value_name = "SECS", value_parser = duration)]
    warm_up: Option<Duration>,
}

/// What happens to connections meanwhile.
#[derive(Debug, Args)]
#[command(next_help_heading = "Trouble on demand")]
pub(super) struct Trouble {
    /// Close so many of a hundred connections that many seconds after the beginning, without a word;
    /// they come back to their Sessions. May be repeated
    #[arg(long, value_name = "PERCENT@SECS", value_parser = cut)]
    cut: Vec<Disturbance>,
    /// Let so many of a hundred subscribers stop reading for that time. May be repeated
    #[arg(long, value_name = "PERCENT@FROM-TO", value_parser = pause)]
    pause: Vec<Disturbance>,
}

impl Common {
    /// The usual plan of a scenario, for this broker.
    pub(super) fn plan(&self, scenario: Scenario) -> Result<Plan, Failure> {
        let url = Url::parse(&self.url).map_err(Failure::usage)?;
        let carriage = Carriage::of(&url, &self.tls)?;
        let mut plan = Plan::new(scenario, address(&url, carriage.default_port())?);
        plan.transport = carriage.transport(&url, &self.tls)?;
        plan.version = self.version;
        plan.user_name = self.username.clone().or_else(|| url.user_name.clone());
        let password = self.password.clone().map(String::into_bytes);
        plan.password = password.or(url.password);
        plan.prefix.clone_from(&self.prefix);
        plan.sources.clone_from(&self.source);
        plan.parallel = self.parallel.unwrap_or(plan.parallel);
        plan.pid = self.pid;
        plan.patience = self.patience;
        // Runs one after another, or at once, need other names.
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        plan.run = (clock.as_millis() as u32).rotate_left(16) ^ std::process::id();
        Ok(plan)
    }
}

impl Load {
    /// The plan of a scenario, with these clients and messages.
    pub(super) fn plan(&self, scenario: Scenario) -> Result<Plan, Failure> {
        let mut plan = self.common.plan(scenario)?;
        self.sides.apply(&mut plan);
        self.messages.apply(&mut plan);
        Ok(plan)
    }
}

impl Sides {
    fn apply(&self, plan: &mut Plan) {
        if let Some(clients) = self.clients {
            if plan.publishers > 1 {
                plan.publishers = clients;
            }
            if plan.subscribers > 1 {
                plan.subscribers = clients;
            }
        }
        plan.publishers = self.publishers.unwrap_or(plan.publishers);
        plan.subscribers = self.subscribers.unwrap_or(plan.subscribers);
    }
}

impl Messages {
    fn apply(&self, plan: &mut Plan) {
        plan.quality = self.qos.unwrap_or(plan.quality);
        plan.payload_len = self.payload.unwrap_or(plan.payload_len);
        plan.window = self.window.unwrap_or(plan.window);
        plan.rate = self.rate.or(plan.rate);
    }
}

impl Length {
    pub(super) fn apply(&self, plan: &mut Plan) {
        plan.warm_up = self.warm_up.unwrap_or(plan.warm_up);
        if let Some(duration) = self.duration {
            plan.length = plan::Length::Time(duration);
        }
        if let Some(messages) = self.messages {
            plan.length = plan::Length::Messages(messages);
        }
    }
}

impl Trouble {
    pub(super) fn apply(&self, plan: &mut Plan) {
        plan.disturbances = self.cut.iter().chain(&self.pause).copied().collect();
    }
}

/// What a URL and the flags of TLS ask for below MQTT.
#[derive(Debug, Clone, Copy)]
struct Carriage {
    is_secure: bool,
    is_web_socket: bool,
    is_quic: bool,
}

impl Carriage {
    fn of(url: &Url, tls: &TlsArgs) -> Result<Self, Failure> {
        if url.socket.is_some() || (url.is_quic && cfg!(not(feature = "quic"))) {
            let (and, or) = match cfg!(feature = "quic") {
                true => ("TLS, WebSocket and QUIC", "ws://, wss:// or quic://"),
                false => ("TLS and WebSocket", "ws:// or wss://"),
            };
            return Err(Failure::usage(format!(
                "dunlin bench speaks MQTT over TCP, {and}; use mqtt://, mqtts://, {or}"
            )));
        }
        if tls.is_given() && !url.is_secure {
            return Err(Failure::usage("the flags of TLS go with mqtts://, wss:// and quic://"));
        }
        Ok(Self {
            is_secure: url.is_secure,
            is_web_socket: url.web_socket.is_some(),
            is_quic: url.is_quic,
        })
    }

    const fn default_port(self) -> u16 {
        match (self.is_secure, self.is_web_socket) {
            _ if self.is_quic => 14567,
            (false, false) => 1883,
            (true, false) => 8883,
            (false, true) => 80,
            (true, true) => 443,
        }
    }

    fn transport(self, url: &Url, tls: &TlsArgs) -> Result<Transport, Failure> {
        let usage = |error: TransportError| Failure::usage(error.to_string());
        let mut transport = Transport::plain();
        if self.is_secure {
            let connector = tls.tls()?.connector().map_err(|error| tls_mistake(&error))?;
            #[cfg(feature = "quic")]
            if self.is_quic {
                return Transport::quic(connector, &url.host).map_err(usage);
            }
            transport = transport.with_tls(connector, &url.host).map_err(usage)?;
        }
        if let Some(path) = &url.web_socket {
            let host =
                if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
            let port = url.port.filter(|port| *port != self.default_port());
            let host = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            let path = if matches!(path.as_str(), "" | "/") { "/mqtt" } else { path };
            transport = transport.with_web_socket(host, path);
        }
        Ok(transport)
    }
}

/// The first address of the host.
fn address(url: &Url, default_port: u16) -> Result<SocketAddr, Failure> {
    let (host, port) = (url.host.as_str(), url.port.unwrap_or(default_port));
    if let Some(topic) = &url.topic {
        return Err(Failure::usage(format!("the URL goes on with {topic:?} behind the broker")));
    }
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::usage(format!("{host}:{port}: {error}")))?;
    // Brokers on this machine often listen on the older family alone.
    addresses
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| Failure::usage(format!("{host}:{port}: no such host")))
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1.1" | "311" | "4" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("the versions are 3.1.1 and 5".to_owned()),
    }
}

fn quality(text: &str) -> Result<Quality, String> {
    match text {
        "0" | "1" | "2" => Ok(Quality::All(text.as_bytes()[0] - b'0')),
        "mixed" => Ok(Quality::Mixed),
        _ => Err("0, 1, 2 or mixed are expected".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let secs = text.strip_suffix('s').unwrap_or(text).parse().ok();
    secs.filter(|secs| (0.0..=1e7).contains(secs))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "seconds are expected, such as 10 or 0.5".to_owned())
}

fn cut(text: &str) -> Result<Disturbance, String> {
    let wrong = || "expected is PERCENT@SECS, such as 10@5".to_owned();
    let (percent, at) = text.split_once('@').ok_or_else(wrong)?;
    Ok(Disturbance::Cut { percent: percent_of(percent).ok_or_else(wrong)?, at: duration(at)? })
}

fn pause(text: &str) -> Result<Disturbance, String> {
    let wrong = || "expected is PERCENT@FROM-TO, such as 10@5-8".to_owned();
    let (percent, times) = text.split_once('@').ok_or_else(wrong)?;
    let (from, to) = times.split_once('-').ok_or_else(wrong)?;
    let percent = percent_of(percent).ok_or_else(wrong)?;
    Ok(Disturbance::Pause { percent, from: duration(from)?, to: duration(to)? })
}

fn percent_of(text: &str) -> Option<f64> {
    text.strip_suffix('%').unwrap_or(text).parse().ok()
}
