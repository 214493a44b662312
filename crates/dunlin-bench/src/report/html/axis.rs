//! Axes: how far they reach, where a value lies on them, and the few round values beside them.

use std::time::Duration;

use crate::report::units;

/// Largest value beside the smallest from which on latencies are drawn on a logarithmic scale.
const RANGE_OF_LINEAR: f64 = 30.0;

/// One axis with its labels.
#[derive(Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    /// Each decade takes the same room.
    pub(super) is_log: bool,
    /// Round values with what they are called.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to at least `max`, in steps that are labelled by `name`.
    fn linear(max: f64, name: impl Fn(f64) -> String) -> Self {
        // Values beyond this are no measurement; without a limit the steps would not be finite.
        let max = if max.is_finite() { max.clamp(0.0, 1e30) } else { 0.0 };
        let step = if max > 0.0 { round_step(max / 4.0) } else { 1.0 };
        let steps = (max / step - 1e-9).ceil().max(1.0) as u32;
        let ticks = (0..=steps).map(|index| f64::from(index) * step);
        let ticks = ticks.map(|value| (value, name(value))).collect();
        Self { low: 0.0, high: step * f64::from(steps), is_log: false, ticks }
    }

    /// Counts and rates.
    pub(super) fn counts(max: f64) -> Self {
        Self::linear(max, compact)
    }

    /// Shares of a core, up to a whole one at least.
    pub(super) fn shares(max: f64) -> Self {
        Self::linear(max.max(1.0) * 100.0, |percent| format!("{} %", compact(percent))).scaled(0.01)
    }

    /// Bytes, in round numbers of a binary unit.
    pub(super) fn bytes(max: f64) -> Self {
        let (size, unit) = units::byte_unit(max);
        Self::linear(max / size, |value| format!("{} {unit}", compact(value))).scaled(size)
    }

    /// Latencies in seconds: from zero, or by decades if they differ too much to be seen otherwise.
    pub(super) fn latencies(min: f64, max: f64) -> Self {
        let (min, max) = (min.max(1e-7), max.max(1e-7));
        if max / min <= RANGE_OF_LINEAR {
            let (size, unit) = match max {
                ..999.5e-6 => (1e-6, "µs"),
                ..0.9995 => (1e-3, "ms"),
                _ => (1.0, "s"),
            };
            return Self::linear(max / size, |value| format!("{} {unit}", compact(value)))
                .scaled(size);
        }
        let (first, last) = (min.log10().floor() as i32, (max.log10() - 1e-9).ceil() as i32);
        let decades = (first..=last).map(|power| 10_f64.powi(power));
        let name = |value: f64| {
            let nanos = Duration::from_nanos((value * 1e9).round() as u64);
            units::latency(nanos).replace(".00", "").replace("0.0 ", "0 ")
        };
        Self {
            low: 10_f64.powi(first),
            high: 10_f64.powi(last),
            is_log: true,
            ticks: decades.map(|value| (value, name(value))).collect(),
        }
    }

    /// Seconds of a run, from zero to exactly `end`, unless that is too short to be told apart.
    pub(super) fn time(end: f64) -> Self {
        const STEPS: [f64; 16] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0,
            1800.0, 3600.0,
        ];
        let end = if end.is_finite() && end >= 0.1 { end } else { 0.1 };
        let suitable = STEPS.into_iter().find(|step| end / step <= 8.0);
        let step = suitable.unwrap_or_else(|| round_step(end / 28_800.0) * 3600.0);
        let ticks = (0..=(end / step + 1e-9) as u32).map(|index| f64::from(index) * step);
        let name = |value: f64| match end {
            ..=120.0 => format!("{} s", compact(value)),
            ..=7200.0 => units::clock(Duration::from_secs_f64(value)),
            _ => format!("{} h", compact(value / 3600.0)),
        };
        let ticks = ticks.map(|value| (value, name(value))).collect();
        Self { low: 0.0, high: end, is_log: false, ticks }
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.low *= factor;
        self.high *= factor;
        for (value, _) in &mut self.ticks {
            *value *= factor;
        }
        self
    }

    /// Where a value lies, from 0 to 1; what is outside lies on the border.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            false => (value - self.low) / (self.high - self.low),
        };
        share.clamp(0.0, 1.0)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0].into_iter().map(|step| step * power);
    steps.into_iter().find(|step| *step >= raw * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// A round value in few characters: `0`, `0.5`, `250`, `20k`, `1.5M`.
pub(super) fn compact(value: f64) -> String {
    let (size, unit) = match value.abs() {
        1e15.. => return format!("{value:.0e}"),
        1e9.. => (1e9, "G"),
        1e6.. => (1e6, "M"),
        1e4.. => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = format!("{:.3}", value / size);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    match (digits, value) {
        // A step below a thousandth: unusual, but it must not seem to be none.
        ("0", value) if value > 0.0 => format!("{value:.0e}"),
        _ => format!("{digits}{unit}"),
    }
}

#[cfg(test)]
mod tests;
