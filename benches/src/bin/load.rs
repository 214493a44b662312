//! Puts one kind of load on one broker and prints what it cost.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use dunlin_benches::broker::{Broker, Program, Setup};
use dunlin_benches::load::Load;
use dunlin_benches::report::{Figures, Length};
use dunlin_benches::traffic::{Shape, Traffic};
use dunlin_benches::{idle, ledger, process};

/// Put a load on a broker, which is started for it, and print what it cost.
#[derive(Debug, Parser)]
struct Options {
    /// Broker to start: `mosquitto`, `mosquitto=PATH`, `rumqttd=PATH`, `nats=PATH`, `relay`, or
    /// `dunlin=PATH`.
    #[arg(long, global = true, default_value = "mosquitto")]
    broker: String,
    /// Core of the broker.
    #[arg(long, global = true, default_value_t = 0)]
    broker_core: usize,
    /// Core of the load.
    #[arg(long, global = true, default_value_t = 1)]
    load_core: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many publishers to one subscriber.
    FanIn {
        /// Number of publishers.
        #[arg(long, default_value_t = 50)]
        publishers: u32,
        #[command(flatten)]
        flow: Flow,
    },
    /// One publisher to many subscribers.
    FanOut {
        /// Number of subscribers.
        #[arg(long, default_value_t = 500)]
        subscribers: u32,
        #[command(flatten)]
        flow: Flow,
    },
    /// As many publishers as subscribers, one to one.
    Pairs {
        /// Number of pairs.
        #[arg(long, default_value_t = 100)]
        pairs: u32,
        #[command(flatten)]
        flow: Flow,
    },
    /// Hold connections that do nothing: memory of the broker for each.
    Idle {
        /// Number of connections, each with one subscription.
        #[arg(long, default_value_t = 10_000)]
        connections: u32,
    },
    /// Connect many clients: CPU time of the broker for each.
    Connect {
        /// Number of connects.
        #[arg(long, default_value_t = 5_000)]
        connections: u32,
        /// How many at a time.
        #[arg(long, default_value_t = 1)]
        parallel: u32,
    },
    /// Publish at a fixed rate from one client to another: latency.
    Latency {
        /// Messages in each second.
        #[arg(long, default_value_t = 2_000)]
        rate: u32,
        /// Seconds to measure, after one second of warm-up.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// QoS of messages and subscription.
        #[arg(long, default_value_t = 0)]
        qos: u8,
        /// Bytes of each payload.
        #[arg(long, default_value_t = 64)]
        payload: usize,
    },
}

/// Options of all scenarios that run as fast as the broker can.
#[derive(Debug, Args)]
struct Flow {
    /// Deliveries in sum.
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Topic Names that each publisher uses in turn.
    #[arg(long, default_value_t = 1)]
    topics: u32,
    /// QoS of messages and subscriptions.
    #[arg(long, default_value_t = 0)]
    qos: u8,
    /// Bytes of each payload; at least 8.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Messages that each publisher may have under way.
    #[arg(long, default_value_t = 100)]
    window: u32,
}

impl Flow {
    fn traffic(&self, shape: Shape, clients: u32) -> Traffic {
        Traffic {
            clients,
            topics: self.topics,
            payload_len: self.payload,
            qos: self.qos,
            window: self.window,
            ..Traffic::new(shape)
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let program: Program = options.broker.parse()?;
    if let Command::Idle { connections } | Command::Connect { connections, .. } = options.command {
        process::raise_file_limit(connections as usize + 200)?;
    }
    process::pin_self(options.load_core)?;
    let core = Some(options.broker_core);
    let at_once = matches!(options.command, Command::Latency { .. });
    let start = |shape| program.start(Setup { core, shape, data: None, at_once });
    let explain = |broker: &Broker| format!("the broker's log ends:\n{}", broker.log_tail());
    match options.command {
        Command::FanIn { publishers, flow } => {
            run_flow(&start(Shape::FanIn)?, flow.traffic(Shape::FanIn, publishers), flow.messages)
        }
        Command::FanOut { subscribers, flow } => run_flow(
            &start(Shape::FanOut)?,
            flow.traffic(Shape::FanOut, subscribers),
            flow.messages,
        ),
        Command::Pairs { pairs, flow } => {
            run_flow(&start(Shape::Pairs)?, flow.traffic(Shape::Pairs, pairs), flow.messages)
        }
        Command::Idle { connections } => {
            let broker = start(Shape::Pairs)?;
            let cost = idle::measure_idle(broker.address(), broker.pid(), connections)
                .with_context(|| explain(&broker))?;
            println!("connections held                {connections}");
            println!("bytes each, VmRSS               {:.0}", cost.status_rss);
            println!("bytes each, smaps Rss           {:.0}", cost.rollup_rss);
            println!("bytes each, smaps Anonymous     {:.0}", cost.rollup_anonymous);
            println!("broker CPU while idle           {:?}/s", cost.cpu_per_second);
            Ok(())
        }
        Command::Connect { connections, parallel } => {
            let broker = start(Shape::Pairs)?;
            let cost = idle::measure_connect(broker.address(), broker.pid(), connections, parallel)
                .with_context(|| explain(&broker))?;
            println!("connects                        {connections}, {parallel} at a time");
            println!("broker CPU each                 {:.2} µs", micros(cost.broker_cpu));
            println!(
                "connects per second             {:.0}",
                f64::from(connections) / cost.elapsed.as_secs_f64()
            );
            Ok(())
        }
        Command::Latency { rate, seconds, qos, payload } => {
            let broker = start(Shape::Pairs)?;
            run_latency(&broker, rate, seconds, qos, payload).with_context(|| explain(&broker))
        }
    }
}

fn run_flow(broker: &Broker, traffic: Traffic, messages: u64) -> Result<()> {
    let figures = Figures::measure(broker, traffic, Length::Deliveries(messages))?;
    println!("delivered, none lost or doubled {}", figures.delivered);
    println!("delivered per second            {:.0}", figures.rate());
    println!("broker CPU per delivery         {:.3} µs", figures.broker_micros());
    println!("load CPU per delivery           {:.3} µs", figures.load_micros());
    Ok(())
}

fn run_latency(broker: &Broker, rate: u32, seconds: u32, qos: u8, payload: usize) -> Result<()> {
    let traffic = Traffic {
        clients: 1,
        payload_len: payload,
        qos,
        window: ledger::WINDOW_MAX,
        ..Traffic::new(Shape::Pairs)
    };
    let mut load = Load::connect(broker.address(), traffic)?;
    load.run_paced(rate, rate)?;
    let latencies = load.run_paced(rate, rate.saturating_mul(seconds))?;
    load.finish()?;
    println!("messages at {rate}/s, QoS {qos}       {}", latencies.count());
    for (name, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        println!(
            "{name:<5}                           {:.1} µs",
            micros(latencies.permille(permille))
        );
    }
    Ok(())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
