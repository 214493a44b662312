//! The figures of a run as tables: what the plots show, and what they do not.

use std::fmt::{self, Write};

use super::escape::escape;
use crate::outcome::{Faults, Outcome, Percentiles};
use crate::report::text::{HEADS, cells, named_latencies};
use crate::report::timeline::Timeline;
use crate::report::{units, words};

/// Rows of the table of intervals, at most.
const INTERVALS: usize = 120;

/// The percentiles that the plots pick from.
pub(super) fn latencies(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let kinds = named_latencies(outcome);
    if kinds.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> =
        kinds.iter().map(|(_, latencies)| cells(&Percentiles::of(latencies))).collect();
    out.push_str(
        "<table class=\"percentiles\"><caption>Percentiles</caption>\n<thead><tr><td></td>",
    );
    for (name, _) in &kinds {
        write!(out, "<th scope=\"col\">{name}</th>")?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (row, head) in HEADS.iter().enumerate() {
        write!(out, "<tr><th scope=\"row\">{head}</th>")?;
        for column in &columns {
            write!(out, "<td>{}</td>", column[row])?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("<tr><th scope=\"row\">measured</th>");
    for (_, latencies) in &kinds {
        write!(out, "<td>{}</td>", units::count(latencies.len()))?;
    }
    out.push_str("</tr>\n</tbody></table>\n");
    Ok(())
}

/// What was run.
pub(super) fn parameters(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let parameters = outcome.parameters.iter();
    let rows = parameters.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    pairs("Parameters", rows, out)
}

/// What was counted, and what it cost.
pub(super) fn figures(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let mut rows = vec![
        ("measured for".to_owned(), units::span(outcome.elapsed)),
        ("published".to_owned(), units::count(outcome.published)),
        ("due to subscribers".to_owned(), units::count(outcome.owed)),
        ("delivered".to_owned(), units::count(outcome.delivered)),
    ];
    let broker = outcome.broker.map(|used| used.cpu);
    for (name, cpu) in [("broker", broker), ("load", Some(outcome.load_cpu))] {
        let Some(cpu) = cpu else { continue };
        rows.push((format!("CPU of the {name}"), units::span(cpu)));
        if let Some(each) = words::per_message(cpu, outcome.delivered) {
            rows.push((format!("CPU of the {name} for each delivery"), units::micros(each)));
        }
    }
    rows.extend(
        outcome.broker.map(|used| ("memory of the broker".to_owned(), units::bytes(used.resident))),
    );
    let further = outcome.figures.iter();
    rows.extend(further.map(|(name, value)| ((*name).to_owned(), units::number(*value))));
    pairs("Figures", rows, out)
}

fn pairs(caption: &str, rows: Vec<(String, String)>, out: &mut String) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "<table class=\"pairs\"><caption>{caption}</caption>\n<tbody>")?;
    for (name, value) in rows {
        let (name, value) = (escape(&name), escape(&value));
        writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>")?;
    }
    out.push_str("</tbody></table>\n");
    Ok(())
}

/// Faults by QoS, and beside them what a cut connection allows.
pub(super) fn faults(outcome: &Outcome, out: &mut String) -> fmt::Result {
    by_qos("Faults", &outcome.faults, " class=\"bad\"", out)?;
    if outcome.allowed.iter().any(|allowed| allowed.sum() > 0) {
        by_qos("Allowed after a cut", &outcome.allowed, "", out)?;
    }
    Ok(())
}

fn by_qos(caption: &str, faults: &[Faults; 3], class: &str, out: &mut String) -> fmt::Result {
    writeln!(out, "<table class=\"faults\"><caption>{caption}</caption>\n<thead><tr><td></td>")?;
    for qos in 0..faults.len() {
        write!(out, "<th scope=\"col\">QoS {qos}</th>")?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let columns = faults.each_ref().map(words::kinds);
    for (row, (kind, _)) in columns[0].iter().enumerate() {
        write!(out, "<tr><th scope=\"row\">{kind}</th>")?;
        for column in &columns {
            let (_, messages) = column[row];
            let class = if messages > 0 { class } else { "" };
            write!(out, "<td{class}>{}</td>", units::count(messages))?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
    Ok(())
}

/// The run, interval by interval: what the plots over time draw.
pub(super) fn intervals(outcome: &Outcome, out: &mut String) -> fmt::Result {
    let timeline = Timeline::new(&outcome.timeline, INTERVALS);
    if timeline.rows.is_empty() {
        return Ok(());
    }
    out.push_str("<details><summary>The run in figures</summary>\n");
    if timeline.joined > 1 {
        writeln!(
            out,
            "<p>Each row stands for up to {} intervals: their mean rates, the highest of their \
             latencies and of the memory, the fewest of their connections.</p>",
            timeline.joined
        )?;
    }
    out.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The run in figures\">\
         <table class=\"intervals\"><thead><tr>",
    );
    for head in [
        "until",
        "phase",
        "published",
        "delivered",
        "p50",
        "p99",
        "slowest",
        "open",
        "faults",
        "broker",
        "load",
        "memory",
    ] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let known = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    for row in &timeline.rows {
        let (sum, latencies) = (&row.sum, row.latencies());
        let until = format!("{:.1} s", row.end());
        write!(out, "<tr><th scope=\"row\">{until}</th><td>{}</td>", escape(sum.phase))?;
        for cell in [
            known(row.published().map(units::rate)),
            known(row.delivered().map(units::rate)),
            known(latencies.map(|at| units::latency(at.p50))),
            known(latencies.map(|at| units::latency(at.p99))),
            known(latencies.map(|at| units::latency(at.max))),
            units::count(row.open),
            units::count(sum.faults),
            known(row.broker_cpu().map(units::share)),
            known(row.load_cpu().map(units::share)),
            known(row.resident().map(units::bytes)),
        ] {
            write!(out, "<td>{cell}</td>")?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></details>\n");
    Ok(())
}
