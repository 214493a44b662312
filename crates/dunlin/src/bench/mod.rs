//! `dunlin bench`: puts load on a broker, and checks what arrives.

mod options;
mod output;

use crate::failure::Failure;
use clap::{Args, Subcommand};
use dunlin_bench::plan::{Plan, Scenario};
use dunlin_bench::report::Progress;
use options::{Common, Length, Load, Trouble};
use std::io;
use std::time::Duration;

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

Topic Names and Client Identifiers begin with bench/ and bench-; what a run has
left on the broker it takes away, unless it is stopped before its end.

Exit codes:
  0  nothing was seen that the standard forbids; it allows QoS 0 to be lost
  1  messages were lost, doubled, ...; or the broker went silent, or was not there
  2  wrong arguments";

const SOAK_HELP: &str = "\
Publishers and subscribers as in pairs, all QoS mixed, 2,000 messages a second.
Beside the --subscribers, which have lasting Sessions, there are as many again
for each ten of them, two at least, of each of these kinds:
  - subscribers that give their subscription up and take it again,
  - subscribers whose Session ends with their connection,
  - members of a group that shares one subscription to all messages.
One client more gets the Wills of all others, one sets and deletes retained
messages, and one subscribes to these anew, again and again.

Eight times in a second, or --churn, one of these happens to a client picked at
random, or to one of a hundred of them: its connection is closed without a word;
it connects beside its own connection; it says goodbye, and comes back; a
subscription comes or goes (three of eight); retained messages are set; somebody
subscribes to them.

A fault is whatever the standard forbids: a message that was published behind a
SUBACK and does not come, one behind an UNSUBACK that does, one that comes to
two of a group, a Will that does not come of a lost connection, or comes of one
that said DISCONNECT, a retained message that was replaced or deleted, ... What
may come or not, since the broker's answer was still under way, is neither.

  dunlin bench soak mqtt://127.0.0.1 --duration 3600 --pid $(pidof dunlin) --html soak.html";

/// Put load on a broker, and check what arrives.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    scenario: ScenarioArgs,
}

#[derive(Debug, Subcommand)]
enum ScenarioArgs {
    /// Many publishers; every subscriber gets all messages by one wildcard
    #[command(after_help = usual(Scenario::FanIn))]
    FanIn(Traffic),
    /// Few publishers; many subscribers that all get the same
    #[command(after_help = usual(Scenario::FanOut))]
    FanOut(Traffic),
    /// As many publishers as subscribers, in pairs
    #[command(after_help = usual(Scenario::Pairs))]
    Pairs(Traffic),
    /// Subscribers that share one subscription: each message goes to one of them
    #[command(after_help = usual(Scenario::Shared))]
    Shared(Traffic),
    /// All clients connect as fast as the broker takes them, and stay for --duration
    #[command(after_help = usual(Scenario::Connect))]
    Connect(Held),
    /// All clients connect, subscribe, and are silent for --duration
    #[command(after_help = usual(Scenario::Idle))]
    Idle(Idle),
    /// Messages for Sessions that are away, and their delivery when they come back
    #[command(after_help = usual(Scenario::Offline))]
    Offline(Stored),
    /// Retained messages are set, each with its own Topic Name, and delivered to new subscriptions
    #[command(after_help = usual(Scenario::Retained))]
    Retained(Stored),
    /// Pairs, with --topics wildcard filters on the connection of each subscriber
    #[command(after_help = usual(Scenario::Wildcards))]
    Wildcards(Traffic),
    /// All subscribers lose their connections and come back to their Sessions, again and again
    #[command(after_help = usual(Scenario::Reconnect))]
    Reconnect(Storm),
    /// All QoS mixed, while connections are lost and taken over, subscriptions come and go, ...
    #[command(after_help = format!("{SOAK_HELP}\n\n{}", usual(Scenario::Soak)))]
    Soak(Soak),
}

/// The options of a scenario in which messages flow.
#[derive(Debug, Args)]
struct Traffic {
    #[command(flatten)]
    load: Load,
    /// Topic Names of each publisher
    #[arg(long, value_name = "N", help_heading = "Clients and messages")]
    topics: Option<u32>,
    #[command(flatten)]
    length: Length,
    #[command(flatten)]
    trouble: Trouble,
}

/// The options of a soak.
#[derive(Debug, Args)]
struct Soak {
    #[command(flatten)]
    traffic: Traffic,
    /// How many things happen to clients in a second: one of eight is a cut, one a takeover, ...
    #[arg(long, value_name = "N", help_heading = "Trouble on demand")]
    churn: Option<f64>,
}

/// The options of a scenario in which clients are there and say nothing.
#[derive(Debug, Args)]
struct Held {
    #[command(flatten)]
    common: Common,
    /// How many clients
    #[arg(long, value_name = "N", help_heading = "Clients and messages")]
    clients: Option<u32>,
    /// Seconds to stay
    #[arg(long, value_name = "SECS", help_heading = "Length", value_parser = options::duration)]
    duration: Option<Duration>,
}

/// The options of a scenario in which clients have subscriptions and say nothing.
#[derive(Debug, Args)]
struct Idle {
    #[command(flatten)]
    held: Held,
    /// Topic Filters that each client subscribes to; 0 for none
    #[arg(long, value_name = "N", help_heading = "Clients and messages")]
    filters: Option<u32>,
}

/// The options of a scenario in which the broker keeps messages.
#[derive(Debug, Args)]
struct Stored {
    #[command(flatten)]
    load: Load,
    /// Messages to publish, of all publishers together
    #[arg(long = "messages", value_name = "N", help_heading = "Length")]
    count: Option<u64>,
}

/// The options of a scenario in which all come back.
#[derive(Debug, Args)]
struct Storm {
    #[command(flatten)]
    load: Load,
    /// Seconds after which no further storm begins
    #[arg(long, value_name = "SECS", help_heading = "Length", value_parser = options::duration)]
    duration: Option<Duration>,
}

/// What a scenario is without options, for its help.
fn usual(scenario: Scenario) -> String {
    let plan = Plan::new(scenario, ([127, 0, 0, 1], 1883).into());
    let mut parts: Vec<_> = plan.parameters().into_iter().skip(2).collect();
    parts.push(match plan.length {
        dunlin_bench::plan::Length::Time(time) => ("seconds", time.as_secs().to_string()),
        dunlin_bench::plan::Length::Messages(messages) => ("messages", messages.to_string()),
    });
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("Without options: {}.", parts.join(", "))
}

impl BenchArgs {
    /// Runs the scenario and reports.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (common, plan) = self.scenario.plan()?;
        plan.validate().map_err(|error| Failure::usage(error.to_string()))?;
        common.output.check()?;
        let mut progress = Progress::new(io::stderr(), common.output.progress_style());
        let outcome = match common.output.is_quiet() {
            true => dunlin_bench::run(&plan, &mut ()),
            false => dunlin_bench::run(&plan, &mut progress),
        };
        // Progress that nobody can read is no reason to fail.
        let _ = progress.finish();
        let outcome = outcome.map_err(|error| Failure::of(&error))?;
        common.output.write(&outcome)?;
        if outcome.is_clean() { Ok(()) } else { Err(Failure::silent(1)) }
    }
}

impl ScenarioArgs {
    /// What is to be run, and the options that every scenario has.
    fn plan(self) -> Result<(Common, Plan), Failure> {
        match self {
            Self::FanIn(args) => args.plan(Scenario::FanIn),
            Self::FanOut(args) => args.plan(Scenario::FanOut),
            Self::Pairs(args) => args.plan(Scenario::Pairs),
            Self::Shared(args) => args.plan(Scenario::Shared),
            Self::Wildcards(args) => args.plan(Scenario::Wildcards),
            Self::Soak(args) => {
                let (common, mut plan) = args.traffic.plan(Scenario::Soak)?;
                plan.churn = args.churn.unwrap_or(plan.churn);
                Ok((common, plan))
            }
            Self::Connect(args) => args.plan(Scenario::Connect),
            Self::Idle(args) => {
                let (common, mut plan) = args.held.plan(Scenario::Idle)?;
                plan.topics = args.filters.unwrap_or(plan.topics);
                Ok((common, plan))
            }
            Self::Offline(args) => args.plan(Scenario::Offline),
            Self::Retained(args) => args.plan(Scenario::Retained),
            Self::Reconnect(args) => {
                let mut plan = args.load.plan(Scenario::Reconnect)?;
                set_time(&mut plan, args.duration);
                Ok((args.load.common, plan))
            }
        }
    }
}

impl Traffic {
    fn plan(self, scenario: Scenario) -> Result<(Common, Plan), Failure> {
        let mut plan = self.load.plan(scenario)?;
        plan.topics = self.topics.unwrap_or(plan.topics);
        self.length.apply(&mut plan);
        self.trouble.apply(&mut plan);
        Ok((self.load.common, plan))
    }
}

impl Held {
    fn plan(self, scenario: Scenario) -> Result<(Common, Plan), Failure> {
        let mut plan = self.common.plan(scenario)?;
        plan.subscribers = self.clients.unwrap_or(plan.subscribers);
        set_time(&mut plan, self.duration);
        Ok((self.common, plan))
    }
}

impl Stored {
    fn plan(self, scenario: Scenario) -> Result<(Common, Plan), Failure> {
        let mut plan = self.load.plan(scenario)?;
        if let Some(count) = self.count {
            plan.length = dunlin_bench::plan::Length::Messages(count);
        }
        Ok((self.load.common, plan))
    }
}

fn set_time(plan: &mut Plan, duration: Option<Duration>) {
    if let Some(duration) = duration {
        plan.length = dunlin_bench::plan::Length::Time(duration);
    }
}
