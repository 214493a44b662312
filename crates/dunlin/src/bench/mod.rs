//! `dunlin bench`: puts load on a broker, and checks what arrives.

mod options;
mod text;

use crate::client::url::Url;
use crate::failure::Failure;
use crate::output::print;
use clap::{Args, Subcommand};
use dunlin_bench::plan::{Plan, Scenario};
use options::{Clients, Common, Flow};
use std::net::{SocketAddr, ToSocketAddrs as _};

const HELP: &str = "\
This is a load tool: point it only at brokers that you may put under load.

Every message says who sent it, which one it is and when it was due. Counted
are, by QoS, those that are lost, doubled, out of order, altered and refused.
Without --rate each publisher keeps up to --window messages under way. With
--rate each message has its appointed time, and its latency counts from there,
whether or not the broker keeps up; the tool then keeps a core busy.

Examples:
  dunlin bench fan-in mqtt://localhost --qos 1 --pid $(pidof mosquitto)
  dunlin bench fan-out mqtt://localhost --subscribers 1000 --version 5
  dunlin bench pairs mqtt://localhost --rate 2000 --duration 30 --json run.json
  dunlin bench pairs mqtt://localhost --qos 2 --cut 10@3 --cut 10@6
  dunlin bench connect mqtt://127.0.0.1 --clients 19000 --source 127.0.0.1 --source 127.0.0.2

Exit codes:
  0  nothing was seen that the standard forbids; it allows QoS 0 to be lost
  1  messages were lost, doubled, ...; or the broker went silent, or was not there
  2  wrong arguments";

/// Put load on a broker, and check what arrives.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    scenario: ScenarioArgs,
}

#[derive(Debug, Subcommand)]
enum ScenarioArgs {
    /// Many publishers; every subscriber gets all messages by one wildcard.
    FanIn(Traffic),
    /// Few publishers; many subscribers that all get the same.
    FanOut(Traffic),
    /// As many publishers as subscribers, in pairs.
    Pairs(Traffic),
}

/// The options of a scenario with messages.
#[derive(Debug, Args)]
struct Traffic {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    clients: Clients,
    #[command(flatten)]
    flow: Flow,
}

impl BenchArgs {
    /// Runs the scenario and reports.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (scenario, traffic) = match self.scenario {
            ScenarioArgs::FanIn(traffic) => (Scenario::FanIn, traffic),
            ScenarioArgs::FanOut(traffic) => (Scenario::FanOut, traffic),
            ScenarioArgs::Pairs(traffic) => (Scenario::Pairs, traffic),
        };
        let url = Url::parse(&traffic.common.url).map_err(Failure::usage)?;
        let mut plan = Plan::new(scenario, address(&url)?);
        traffic.common.apply(&url, &mut plan);
        traffic.clients.apply(&mut plan);
        traffic.flow.apply(&mut plan);
        plan.validate().map_err(|error| Failure::usage(error.to_string()))?;
        let mut progress = text::Progress::new();
        let outcome = dunlin_bench::run(&plan, &mut progress);
        let outcome = outcome.map_err(|error| Failure::of(&error))?;
        print(&text::summary(&outcome))?;
        if outcome.is_clean() { Ok(()) } else { Err(Failure::silent(1)) }
    }
}

/// The first address of the host.
fn address(url: &Url) -> Result<SocketAddr, Failure> {
    let (host, port) = (url.host.as_str(), url.port.unwrap_or(1883));
    if let Some(topic) = &url.topic {
        return Err(Failure::usage(format!("the URL goes on with {topic:?} behind the broker")));
    }
    let mut addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::usage(format!("{host}:{port}: {error}")))?;
    // Brokers on this machine often listen on the older family alone.
    let first = addresses.next();
    addresses
        .chain(first)
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| Failure::usage(format!("{host}:{port}: no such host")))
}
