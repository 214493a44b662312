//! What memory there may be, and the limits that follow from it.

use super::*;

#[test]
fn a_size_of_memory_without_its_unit_is_told_of() {
    for (max, meant) in [("4", "4GiB"), ("64", "64GiB"), ("512", "512MiB"), ("8_000_000", "256MiB")]
    {
        let error = from_file(&format!("memory.max = {max}")).unwrap_err().to_string();
        assert!(error.starts_with("d.toml:1: memory.max: "), "{error}");
        assert!(error.contains(&format!("such as \"{meant}\"")), "{error}");
    }
    for max in ["0", "'16MiB'", "'4GiB'"] {
        assert!(from_file(&format!("memory.max = {max}")).is_ok(), "{max}");
    }
}

#[test]
fn by_default_no_address_keeps_others_waiting_for_a_handshake() {
    let Limits { half_open_max, half_open_per_address_max, .. } = Limits::default();
    assert!(2 * half_open_per_address_max <= half_open_max);
}

#[test]
fn retained_messages_leave_half_of_the_memory() {
    let mut config = Config::default();
    let retained_bytes_max = config.limits.retained_bytes_max;
    assert_eq!(config.limits_in_memory(), config.limits);
    config.memory.max = 3 * retained_bytes_max;
    assert_eq!(config.limits_in_memory().retained_bytes_max, retained_bytes_max);
    config.memory.max = retained_bytes_max;
    assert_eq!(config.limits_in_memory().retained_bytes_max, retained_bytes_max / 2);
}

#[test]
fn handshakes_leave_most_of_the_memory() {
    let mut config = Config::default();
    let mut handshakes = |max: usize, per_address: usize| {
        config.memory.max = max;
        config.limits.half_open_per_address_max = per_address;
        let limits = config.limits_in_memory();
        [limits.half_open_max, limits.half_open_per_address_max]
    };
    assert_eq!(handshakes(2 << 30, 1_000), [1_000, 1_000]);
    assert_eq!(handshakes(256 << 20, 1_000), [170, 85]);
    assert_eq!(handshakes(256 << 20, 20), [170, 20]);
    assert_eq!(handshakes(1, 1_000), [16, 8]);
}
