//! The three forms of a report.

use super::{Finding, Outcome, Report};
use std::time::Duration;

fn finding(name: &str, version: &str, outcome: Outcome) -> Finding {
    let id = if version == "5.0" { "MQTT-3.1.0-2" } else { "MQTT3-3.1.0-2" };
    Finding {
        name: name.to_owned(),
        version: version.to_owned(),
        statements: vec![id],
        looks_for: "a second CONNECT ends the connection",
        outcome,
        exchange: vec!["     0 ms  a → CONNECT \"<&\u{1}\"".to_owned()],
        took: Duration::from_millis(1500),
    }
}

fn report() -> Report {
    let text = |text: &str| text.to_owned();
    let findings = vec![
        finding("v311/connect/a", "3.1.1", Outcome::Passed { seen: Some(text("closes")) }),
        finding("v5/connect/a", "5.0", Outcome::Failed { reason: text("stays \"open\"") }),
        finding("v5/connect/b", "5.0", Outcome::Skipped { reason: text("no wildcards") }),
    ];
    Report::new("mqtt://127.0.0.1:1883", vec![text("Maximum QoS 2")], findings)
}

#[test]
fn the_text_has_a_table_choices_and_failures_with_what_was_said() {
    let text = report().to_text();
    for part in [
        "mqtt://127.0.0.1:1883\n  Maximum QoS 2\n",
        "MQTT 3.1.1                         statements  passed  failed   skipped\n",
        "  3.1   CONNECT                             1       0       1         1\n",
        "Where the standard leaves a choice:\n  closes\n      v311/connect/a\n",
        "Skipped:\n  no wildcards\n      v5/connect/b\n",
        "FAILED v5/connect/a: a second CONNECT ends the connection\n  stays \"open\"\n  \
         [MQTT-3.1.0-2] A second CONNECT is a protocol error: close\n       0 ms  a → CONNECT",
        "\n3 checks: 1 passed, 1 failed, 1 skipped\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn the_json_says_the_same() {
    let value: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
    assert_eq!(value["tally"]["failed"], 1);
    assert_eq!(value["findings"][1]["outcome"], "failed");
    assert_eq!(value["findings"][1]["reason"], "stays \"open\"");
    assert_eq!(value["findings"][0]["seen"], "closes");
    assert_eq!(value["findings"][0]["seconds"], 1.5);
}

#[test]
fn the_xml_is_well_formed_whatever_was_said() {
    let xml = report().to_junit();
    assert!(xml.contains(r#"tests="3" failures="1" errors="0" skipped="1" time="4.500""#), "{xml}");
    assert!(xml.contains(r#"<failure message="stays &quot;open&quot;">"#), "{xml}");
    assert!(xml.contains("CONNECT &quot;&lt;&amp;\u{FFFD}&quot;"), "{xml}");
    assert!(xml.contains(r#"<testcase classname="v5.connect" name="a" time="1.500">"#), "{xml}");
}
