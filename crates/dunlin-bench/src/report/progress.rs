//! Progress while a run lasts: a block that is rewritten each second, or a line for each interval.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use super::style::{BOLD, FAINT, RED, Style};
use super::{units, words};
use crate::outcome::{Interval, Observer};

/// Intervals whose rates are drawn as bars beside the present one.
const BARS: usize = 32;

/// Writes what a run is doing.
///
/// On a terminal a block of three lines is rewritten with each interval, and a phase that is over
/// leaves one line behind. Elsewhere each interval is a line of its own, without control sequences.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    style: Style,
    /// Lines of the block that is on the terminal now.
    shown: usize,
    /// The phase that the run is in, summed up.
    phase: Option<Phase>,
    open: u64,
    faults: u64,
    recent: VecDeque<f64>,
    /// The first failure; nothing is written after it, and the run goes on.
    failure: Option<io::Error>,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    length: Duration,
    published: u64,
    delivered: u64,
    connected: u64,
}

impl<W: Write> Progress<W> {
    /// Progress on `out`, which is best unbuffered or flushes itself with each line.
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            shown: 0,
            phase: None,
            open: 0,
            faults: 0,
            recent: VecDeque::with_capacity(BARS),
            failure: None,
        }
    }

    /// Takes the block away, so that a summary can follow, and gives back what was written to.
    ///
    /// # Errors
    /// The first that writing met.
    pub fn finish(mut self) -> io::Result<W> {
        let mut text = self.erase();
        text.extend(self.past_phase());
        self.write(&text);
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, text: &str) {
        if self.failure.is_none() {
            let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.failure = written.err();
        }
    }

    /// Moves the cursor to where the block began, and clears everything from there.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.shown) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    /// The line that a phase leaves behind on a terminal.
    fn past_phase(&mut self) -> Option<String> {
        let phase = self.phase.take().filter(|_| self.style.live)?;
        let mut parts = vec![units::span(phase.length)];
        for (messages, what) in [
            (phase.connected, "connected"),
            (phase.published, "published"),
            (phase.delivered, "delivered"),
        ] {
            if messages > 0 {
                parts.push(format!("{} {what}", units::count(messages)));
            }
        }
        let name = format!("{:14}", words::printable(phase.name));
        Some(format!("{}{}\n", self.style.paint(FAINT, &name), parts.join(", ")))
    }

    /// The block: where the run is, what flows, what it costs.
    fn block(&self, interval: &Interval) -> [String; 3] {
        let phase = self.style.paint(BOLD, &format!("{:14}", words::printable(interval.phase)));
        let elapsed = units::clock(interval.end);
        let bars = self.style.paint(FAINT, &bars(&self.recent));
        let mut cost = costs(interval);
        if self.faults > 0 {
            let faults = format!("faults {}", units::count(self.faults));
            cost.push(self.style.paint(RED, &faults));
        }
        [
            format!("{phase}{elapsed}   {} open   {bars}", connections(self.open)),
            format!("  {}", flows(interval).join("   ")),
            format!("  {}", cost.join("   ")),
        ]
    }

    /// All of it in one line, for where nothing can be rewritten.
    fn line(&self, interval: &Interval) -> String {
        let mut parts = flows(interval);
        parts.extend(costs(interval));
        if self.faults > 0 {
            parts.push(format!("faults {}", units::count(self.faults)));
        }
        let (elapsed, phase) = (units::clock(interval.end), words::printable(interval.phase));
        let open = connections(self.open);
        format!("{elapsed:>7}  {phase:12}  {open} open, {}\n", parts.join(", "))
    }

    fn count(&mut self, interval: &Interval) {
        self.open = (self.open + interval.connected).saturating_sub(interval.disconnected);
        self.faults += interval.faults;
        if self.recent.len() == BARS {
            self.recent.pop_front();
        }
        self.recent.push_back(rate(interval.delivered, interval.length));
        let phase = self.phase.get_or_insert(Phase {
            name: interval.phase,
            length: Duration::ZERO,
            published: 0,
            delivered: 0,
            connected: 0,
        });
        phase.length += interval.length;
        phase.published += interval.published;
        phase.delivered += interval.delivered;
        phase.connected += interval.connected;
    }
}

impl<W: Write> Observer for Progress<W> {
    fn interval(&mut self, interval: &Interval) {
        let mut text = self.erase();
        if self.phase.as_ref().is_some_and(|phase| phase.name != interval.phase) {
            text.extend(self.past_phase());
        }
        self.count(interval);
        if self.style.live {
            let block = self.block(interval);
            self.shown = block.len();
            // Without automatic wrapping a narrow terminal cuts a line, and the block keeps its height.
            text += &format!("\x1b[?7l{}\n\x1b[?7h", block.join("\n"));
        } else {
            text += &self.line(interval);
        }
        self.write(&text);
    }
}

fn rate(messages: u64, length: Duration) -> f64 {
    words::per_second(messages, length).unwrap_or(0.0)
}

fn connections(open: u64) -> String {
    match open {
        1 => "1 connection".to_owned(),
        _ => format!("{} connections", units::count(open)),
    }
}

/// What comes and goes, and how fast.
fn flows(interval: &Interval) -> Vec<String> {
    let mut parts = Vec::new();
    for (name, messages) in [("in", interval.published), ("out", interval.delivered)] {
        parts.push(format!("{name} {}", units::rate(rate(messages, interval.length))));
    }
    let latencies = &interval.latencies;
    if latencies.count > 0 {
        parts.push(format!("p50 {}", units::latency(latencies.p50)));
        parts.push(format!("p99 {}", units::latency(latencies.p99)));
    }
    if interval.connected > 0 {
        let connected = units::rate(rate(interval.connected, interval.length));
        parts.push(format!("connected {connected}"));
    }
    if interval.disconnected > 0 {
        parts.push(format!("disconnected {}", units::count(interval.disconnected)));
    }
    parts
}

/// What broker and load use.
fn costs(interval: &Interval) -> Vec<String> {
    let share = |cpu| units::share(words::share(cpu, interval.length).unwrap_or(0.0));
    let mut parts = Vec::new();
    if let Some(used) = interval.broker {
        parts.push(format!("broker {} CPU", share(used.cpu)));
        parts.push(units::bytes(used.resident));
    }
    parts.push(format!("load {} CPU", share(interval.load_cpu)));
    parts
}

/// Rates as bars of eight heights, against the highest of them.
fn bars(rates: &VecDeque<f64>) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let height = |rate: &f64| match highest > 0.0 {
        true => HEIGHTS[((rate / highest * 7.0).round() as usize).min(7)],
        false => HEIGHTS[0],
    };
    rates.iter().map(height).collect()
}

#[cfg(test)]
mod tests;
