//! Reports of a run that never was, to look at while their form is worked on:
//! `cargo run -p dunlin-bench --example report -- html 60 > page.html`; also `json`, `text`, `progress`.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::time::{Duration, SystemTime};

use dunlin_bench::outcome::{
    BrokerUse, Faults, Interval, Latencies, Mark, Observer as _, Outcome, Percentiles, latencies,
};
use dunlin_bench::report::{self, Progress, Style};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let seconds = arguments.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let outcome = run(seconds);
    match arguments.first().map_or("text", String::as_str) {
        "html" => print!("{}", report::to_html(&outcome)),
        "json" => print!("{}", report::to_json(&outcome)),
        "progress" => {
            let mut progress = Progress::new(io::stdout(), Style::of(&io::stdout()));
            outcome.timeline.iter().for_each(|interval| progress.interval(interval));
            progress.finish()?;
        }
        _ => print!("{}", report::to_text(&outcome, Style::of(&io::stdout()))),
    }
    Ok(())
}

/// Numbers that look like noise and are the same each time, from 0 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A latency in nanoseconds as queues make them: most near the middle, few far above it.
    fn latency(&mut self, middle: f64) -> u64 {
        (middle * (0.4 - 0.8 * (1.0 - self.next()).ln())) as u64
    }
}

/// A run with a cut of connections in its middle, and the wave of latencies that follows it.
fn run(seconds: u64) -> Outcome {
    let mut noise = Noise(7);
    let (warm, cut) = (2 + seconds / 10, seconds * 6 / 10);
    let (mut all, mut acknowledged) = (latencies(), latencies());
    let mut timeline = Vec::new();
    let (mut delivered_in_all, mut load_cpu, mut broker_cpu) = (0, Duration::ZERO, Duration::ZERO);
    for second in 1..=seconds {
        let phase = match second {
            1..3 => "connecting",
            _ if second <= warm => "warming up",
            _ if second == seconds => "draining",
            _ => "measuring",
        };
        let wave =
            if second > cut && second <= cut + 4 { 40.0 / (second - cut) as f64 } else { 1.0 };
        let busy = match phase {
            "connecting" => 0.0,
            "draining" => 0.05,
            _ => (1.0 - 0.1 * noise.next()) * if second == cut + 1 { 0.55 } else { 1.0 },
        };
        let published = (124_000.0 * busy) as u64;
        let mut part = latencies();
        for _ in 0..published / 20 {
            let latency = noise.latency(180_000.0 * wave);
            part.saturating_record(latency);
            acknowledged.saturating_record(latency / 2 + 20_000);
        }
        let broker = BrokerUse {
            cpu: Duration::from_secs_f64(0.02 + 0.45 * busy * (0.97 + 0.06 * noise.next())),
            resident: (9 << 20) + second.min(12) * (1 << 18),
        };
        let interval = Interval {
            end: Duration::from_secs(second),
            length: Duration::from_secs(1),
            phase,
            published,
            delivered: published - published / 400 * u64::from(second == cut + 1),
            connected: if second < 3 { 25 } else { 5 * u64::from(second == cut + 2) },
            disconnected: 5 * u64::from(second == cut + 1),
            faults: 0,
            latencies: Percentiles::of(&part),
            load_cpu: Duration::from_secs_f64(0.01 + 0.31 * busy),
            broker: Some(broker),
        };
        if phase == "measuring" {
            delivered_in_all += interval.delivered;
            load_cpu += interval.load_cpu;
            broker_cpu += broker.cpu;
            all.add(part).expect("the same bounds");
        }
        timeline.push(interval);
    }
    let mut allowed = [Faults::default(); 3];
    allowed[1].doubled = 12;
    Outcome {
        scenario: "fan-in",
        started: SystemTime::now(),
        parameters: [
            ("broker", "127.0.0.1:1883"),
            ("version", "3.1.1"),
            ("QoS", "1"),
            ("payload", "64 B"),
            ("publishers", "50"),
            ("subscribers", "1"),
            ("in flight", "100"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into(),
        elapsed: Duration::from_secs(seconds.saturating_sub(warm + 1)),
        published: delivered_in_all,
        owed: delivered_in_all,
        delivered: delivered_in_all,
        faults: [Faults::default(); 3],
        allowed,
        complaints: Vec::new(),
        latencies: all,
        acknowledged_after: acknowledged,
        connected_after: connects(&mut noise),
        figures: BTreeMap::from([("messages in one read of the load", 41.3)]),
        load_cpu,
        broker: Some(BrokerUse { cpu: broker_cpu, resident: 14_880_768 }),
        timeline,
        marks: vec![Mark {
            at: Duration::from_secs(cut),
            what: "cut 10 % of 50 connections".into(),
        }],
    }
}

fn connects(noise: &mut Noise) -> Latencies {
    let mut connects = latencies();
    for _ in 0..55 {
        connects.saturating_record(noise.latency(400_000.0));
    }
    connects
}
