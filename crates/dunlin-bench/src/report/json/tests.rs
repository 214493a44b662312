//! The documented names, and what is unknown.

use serde_json::{Value, json};

use super::*;
use crate::report::sample;

fn parse(outcome: &Outcome) -> Value {
    serde_json::from_str(&to_json(outcome)).expect("JSON")
}

/// The example in the documentation of [`to_json`].
fn documented() -> Value {
    let source = include_str!("../json.rs");
    let example =
        source.split("/// ```json\n").nth(1).and_then(|rest| rest.split("/// ```").next());
    let text = example.expect("an example").replace("///", "");
    serde_json::from_str(&text).expect("the example is JSON")
}

/// The path of each field, array elements counting as one; what is `null` has no fields below it.
fn paths(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{at}.{name}");
                paths(field, &path, out);
                out.push(path);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                paths(element, at, out);
            }
        }
        _ => {}
    }
}

#[test]
fn the_fields_are_the_documented_ones() {
    let mut outcome = sample::outcome();
    outcome.acknowledged_after.clear();
    outcome.connected_after.clear();
    let [found, expected] = [parse(&outcome), documented()].map(|value| {
        let mut names = Vec::new();
        paths(&value, "", &mut names);
        names.sort();
        names.dedup();
        names
    });
    assert_eq!(found, expected);
}

#[test]
fn values_come_in_the_units_of_their_names() {
    let value = parse(&sample::outcome());
    assert_eq!(value["format"], 1);
    assert_eq!(value["scenario"], "fan-in");
    assert_eq!(value["started_unix_secs"], 1_798_761_599.0);
    assert_eq!(value["parameters"][1], json!({ "name": "QoS", "value": "1" }));
    assert_eq!(value["elapsed_secs"], 8.0);
    assert_eq!(value["delivered_per_sec"], 1_000.0);
    assert_eq!(value["faults"]["sum"], 0);
    assert_eq!(value["delivery_us"]["count"], 8_000);
    let p50 = value["delivery_us"]["p50"].as_f64().expect("a number");
    assert!((p50 - 4_100.0).abs() < 8.0, "{p50}");
    assert_eq!(value["cpu"]["broker_us_per_delivery"], 500.0);
    assert_eq!(value["broker_resident_bytes"], 8 << 20);
    assert_eq!(value["figures"]["bytes per connection"], 312.0);
    assert_eq!(value["timeline"][0]["connected"], 20);
    assert_eq!(value["timeline"][9]["broker"]["cpu_secs"], 0.5);
    assert_eq!(value["marks"][0], json!({ "at_secs": 5.0, "what": "cut 10 % of 20" }));
    let curve = value["delivery_curve"].as_array().expect("an array");
    assert!(curve.len() > 20 && curve.last().expect("points")["quantile"] == 1.0);
}

#[test]
fn what_is_unknown_is_null() {
    let value = parse(&sample::empty());
    for field in [
        "delivered_per_sec",
        "delivery_us",
        "acknowledgement_us",
        "connect_us",
        "broker_resident_bytes",
    ] {
        assert_eq!(value[field], Value::Null, "{field}");
    }
    assert_eq!(value["cpu"]["load_us_per_delivery"], Value::Null);
    assert_eq!(value["timeline"], json!([]));
    assert_eq!(parse(&sample::huge())["figures"]["unknown"], Value::Null);
}

#[test]
fn strings_are_escaped() {
    let mut outcome = sample::outcome();
    let text = "\"</script>\\\u{0}\n€";
    outcome.marks[0].what = text.to_owned();
    assert_eq!(parse(&outcome)["marks"][0]["what"], text);
}
