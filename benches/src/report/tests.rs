//! Tables as people read them.

use super::*;
use crate::traffic::Shape;

fn figures(broker_micros: u64) -> Figures {
    Figures {
        delivered: 1_000_000,
        elapsed: Duration::from_secs(2),
        broker_cpu: Duration::from_secs(broker_micros),
        load_cpu: Duration::from_millis(250),
    }
}

#[test]
fn the_table_shows_medians_and_ratios_to_the_first() {
    let traffic = Traffic { qos: 1, ..Traffic::new(Shape::FanIn) };
    let rounds =
        vec![vec![figures(90), figures(10), figures(12)], vec![figures(3), figures(3), figures(1)]];
    let table = render(&["slow", "quick"], &[Scenario { traffic, rounds }]);
    let cells: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(cells[0][..4], ["scenario", "slow µs", "quick µs", "quick : slow"]);
    let expected = [
        "fan-in 50:1, QoS 1, 64 B",
        "12.000",
        "3.000",
        "0.083",
        "500000",
        "500000",
        "0.250",
        "0.250",
    ];
    assert_eq!(cells[2], expected);
    let lengths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
    assert!(lengths.iter().all(|&length| length == lengths[0]), "{table}");
}
