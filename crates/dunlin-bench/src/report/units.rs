//! Figures as people read them: thousands apart, three digits, a unit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A whole number with its thousands apart: `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number to three significant digits, but never with fewer than all of its whole ones.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    match size {
        0.0 => "0".to_owned(),
        // Written out, more than a page could hold.
        1e18.. => format!("{value:.2e}"),
        99.5.. => format!("{sign}{}", count(size.round() as u64)),
        9.95.. => format!("{value:.1}"),
        0.995.. => format!("{value:.2}"),
        0.0001.. => {
            format!("{value:.digits$}", digits = (2 - size.log10().floor() as i32) as usize)
        }
        _ => format!("{value:.2e}"),
    }
}

/// Messages or connections in a second.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", number(per_second))
}

/// A short time, in the unit that suits it: `212 µs`, `1.30 ms`, `2.50 s`.
pub(super) fn latency(value: Duration) -> String {
    let nanos = value.as_nanos() as f64;
    match nanos {
        ..999.5 => format!("{} ns", number(nanos)),
        ..999.5e3 => format!("{} µs", number(nanos / 1e3)),
        ..999.5e6 => format!("{} ms", number(nanos / 1e6)),
        _ => format!("{} s", number(nanos / 1e9)),
    }
}

/// A small cost in seconds, of whatever size: `0.412 µs`.
pub(super) fn micros(seconds: f64) -> String {
    format!("{} µs", number(seconds * 1e6))
}

/// A length of time that may be long: `12.5 s`, `3 min 20 s`, `1 h 5 min`.
pub(super) fn span(value: Duration) -> String {
    if value < Duration::from_secs(1) {
        return latency(value);
    }
    let seconds = value.as_secs_f64().round() as u64;
    match seconds {
        ..120 => format!("{:.1} s", value.as_secs_f64()),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A moment of a run as a clock shows it: `0:07`, `12:34`, `1:02:03`.
pub(super) fn clock(value: Duration) -> String {
    let seconds = value.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

/// The largest binary unit not above `bytes`, with its name.
pub(super) fn byte_unit(bytes: f64) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] = [
        (1024.0 * 1024.0 * 1024.0 * 1024.0, "TiB"),
        (1073741824.0, "GiB"),
        (1048576.0, "MiB"),
        (1024.0, "KiB"),
    ];
    UNITS.into_iter().find(|&(size, _)| bytes >= size).unwrap_or((1.0, "B"))
}

/// Memory: `14.2 MiB`.
pub(super) fn bytes(value: u64) -> String {
    let (size, unit) = byte_unit(value as f64);
    format!("{} {unit}", number(value as f64 / size))
}

/// A share of one core: `62 %`; above 100 % with more than one core.
pub(super) fn share(value: f64) -> String {
    match value * 100.0 {
        percent if percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{} %", count(percent.round() as u64)),
    }
}

/// Date and time of day, to the minute: `2026-02-28 23:59 UTC`.
pub(super) fn date(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut days, minutes) = (seconds / 86_400, seconds / 60 % 1440);
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    loop {
        let length = 365 + u64::from(is_leap(year));
        // A clock that is thousands of years ahead is not worth the search.
        if days < length || year == 9999 {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02} UTC", days + 1)
}

#[cfg(test)]
mod tests;
