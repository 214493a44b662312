//! What a run was and what it found, as text and as JSON.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use crate::Arguments;
use crate::broker::Kind as Whose;
use crate::ledger::{Kind, Totals};
use crate::power_cut::Cut;

/// The figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    what: String,
    seed: u64,
    is_promised: bool,
    pub(crate) cycles: u64,
    pub(crate) kills: u64,
    power_cuts: u64,
    pub(crate) during_start: u64,
    pages: Cut,
    restarts: Vec<Duration>,
    resident: u64,
    time: Duration,
    totals: Totals,
}

impl Report {
    pub(crate) fn new(arguments: &Arguments, seed: u64) -> Self {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let broker = match arguments.broker {
            Whose::Dunlin => {
                let level = name(arguments.durability.to_possible_value());
                let workers = arguments.workers;
                format!("dunlin at {level}, {workers} workers")
            }
            Whose::Mosquitto => {
                let help = Command::new(arguments.program()).arg("-h").output();
                let help = help.map(|output| output.stdout).unwrap_or_default();
                let version = String::from_utf8_lossy(&help);
                let persistence = match arguments.durability {
                    crate::Durability::Memory => "without persistence",
                    _ => "saved after every change",
                };
                format!("{}, {persistence}", version.lines().next().unwrap_or("mosquitto"))
            }
        };
        Self {
            what: format!("{broker}, fault: {}", name(arguments.fault.to_possible_value())),
            seed,
            is_promised: arguments.is_promised(),
            cycles: 0,
            kills: 0,
            power_cuts: 0,
            during_start: 0,
            pages: Cut::default(),
            restarts: Vec::new(),
            resident: 0,
            time: Duration::ZERO,
            totals: Totals::default(),
        }
    }

    pub(crate) fn power_cut(&mut self, cut: Cut) {
        self.power_cuts += 1;
        self.pages.unsynced += cut.unsynced;
        self.pages.kept += cut.kept;
    }

    pub(crate) fn restarted(&mut self, time: Duration) {
        self.restarts.push(time);
    }

    pub(crate) fn resident(&mut self, bytes: Option<u64>) {
        self.resident = bytes.unwrap_or(0).max(self.resident);
    }

    /// How long a start takes: the median so far.
    pub(crate) fn usual_restart(&self) -> Duration {
        let mut times = self.restarts.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or(Duration::ZERO)
    }

    pub(crate) fn end(&mut self, time: Duration, totals: Totals) {
        self.time = time;
        self.totals = totals;
    }

    /// Whether nothing was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.totals.findings.is_empty()
    }

    /// One line while it runs.
    pub(crate) fn progress(&self, time: Duration, totals: &Totals) -> String {
        let [_, one, two] = totals.acknowledged;
        let found: u64 = totals.findings.values().sum();
        format!(
            "{:>5} s  {} cycles  {one} + {two} acknowledged  {} delivered  {found} findings",
            time.as_secs(),
            self.cycles,
            totals.delivered
        )
    }

    pub(crate) fn text(&self) -> String {
        let totals = &self.totals;
        let [_, one, two] = totals.acknowledged;
        let mut text = format!("\n{}, seed {}\n", self.what, self.seed);
        let mut line = |name: &str, rest: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<14} {rest}");
        };
        line(
            "cycles",
            format!(
                "{} in {} s: {} kills, {} power cuts; {} of them during a start",
                self.cycles,
                self.time.as_secs(),
                self.kills,
                self.power_cuts,
                self.during_start
            ),
        );
        line(
            "acknowledged",
            format!(
                "QoS 1 {one}, QoS 2 {two}, retained {}; refused {}",
                totals.retained_acknowledged, totals.refused
            ),
        );
        line(
            "delivered",
            format!(
                "{}, repeated at QoS 1 {}, late {}, Wills {}",
                totals.delivered, totals.repeated, totals.late, totals.wills
            ),
        );
        let longest = self.restarts.iter().max().copied().unwrap_or_default();
        let millis = |time: Duration| time.as_millis();
        line(
            "restart",
            format!("median {} ms, max {} ms", millis(self.usual_restart()), millis(longest)),
        );
        if self.power_cuts > 0 {
            let Cut { unsynced, kept } = self.pages;
            line("unsynced pages", format!("{unsynced}, of them left {kept}"));
        }
        line("memory", format!("{} MB at most", self.resident / 1_000_000));
        for kind in Kind::ALL {
            let count = totals.findings.get(&kind).copied().unwrap_or(0);
            line(kind.name(), count.to_string());
        }
        for (kind, first) in &totals.first {
            let _ = writeln!(text, "first {}: {first}", kind.name());
        }
        let verdict = match (self.is_clean(), self.is_promised) {
            (true, _) => "all was kept",
            (false, true) => "A PROMISE WAS BROKEN",
            (false, false) => "no promise covers this fault: the figures are its price",
        };
        let _ = writeln!(text, "{verdict}");
        text
    }

    pub(crate) fn json(&self) -> String {
        let totals = &self.totals;
        let [_, one, two] = totals.acknowledged;
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let findings: Map<String, Value> = Kind::ALL
            .iter()
            .map(|kind| {
                let count = totals.findings.get(kind).copied().unwrap_or(0);
                (kind.name().replace(' ', "_").to_lowercase(), count.into())
            })
            .collect();
        let value = json!({
            "run": self.what,
            "seed": self.seed,
            "seconds": self.time.as_secs_f64(),
            "cycles": self.cycles,
            "kills": self.kills,
            "power_cuts": self.power_cuts,
            "during_start": self.during_start,
            "unsynced_pages": self.pages.unsynced,
            "unsynced_pages_left": self.pages.kept,
            "acknowledged_qos1": one,
            "acknowledged_qos2": two,
            "acknowledged_retained": totals.retained_acknowledged,
            "refused": totals.refused,
            "delivered": totals.delivered,
            "repeated_qos1": totals.repeated,
            "late": totals.late,
            "wills": totals.wills,
            "restart_ms_median": millis(self.usual_restart()),
            "restart_ms_max": millis(self.restarts.iter().max().copied().unwrap_or_default()),
            "resident_bytes_max": self.resident,
            "findings": findings,
            "is_promised": self.is_promised,
        });
        format!("{value:#}\n")
    }
}
