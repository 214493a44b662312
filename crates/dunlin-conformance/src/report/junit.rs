//! The report as JUnit XML, which CI systems read.

use super::{Finding, Outcome, Report};
use std::fmt::{self, Write as _};

pub(super) fn print(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).expect("a string takes all");
    out
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    let tally = report.tally;
    let seconds: f64 = report.findings.iter().map(|found| found.took.as_secs_f64()).sum();
    let counts = format!(
        r#"tests="{}" failures="{}" errors="0" skipped="{}" time="{seconds:.3}""#,
        tally.total(),
        tally.failed,
        tally.skipped
    );
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, "<testsuites {counts}>")?;
    writeln!(out, r#"  <testsuite name="{}" {counts}>"#, escaped(&report.subject))?;
    for finding in &report.findings {
        case(finding, out)?;
    }
    writeln!(out, "  </testsuite>\n</testsuites>")
}

fn case(finding: &Finding, out: &mut String) -> fmt::Result {
    // What stands before the last slash groups the cases.
    let (class, name) = finding.name.rsplit_once('/').unwrap_or(("", &finding.name));
    let (class, name) = (escaped(&class.replace('/', ".")), escaped(name));
    let seconds = finding.took.as_secs_f64();
    write!(out, r#"    <testcase classname="{class}" name="{name}" time="{seconds:.3}""#)?;
    match &finding.outcome {
        Outcome::Passed { seen: None } => writeln!(out, "/>"),
        Outcome::Passed { seen: Some(seen) } => {
            writeln!(out, ">\n      <system-out>{}</system-out>\n    </testcase>", escaped(seen))
        }
        Outcome::Skipped { reason } => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(reason))
        }
        Outcome::Failed { reason } => {
            writeln!(out, ">\n      <failure message=\"{}\">", escaped(reason))?;
            writeln!(out, "{} [{}]", escaped(finding.looks_for), finding.statements.join(" "))?;
            for line in &finding.exchange {
                writeln!(out, "{}", escaped(line))?;
            }
            writeln!(out, "</failure>\n    </testcase>")
        }
    }
}

/// The text as content or within quotes. What XML 1.0 can't say is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            '\0'..='\x1F' | '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            _ => out.push(character),
        }
    }
    out
}
