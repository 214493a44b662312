//! A run as one page that needs nothing else: no script, no font, no picture from elsewhere.

mod axis;
mod chart;
mod curve;
mod escape;
mod plots;
mod tables;

use std::fmt::{self, Write};

use self::escape::escape;
use self::plots::Plots;
use super::timeline::Timeline;
use super::{units, words};
use crate::outcome::{Outcome, Percentiles};

const STYLE_SHEET: &str = include_str!("html/style.css");
/// Steps of a plot, at most about: more than that are finer than a screen.
const STEPS: usize = 600;

/// A run as a page of HTML: headline figures, plots, and the tables behind them.
///
/// It is read without scripts, in light and dark, on a phone and on paper. All names and values of the
/// outcome are escaped.
pub fn to_html(outcome: &Outcome) -> String {
    let mut out = String::new();
    write(outcome, &mut out).expect("a string takes all");
    out
}

fn write(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let scenario = escape(outcome.scenario);
    let date = units::date(outcome.started);
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{scenario}, {date}</title>\n<style>\n{STYLE_SHEET}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"date\">dunlin bench · {date}</p>\n<h1>{scenario}</h1>"
    )?;
    chips(outcome, out)?;
    out.push_str("</header>\n<main>\n");
    verdict(outcome, out)?;
    tiles(outcome, out)?;
    let timeline = Timeline::new(&outcome.timeline, STEPS);
    let plots = Plots::new(&timeline, &outcome.marks);
    if !timeline.rows.is_empty() {
        out.push_str("<section>\n<h2>Over time</h2>\n");
        plots.story(out)?;
        plots.write(out)?;
        out.push_str("</section>\n");
    }
    if !super::text::named_latencies(outcome).is_empty() {
        out.push_str("<section>\n<h2>Latency</h2>\n<div class=\"beside\">\n");
        curve::write(outcome, out)?;
        tables::latencies(outcome, out)?;
        out.push_str("</div>\n</section>\n");
    }
    out.push_str("<section>\n<h2>In figures</h2>\n<div class=\"halves\">\n");
    tables::parameters(outcome, out)?;
    tables::figures(outcome, out)?;
    tables::faults(outcome, out)?;
    out.push_str("</div>\n");
    tables::intervals(outcome, out)?;
    writeln!(
        out,
        "</section>\n</main>\n<footer><p>The latency of a delivery counts from the moment when its \
         message was due, be the sender late or not. CPU is user and system time; 100 % is one core. \
         Written by dunlin bench {}.</p></footer>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    )
}

/// The parameters in short, below the title.
fn chips(outcome: &Outcome, out: &mut String) -> fmt::Result {
    if outcome.parameters.is_empty() {
        return Ok(());
    }
    out.push_str("<ul class=\"chips\">");
    for (name, value) in &outcome.parameters {
        write!(out, "<li>{} <b>{}</b></li>", escape(name), escape(value))?;
    }
    out.push_str("</ul>\n");
    Ok(())
}

/// Whether all arrived as it should, before any figure.
fn verdict(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let lines = words::fault_lines(outcome);
    if lines.is_empty() {
        let sentence = escape(&capitalized(words::faultless(outcome)));
        writeln!(out, "<div class=\"verdict good\"><p>{sentence}.</p>")?;
    } else {
        let (class, sentence) = match outcome.is_clean() {
            true => ("fair", "Not all arrived, which QoS 0 allows."),
            false => ("bad", "Not all went as it should."),
        };
        write!(out, "<div class=\"verdict {class}\"><p>{sentence}</p><ul>")?;
        for line in lines {
            write!(out, "<li>{}</li>", escape(&line))?;
        }
        out.push_str("</ul>\n");
    }
    for note in words::notes(outcome) {
        writeln!(out, "<p class=\"note\">{}</p>", escape(&note))?;
    }
    out.push_str("</div>\n");
    Ok(())
}

/// The few figures that a reader looks for first.
fn tiles(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let mut tiles = Vec::new();
    if let Some(rate) = words::per_second(outcome.delivered, outcome.elapsed)
        && outcome.delivered > 0
    {
        let messages = units::count(outcome.delivered);
        let length = units::span(outcome.elapsed);
        tiles.push(("Delivered", units::rate(rate), format!("{messages} messages in {length}")));
    }
    let kinds = [("Latency", &outcome.latencies), ("Time to connect", &outcome.connected_after)];
    if let Some((name, latencies)) = kinds.into_iter().find(|(_, kind)| !kind.is_empty()) {
        let at = Percentiles::of(latencies);
        let [p50, p99, max] = [at.p50, at.p99, at.max].map(units::latency);
        tiles.push((name, p50, format!("at p50; p99 {p99}, slowest {max}")));
    }
    if let Some(used) = outcome.broker {
        let share = words::share(used.cpu, outcome.elapsed).map(units::share);
        let share = share.unwrap_or_else(|| "unknown".to_owned());
        match words::per_message(used.cpu, outcome.delivered) {
            Some(each) => {
                let further = format!("of the broker, which used {share} of a core");
                tiles.push(("CPU for each delivery", units::micros(each), further));
            }
            None => tiles.push(("CPU of the broker", share, "of a core".to_owned())),
        }
        tiles.push(("Memory", units::bytes(used.resident), "resident, of the broker".to_owned()));
    }
    if tiles.is_empty() {
        return Ok(());
    }
    out.push_str("<dl class=\"tiles\">\n");
    for (name, value, further) in tiles {
        // The unit is smaller than the number.
        let split = value.find([' ', '/']).unwrap_or(value.len());
        let (number, unit) = value.split_at(split);
        writeln!(
            out,
            "<div><dt>{name}</dt><dd class=\"big\">{number}<small>{unit}</small></dd>\
             <dd>{}</dd></div>",
            unbroken(&further)
        )?;
    }
    out.push_str("</dl>\n");
    Ok(())
}

/// A figure's unit stays on the line of its number.
fn unbroken(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(' ') {
        if !out.is_empty() {
            let after_digit = out.ends_with(|last: char| last.is_ascii_digit());
            out.push(if after_digit { '\u{A0}' } else { ' ' });
        }
        out.push_str(word);
    }
    out
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
