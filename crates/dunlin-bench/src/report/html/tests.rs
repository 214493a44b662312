//! Pages of whole, empty and immoderate runs: well formed, escaped, and true.

use std::time::Duration;

use super::*;
use crate::outcome::Mark;
use crate::report::sample;

/// Checks that elements close in their order and that no attribute breaks out of its quotes.
///
/// The page closes all its elements, so that this is enough.
fn check(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let mut open: Vec<&str> = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "stray > in {text:?}");
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().expect("a name"));
        }
        if open.last() == Some(&"style") {
            rest = &rest[rest.find("</style>").expect("the style sheet ends")..];
        }
    }
    assert_eq!(open, [""; 0], "left open");
    assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("inf "), "{page}");
    ids_are_unique(page);
}

fn ids_are_unique(page: &str) {
    let mut ids: Vec<_> =
        page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    for label in page.split("aria-labelledby=\"").skip(1) {
        for id in label.split('"').next().expect("a value").split(' ') {
            assert!(ids.contains(&id), "nothing is named {id}");
        }
    }
}

/// The path of the first line of this class in the plot of this name.
fn path<'a>(page: &'a str, plot: &str, line: &str) -> &'a str {
    let plot = page.split(&format!("id=\"{plot}\"")).nth(1).expect("the plot");
    let line = plot.split(&format!("class=\"line {line}\" d=\"")).nth(1).expect("the line");
    line.split('"').next().expect("a value")
}

fn has_plot(page: &str, plot: &str) -> bool {
    page.contains(&format!("<figure class=\"plot\" id=\"{plot}\">"))
}

#[test]
fn a_whole_run_has_all_its_parts() {
    let page = to_html(&sample::outcome());
    check(&page);
    for plot in ["throughput", "latency", "cpu", "memory", "distribution"] {
        assert!(has_plot(&page, plot), "no plot {plot}");
    }
    assert!(!has_plot(&page, "connections"), "no connection was lost");
    assert!(page.contains("<p>Nothing lost, nothing doubled, in order.</p>"));
    assert!(page.contains("1,000<small>/s</small>"));
    assert!(page.contains("<li>cut 10 % of 20 <span class=\"at\">at 5.0 s</span></li>"));
    assert!(
        page.contains("connecting until 1.0 s, warming up until 2.0 s, measuring until 10.0 s")
    );
    assert!(page.contains("<th scope=\"row\">bytes per connection</th><td>312</td>"));
    assert_eq!(page.matches("class=\"aside\"").count(), 4 * 2, "two phases, four plots over time");
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = to_html(&sample::outcome());
    for part in ["<script", "src=", "href=", "url(", "@import", "http", " onclick", "<link"] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn an_empty_run_is_a_page_without_plots() {
    let page = to_html(&sample::empty());
    check(&page);
    assert!(!page.contains("<svg") && !page.contains("<dl"));
    assert!(page.contains("No message was due to anyone."));
}

#[test]
fn a_run_without_deliveries_shows_its_connections() {
    let mut outcome = sample::empty();
    outcome.timeline = vec![sample::second(1, "connecting")];
    let only = &mut outcome.timeline[0];
    (only.published, only.delivered, only.connected) = (0, 0, 500);
    only.latencies = Percentiles::default();
    outcome.connected_after = sample::micros([500; 500]);
    let page = to_html(&outcome);
    check(&page);
    assert!(has_plot(&page, "connections") && has_plot(&page, "distribution"));
    assert!(!has_plot(&page, "throughput") && !has_plot(&page, "latency"));
    assert!(page.contains("Time to connect"));
    assert!(!page.contains("class=\"aside\""), "without a measured part none is shaded");
}

#[test]
fn one_interval_is_one_step() {
    let mut outcome = sample::outcome();
    outcome.timeline = vec![sample::second(1, "measuring")];
    let page = to_html(&outcome);
    check(&page);
    assert_eq!(path(&page, "throughput", "main"), "M0.0 0.0H1000.0");
}

#[test]
fn a_gap_breaks_the_line() {
    let mut outcome = sample::outcome();
    outcome.timeline = [1, 2, 9, 10].map(|number| sample::second(number, "measuring")).into();
    outcome.timeline[1].published = 500;
    outcome.timeline[3].latencies = Percentiles::default();
    let page = to_html(&outcome);
    check(&page);
    assert_eq!(
        path(&page, "throughput", "second"),
        "M0.0 0.0H100.0V500.0H200.0M800.0 0.0H900.0H1000.0"
    );
    assert!(path(&page, "latency", "main").ends_with("H900.0"), "no latency in the last second");
}

#[test]
fn immoderate_figures_stay_on_the_page() {
    let page = to_html(&sample::huge());
    check(&page);
    for path in page.split(" d=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let numbers = path.split(|c: char| c.is_alphabetic() || c == ' ').filter(|n| !n.is_empty());
        for number in numbers {
            let value: f64 = number.parse().expect(number);
            assert!((0.0..=1000.0).contains(&value), "{value} in {path}");
        }
    }
}

#[test]
fn a_long_run_is_joined_and_says_so() {
    let mut outcome = sample::outcome();
    outcome.timeline = vec![sample::second(1, "measuring"); 20_000];
    for (interval, number) in outcome.timeline.iter_mut().zip(1..) {
        interval.end = Duration::from_secs(number);
    }
    outcome.timeline[7_777].latencies.max = Duration::from_secs(3);
    let page = to_html(&outcome);
    check(&page);
    assert!(page.contains("Each step of the plots stands for up to 34 intervals"));
    assert!(page.len() < 300_000, "{} bytes", page.len());
    assert!(page.contains("Slowest between 1.10 ms and 3.00 s."), "the peak is not lost");
}

#[test]
fn faults_come_first() {
    let mut outcome = sample::outcome();
    outcome.faults[1].lost = 7;
    outcome.complaints.push("the broker closed 3 connections".to_owned());
    let page = to_html(&outcome);
    check(&page);
    assert!(page.contains("<li>QoS 1: 7 lost</li><li>the broker closed 3 connections</li>"));
    assert!(page.contains("<td class=\"bad\">7</td>") && !page.contains("othing lost"));
    assert!(page.find("QoS 1: 7 lost") < page.find("<svg"));
}

#[test]
fn what_qos_0_allows_is_no_alarm() {
    let mut outcome = sample::outcome();
    outcome.faults[0].lost = 7;
    let page = to_html(&outcome);
    check(&page);
    assert!(
        page.contains("<div class=\"verdict fair\"><p>Not all arrived, which QoS 0 allows.</p>")
    );
}

#[test]
fn all_that_comes_from_outside_is_escaped() {
    let hostile = "\"'></title></style><script>alert(1)</script>&\0";
    let mut outcome = sample::outcome();
    outcome.scenario = "<b>\"x\"";
    outcome.parameters = vec![("<i>", hostile.to_owned())];
    outcome.complaints = vec![hostile.to_owned()];
    outcome.marks = vec![Mark { at: Duration::from_secs(5), what: hostile.to_owned() }];
    outcome.figures.insert("<u>", 1.0);
    for interval in &mut outcome.timeline {
        interval.phase = "<s>";
    }
    let page = to_html(&outcome);
    check(&page);
    for part in ["<script", "<i>", "<u>", "<s>", "<b>\"", "\0"] {
        assert!(!page.contains(part), "{part}");
    }
}
