//! The rows of the comparison, and what Dunlin is to reach in each.

use crate::broker::Program;
use crate::traffic::{Shape, Traffic};

/// Runs of one kind, and the lines of the tables that they fill.
#[derive(Debug, Clone)]
pub struct Case {
    /// As `--rows` names it.
    pub name: String,
    /// What is done to the broker.
    pub kind: Kind,
    /// A line for each figure that a run gives, in the same order.
    pub lines: Vec<Line>,
}

/// What is done to a broker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// As many messages as it can take.
    Flow(Traffic),
    /// Messages of QoS 1 for Sessions that are away, and their delivery.
    Offline {
        /// With a data folder.
        is_kept: bool,
    },
    /// Retained messages, and their delivery.
    Retained {
        /// With a data folder.
        is_kept: bool,
    },
    /// Messages at a fixed rate from one client to another.
    Latency {
        /// Messages in each second.
        rate: u32,
        /// QoS of messages and subscription.
        qos: u8,
    },
    /// Clients that connect, one after the other.
    Connect,
    /// Clients with a subscription each that do nothing.
    Idle,
}

/// The table that a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Microseconds of broker CPU for each message.
    Cpu,
    /// Messages per second.
    Rate,
    /// Microseconds from the appointed time of sending to arrival.
    Latency,
    /// What a connection costs.
    Connection,
}

/// One line of a table.
#[derive(Debug, Clone)]
pub struct Line {
    /// What was measured.
    pub title: String,
    /// In which table.
    pub section: Section,
    /// What the first broker is to reach.
    pub reach: Option<Reach>,
    /// What others took on the machine for which that was set.
    pub there: Option<There>,
}

/// Figures of the machine for which those to be reached were set: absolute ones mean nothing elsewhere,
/// and their ratios do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct There {
    /// The relay, where it can do the same.
    pub relay: Option<f64>,
    /// FlashMQ 1.26, the best there, which is in no registry.
    pub flashmq: f64,
    /// Mosquitto 2.0.11.
    pub mosquitto: f64,
}

impl There {
    const fn new(relay: f64, flashmq: f64, mosquitto: f64) -> Option<Self> {
        Some(Self { relay: Some(relay), flashmq, mosquitto })
    }

    const fn without_relay(flashmq: f64, mosquitto: f64) -> Option<Self> {
        Some(Self { relay: None, flashmq, mosquitto })
    }
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// This figure or less.
    AtMost(f64),
    /// So many times the relay's figure, or less.
    OfRelay(f64),
    /// No more than the best peer.
    BestPeer,
}

impl Case {
    /// Why a broker can't take part; `None` if it can be tried.
    pub fn excuse(&self, program: &Program) -> Option<&'static str> {
        match (program, self.kind) {
            (Program::Relay(_), Kind::Offline { .. } | Kind::Retained { .. }) => {
                Some("forwards and keeps nothing")
            }
            (Program::Nats(_), Kind::Flow(Traffic { shape: Shape::Shared, .. })) => {
                Some("speaks MQTT 3.1.1 without shared subscriptions")
            }
            (
                Program::Rumqttd(_),
                Kind::Offline { is_kept: true } | Kind::Retained { is_kept: true },
            ) => Some("keeps nothing on the disk"),
            _ => None,
        }
    }
}

/// All cases, in the order of the tables.
pub fn all() -> Vec<Case> {
    use Shape::{FanIn, FanOut, Pairs, Shared};
    let mut cases = vec![
        flow(FanIn, 0, 64, 0.33, There::new(0.12, 0.66, 12.1)),
        flow(FanIn, 0, 1024, 0.60, There::new(0.45, 1.05, 13.3)),
        flow(FanIn, 1, 64, 0.45, There::new(0.13, 0.93, 20.9)),
        flow(FanIn, 2, 64, 0.80, There::new(0.25, 1.65, 34.7)),
        flow(FanOut, 0, 64, 0.20, There::new(0.11, 0.38, 11.3)),
        flow(FanOut, 0, 1024, 0.50, There::new(0.33, 0.91, 14.4)),
        flow(FanOut, 1, 64, 0.35, There::new(0.19, 0.67, 16.8)),
        flow(Pairs, 0, 64, 0.38, There::new(0.12, 0.76, 13.1)),
        flow(Pairs, 1, 64, 0.60, There::new(0.20, 1.22, 29.5)),
        flow(Shared, 0, 64, 0.35, There::new(0.12, 0.70, 12.3)),
        flow(Shared, 1, 64, 0.55, There::new(0.16, 1.07, 24.4)),
        wildcards(true),
        wildcards(false),
    ];
    for is_kept in [false, true] {
        let offline = "offline messages of 50 Sessions";
        let there = [There::without_relay(1.49, 8.5), There::without_relay(2.38, 17.5)];
        cases.push(stored("offline", offline, is_kept, [0.60, 1.2], there));
        let there = [There::without_relay(0.91, 10.4), There::without_relay(2.69, 17.9)];
        cases.push(stored("retained", "retained messages", is_kept, [0.50, 1.3], there));
    }
    for rate in [2_000, 20_000] {
        cases.extend([0, 1, 2].map(|qos| latency(rate, qos)));
    }
    let connection = |title: &str, reach, there| {
        let reach = Some(Reach::AtMost(reach));
        vec![Line { title: title.to_owned(), section: Section::Connection, reach, there }]
    };
    cases.push(Case {
        name: "connect".to_owned(),
        kind: Kind::Connect,
        lines: connection("CPU for each connect, µs", 36.0, There::new(32.0, 36.0, 38.0)),
    });
    cases.push(Case {
        name: "idle".to_owned(),
        kind: Kind::Idle,
        lines: connection(
            "resident bytes for each idle connection with a subscription",
            1024.0,
            There::new(121.0, 4304.0, 733.0),
        ),
    });
    cases
}

fn flow(shape: Shape, qos: u8, payload_len: usize, reach: f64, there: Option<There>) -> Case {
    let traffic = Traffic { qos, payload_len, ..Traffic::new(shape) };
    let what = match shape {
        Shape::Shared => format!("shared group, {}", traffic.ends()),
        _ => format!("{shape} {}", traffic.ends()),
    };
    flow_of(
        format!("{shape}-qos{qos}-{payload_len}"),
        &format!("{what}, QoS {qos}, {payload_len} B"),
        traffic,
        Some(reach),
        there,
    )
}

fn wildcards(is_fresh: bool) -> Case {
    let traffic = Traffic { is_fresh, ..Traffic::new(Shape::Wildcards) };
    let (name, topics, reach) = match is_fresh {
        true => ("wildcards", "each Topic Name new", Some(0.60)),
        false => ("wildcards-hot", "10,000 Topic Names in turn", None),
    };
    let title = format!("10,100 wildcard filters on 100 connections, {topics}");
    let there = reach.and(There::without_relay(1.22, 13.1));
    flow_of(name.to_owned(), &title, traffic, reach, there)
}

fn flow_of(
    name: String,
    title: &str,
    traffic: Traffic,
    reach: Option<f64>,
    there: Option<There>,
) -> Case {
    let line = |section, reach, there| Line { title: title.to_owned(), section, reach, there };
    let lines =
        vec![line(Section::Cpu, reach.map(Reach::AtMost), there), line(Section::Rate, None, None)];
    Case { name, kind: Kind::Flow(traffic), lines }
}

fn stored(
    name: &str,
    what: &str,
    is_kept: bool,
    [deliver, store]: [f64; 2],
    there: [Option<There>; 2],
) -> Case {
    let whole = if is_kept { ", with a data folder" } else { "" };
    let line = |verb: &str, reach, there: Option<There>| Line {
        title: format!("{what}{whole}, QoS 1: {verb}"),
        section: Section::Cpu,
        reach: Some(Reach::AtMost(reach)),
        // Nobody kept anything there.
        there: there.filter(|_| !is_kept),
    };
    Case {
        name: if is_kept { format!("{name}-kept") } else { name.to_owned() },
        kind: match name {
            "offline" => Kind::Offline { is_kept },
            _ => Kind::Retained { is_kept },
        },
        lines: vec![line("deliver", deliver, there[0]), line("store", store, there[1])],
    }
}

fn latency(rate: u32, qos: u8) -> Case {
    let lines = ["p50", "p99", "p99.9"].map(|percentile| Line {
        title: format!("{rate}/s, QoS {qos}, {percentile}"),
        section: Section::Latency,
        reach: Some(match (rate, percentile) {
            (2_000, "p50") => Reach::OfRelay(1.1),
            _ => Reach::BestPeer,
        }),
        there: None,
    });
    Case {
        name: format!("latency-{rate}-qos{qos}"),
        kind: Kind::Latency { rate, qos },
        lines: lines.into(),
    }
}
