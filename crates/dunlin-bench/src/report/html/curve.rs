//! How latencies are distributed: which share of the messages took no longer than what.

use std::fmt;
use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, EXTENT, Line, height};
use crate::outcome::{Latencies, Outcome, Percentiles};
use crate::report::text::named_latencies;
use crate::report::units;

/// Points of each curve.
const POINTS: u32 = 240;
/// Shares that are labelled: each further nine takes the same room.
const SHARES: [&str; 7] = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999"];

/// Writes the curves of all latencies that the run has.
pub(super) fn write(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let kinds = named_latencies(outcome);
    let Some(most) = kinds.iter().map(|(_, latencies)| nines(latencies)).reduce(f64::max) else {
        return Ok(());
    };
    let nines_shown = most.ceil().max(2.0);
    let lowest = kinds.iter().map(|(_, latencies)| latencies.min()).min().unwrap_or(0);
    let highest = kinds.iter().map(|(_, latencies)| latencies.max()).max().unwrap_or(0);
    let y = Axis::latencies(lowest as f64 / 1e9, highest as f64 / 1e9);
    let mut x = vec![(0.5_f64.log10().abs() / nines_shown, "50".to_owned())];
    let shares = SHARES.iter().enumerate().skip(1).take(nines_shown as usize);
    x.extend(shares.map(|(nines, share)| (nines as f64 / nines_shown, (*share).to_owned())));
    let (mut shapes, mut legend, mut about) = (String::new(), Vec::new(), String::new());
    for ((name, latencies), line) in kinds.iter().zip([Line::Main, Line::Second, Line::Third]) {
        let path = path(latencies, nines_shown, &y);
        shapes += &format!("<path class=\"line {}\" d=\"{path}\"/>", line.class());
        legend.push((line, *name));
        let at = Percentiles::of(latencies);
        about += &format!(
            "{name}: half took no longer than {}, 99 % no longer than {}, the slowest {}. ",
            units::latency(at.p50),
            units::latency(at.p99),
            units::latency(at.max)
        );
    }
    let chart = Chart {
        id: "distribution",
        title: "How long it took",
        unit: match kinds.as_slice() {
            [(name, _)] => name,
            _ => "latency",
        },
        about: about.trim_end(),
        legend: &legend,
        y: &y,
        x: &x,
        x_unit: "% took no longer",
    };
    chart.write(out, &shapes, "")
}

/// How many nines the share before the slowest message has: 3 of a thousand messages.
fn nines(latencies: &Latencies) -> f64 {
    (latencies.len() as f64).log10().clamp(0.5, (SHARES.len() - 1) as f64)
}

fn path(latencies: &Latencies, nines_shown: f64, y: &Axis) -> String {
    let most = nines(latencies);
    let mut path = String::new();
    for point in 0..=POINTS {
        let at = most * f64::from(point) / f64::from(POINTS);
        let quantile = if point == POINTS { 1.0 } else { 1.0 - 10_f64.powf(-at) };
        let value = Duration::from_nanos(latencies.value_at_quantile(quantile)).as_secs_f64();
        let (verb, x) = (if point == 0 { 'M' } else { 'L' }, EXTENT * at / nines_shown);
        path += &format!("{verb}{x:.1} {:.1}", height(y, value));
    }
    path
}
