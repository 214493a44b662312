//! What a run did over time: messages, latencies, connections, CPU and memory, on one scale of time.

use std::fmt::{self, Write};

use super::axis::Axis;
use super::chart::{Chart, EXTENT, Line, height};
use super::escape::escape;
use crate::outcome::{Mark, Percentiles};
use crate::report::timeline::{Row, Timeline, is_adjacent};
use crate::report::units;

/// The phase whose messages the figures are about; the others are shaded.
const MEASURED: &str = "measuring";
/// Share of the width from which on a phase has room for its name.
const ROOM_FOR_NAME: f64 = 0.12;
/// Share of the width that lies at least between two marks which are both numbered.
const ROOM_FOR_NUMBER: f64 = 0.025;

/// All plots over time, under a heading of their own each.
pub(super) struct Plots<'a> {
    pub(super) timeline: &'a Timeline,
    pub(super) marks: &'a [Mark],
    time: Axis,
}

/// What a plot is called and what it shows, as [`Chart`] has it.
struct Plot<'a> {
    id: &'a str,
    title: &'a str,
    unit: &'a str,
    about: &'a str,
    legend: &'a [(Line, &'a str)],
}

/// A value for each row, where it is known.
type Values = Vec<Option<f64>>;

impl<'a> Plots<'a> {
    pub(super) fn new(timeline: &'a Timeline, marks: &'a [Mark]) -> Self {
        Self { timeline, marks, time: Axis::time(timeline.end()) }
    }

    /// Writes each plot that the run has anything for.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.values(|row| Some(row.end())).is_empty() {
            return Ok(());
        }
        self.throughput(out)?;
        self.latencies(out)?;
        self.connections(out)?;
        self.cpu(out)?;
        self.memory(out)
    }

    fn throughput(&self, out: &mut String) -> fmt::Result {
        let (published, delivered) = (self.values(Row::published), self.values(Row::delivered));
        let about = format!(
            "Messages per second over the run. {} {}",
            range("Published", &published, units::rate),
            range("Delivered", &delivered, units::rate)
        );
        let plot = Plot {
            id: "throughput",
            title: "Throughput",
            unit: "messages per second",
            about: &about,
            legend: &[(Line::Main, "delivered"), (Line::Second, "published")],
        };
        self.two_lines(out, &plot, Axis::counts, &delivered, &published)
    }

    fn latencies(&self, out: &mut String) -> fmt::Result {
        let of = |part: fn(&Percentiles) -> std::time::Duration| {
            self.values(|row| row.latencies().map(|latencies| part(latencies).as_secs_f64()))
        };
        let (p50, p99, max) = (of(|at| at.p50), of(|at| at.p99), of(|at| at.max));
        let lowest = p50.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        if lowest.is_infinite() {
            return Ok(());
        }
        let y = Axis::latencies(lowest, highest(&max));
        let shapes = self.band(&y, &p50, &p99)
            + &self.line(&y, &max, Line::Third)
            + &self.line(&y, &p99, Line::Second)
            + &self.line(&y, &p50, Line::Main);
        let name = |seconds| units::latency(std::time::Duration::from_secs_f64(seconds));
        let about = format!(
            "Latency of deliveries over the run. {} {} {}",
            range("p50", &p50, name),
            range("p99", &p99, name),
            range("Slowest", &max, name)
        );
        let legend = [(Line::Third, "slowest"), (Line::Second, "p99"), (Line::Main, "p50")];
        let plot = Plot {
            id: "latency",
            title: "Latency",
            unit: "due to delivered",
            about: &about,
            legend: &legend,
        };
        self.chart(out, &plot, &y, &shapes)
    }

    /// Only where connections are what happens: otherwise it would be a flat line.
    fn connections(&self, out: &mut String) -> fmt::Result {
        let rows = &self.timeline.rows;
        let is_worth = rows.iter().any(|row| row.sum.disconnected > 0)
            || rows.iter().all(|row| row.sum.delivered == 0);
        let open = self.values(|row| Some(row.open as f64));
        let highest = highest(&open);
        if !is_worth || highest == 0.0 {
            return Ok(());
        }
        let y = Axis::counts(highest);
        let shapes = self.area(&y, &open) + &self.line(&y, &open, Line::Main);
        let about =
            range("Open connections over the run.", &open, |open| units::count(open as u64));
        let legend = &[(Line::Main, "open")];
        let plot =
            Plot { id: "connections", title: "Connections", unit: "open", about: &about, legend };
        self.chart(out, &plot, &y, &shapes)
    }

    fn cpu(&self, out: &mut String) -> fmt::Result {
        let (broker, load) = (self.values(Row::broker_cpu), self.values(Row::load_cpu));
        let about = format!(
            "CPU over the run, of one core. {} {}",
            range("Broker", &broker, units::share),
            range("Load", &load, units::share)
        );
        let all = [(Line::Main, "broker"), (Line::Second, "load")];
        let (title, legend) = match broker.iter().flatten().next() {
            Some(_) => ("CPU", &all[..]),
            None => ("CPU of the load", &all[1..]),
        };
        let plot = Plot { id: "cpu", title, unit: "of one core", about: &about, legend };
        self.two_lines(out, &plot, Axis::shares, &broker, &load)
    }

    fn memory(&self, out: &mut String) -> fmt::Result {
        let resident = self.values(|row| row.resident().map(|bytes| bytes as f64));
        let highest = highest(&resident);
        if highest == 0.0 {
            return Ok(());
        }
        let y = Axis::bytes(highest);
        let shapes = self.area(&y, &resident) + &self.line(&y, &resident, Line::Main);
        let about =
            range("Resident memory of the broker.", &resident, |bytes| units::bytes(bytes as u64));
        let plot = Plot {
            id: "memory",
            title: "Memory of the broker",
            unit: "resident",
            about: &about,
            legend: &[(Line::Main, "resident")],
        };
        self.chart(out, &plot, &y, &shapes)
    }

    /// A line with what lies below it, and another to compare it with; nothing if both are zero.
    fn two_lines(
        &self,
        out: &mut String,
        plot: &Plot<'_>,
        axis: fn(f64) -> Axis,
        main: &[Option<f64>],
        second: &[Option<f64>],
    ) -> fmt::Result {
        let highest = highest(main).max(highest(second));
        if highest == 0.0 {
            return Ok(());
        }
        let y = axis(highest);
        let shapes = self.area(&y, main)
            + &self.line(&y, main, Line::Main)
            + &self.line(&y, second, Line::Second);
        self.chart(out, plot, &y, &shapes)
    }

    fn chart(&self, out: &mut String, plot: &Plot<'_>, y: &Axis, shapes: &str) -> fmt::Result {
        let x: Vec<_> =
            self.time.ticks.iter().map(|(at, label)| (self.time.at(*at), label.clone())).collect();
        let Plot { id, title, unit, about, legend } = *plot;
        let chart = Chart { id, title, unit, about, legend, y, x: &x, x_unit: "" };
        let (behind, overlay) = self.happenings();
        chart.write(out, &(behind + shapes), &overlay)
    }

    fn values(&self, of: impl Fn(&Row) -> Option<f64>) -> Values {
        self.timeline.rows.iter().map(of).collect()
    }

    fn x(&self, seconds: f64) -> f64 {
        EXTENT * self.time.at(seconds)
    }

    /// Runs of rows that have a value and follow each other without a gap.
    fn stretches<'v>(&self, values: &'v [Option<f64>]) -> Vec<Vec<(&'a Row, &'v f64)>> {
        let mut stretches: Vec<Vec<(&Row, &f64)>> = Vec::new();
        let mut end = None;
        for (row, value) in self.timeline.rows.iter().zip(values) {
            match (value, stretches.last_mut()) {
                (None, _) => end = None,
                (Some(value), Some(last))
                    if end.is_some_and(|end| is_adjacent(end, row.start())) =>
                {
                    last.push((row, value));
                    end = Some(row.end());
                }
                (Some(value), _) => {
                    stretches.push(vec![(row, value)]);
                    end = Some(row.end());
                }
            }
        }
        stretches
    }

    /// A level for each row: a rate or a percentile belongs to the whole of its time.
    fn steps(&self, y: &Axis, stretch: &[(&Row, &f64)], verb: char) -> String {
        let mut path = String::new();
        let mut last = None;
        for (index, (row, value)) in stretch.iter().enumerate() {
            let level = format!("{:.1}", height(y, **value));
            if index == 0 {
                path += &format!("{verb}{:.1} {level}", self.x(row.start()));
            } else if last.as_ref() != Some(&level) {
                path += &format!("V{level}");
            }
            path += &format!("H{:.1}", self.x(row.end()));
            last = Some(level);
        }
        path
    }

    fn line(&self, y: &Axis, values: &[Option<f64>], line: Line) -> String {
        let path: String =
            self.stretches(values).iter().map(|stretch| self.steps(y, stretch, 'M')).collect();
        match path.is_empty() {
            true => path,
            false => format!("<path class=\"line {}\" d=\"{path}\"/>", line.class()),
        }
    }

    /// What lies between a line and zero.
    fn area(&self, y: &Axis, values: &[Option<f64>]) -> String {
        let close = |stretch: &Vec<(&Row, &f64)>| {
            let start = stretch.first().map_or(0.0, |(row, _)| row.start());
            format!("{}V{EXTENT}H{:.1}Z", self.steps(y, stretch, 'M'), self.x(start))
        };
        let path: String = self.stretches(values).iter().map(close).collect();
        format!("<path class=\"fill\" d=\"{path}\"/>")
    }

    /// What lies between two lines, which are known for the same rows.
    fn band(&self, y: &Axis, low: &[Option<f64>], high: &[Option<f64>]) -> String {
        let mut path = String::new();
        for (low, high) in self.stretches(low).iter().zip(self.stretches(high)) {
            path += &self.steps(y, low, 'M');
            for (row, value) in high.iter().rev() {
                path += &format!("L{:.1} {:.1}", self.x(row.end()), height(y, **value));
                path += &format!("H{:.1}", self.x(row.start()));
            }
            path.push('Z');
        }
        format!("<path class=\"fill\" d=\"{path}\"/>")
    }

    /// Phases and marks: what lies behind the lines, and the words above them.
    fn happenings(&self) -> (String, String) {
        let (mut behind, mut words) = (String::new(), String::new());
        let phases = self.timeline.phases();
        let has_measured = phases.iter().any(|(name, ..)| *name == MEASURED);
        for (name, start, end) in phases {
            let (left, right) = (self.x(start), self.x(end));
            if has_measured && name != MEASURED {
                let width = right - left;
                behind += &format!(
                    "<rect class=\"aside\" x=\"{left:.1}\" y=\"0\" width=\"{width:.1}\" \
                     height=\"{EXTENT}\"/>"
                );
            }
            let (left, width) = (left / EXTENT, (right - left) / EXTENT);
            if width >= ROOM_FOR_NAME {
                let class = if width < 0.3 { "phase wide-only" } else { "phase" };
                words += &format!(
                    "<span class=\"{class}\" style=\"left:{:.2}%;width:{:.2}%\">{}</span>",
                    left * 100.0,
                    width * 100.0,
                    escape(name)
                );
            }
        }
        let mut numbered = f64::NEG_INFINITY;
        for (index, mark) in self.marks.iter().enumerate() {
            let left = self.x(mark.at.as_secs_f64());
            behind += &format!("<path class=\"mark\" d=\"M{left:.1} 0V{EXTENT}\"/>");
            let left = left / EXTENT;
            if left - numbered >= ROOM_FOR_NUMBER {
                numbered = left;
                let (left, number) = (left * 100.0, index + 1);
                let what = escape(&mark.what);
                words += &format!(
                    "<span class=\"number\" style=\"left:{left:.2}%\" title=\"{what}\">{number}</span>"
                );
            }
        }
        (behind, format!("<div aria-hidden=\"true\">{words}</div>"))
    }

    /// What happened, in words: phases with their times, then the numbered marks.
    pub(super) fn story(&self, out: &mut String) -> fmt::Result {
        let clock = |seconds: f64| match self.timeline.end() {
            ..120.0 => format!("{seconds:.1} s"),
            _ => units::clock(std::time::Duration::from_secs_f64(seconds)),
        };
        let phases = self.timeline.phases();
        let has_others = phases.iter().any(|(name, ..)| *name != MEASURED);
        let parts: Vec<_> = phases
            .iter()
            .map(|(name, _, end)| format!("{} until {}", escape(name), clock(*end)))
            .collect();
        if !parts.is_empty() {
            let shaded = match has_others && phases.iter().any(|(name, ..)| *name == MEASURED) {
                true => " Only the part that is not shaded is measured.",
                false => "",
            };
            write!(out, "<p class=\"story\">The run was {}.{shaded}", parts.join(", "))?;
            if self.timeline.joined > 1 {
                write!(
                    out,
                    " Each step of the plots stands for up to {} intervals: their mean rate, the \
                     highest of their latencies, the fewest of their connections.",
                    self.timeline.joined
                )?;
            }
            out.push_str("</p>\n");
        }
        if !self.marks.is_empty() {
            out.push_str("<ol class=\"marks\">\n");
            for mark in self.marks {
                let at = clock(mark.at.as_secs_f64());
                writeln!(out, "<li>{} <span class=\"at\">at {at}</span></li>", escape(&mark.what))?;
            }
            out.push_str("</ol>\n");
        }
        Ok(())
    }
}

fn highest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

/// A sentence on the lowest and the highest value.
fn range(name: &str, values: &[Option<f64>], show: impl Fn(f64) -> String) -> String {
    let lowest = values.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    match lowest.is_finite() {
        true => format!("{name} between {} and {}.", show(lowest), show(highest(values))),
        false => format!("{name} not known."),
    }
}
