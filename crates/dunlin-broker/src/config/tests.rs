//! The layers, the messages for an operator's mistakes, and what is shown.

mod auth;
mod durability;
mod listeners;
mod memory;

use super::*;
use crate::core::Durability;
use std::collections::BTreeMap;
use std::path::Path;

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag { name: name.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

fn from_file(text: &str) -> Result<LoadedConfig, ConfigError> {
    LoadedConfig::from_layers(Some((Path::new("d.toml"), text)), &BTreeMap::new(), &[])
}

/// The mistake in a file must be answered by exactly this line.
#[track_caller]
fn check_mistake(text: &str, message: &str) {
    assert_eq!(from_file(text).expect_err(text).to_string(), message);
}

#[test]
fn nothing_set_gives_the_defaults() {
    let loaded = LoadedConfig::from_layers(None, &BTreeMap::new(), &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.config.allows_anonymous());
    assert!(loaded.config.workers >= 1);
    assert!(settings().all(|setting| *loaded.origin(setting.key) == Origin::Default));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let text = "workers = 3\nlog = 'warn'\n[limits]\nqueue_len_max = 7\nreceive_maximum = 5";
    let variables = environment(&[
        ("DUNLIN_LOG", "debug"),
        ("DUNLIN_LIMITS_RECEIVE_MAXIMUM", "6"),
        ("DUNLIN_LIMITS_QUEUE_BYTES_MAX", ""),
        ("DUNLIN_SERVICE_HOST", "10.0.0.1"),
    ]);
    let flags = [flag("--set", "limits.receive_maximum", "9")];
    let file = Some((Path::new("d.toml"), text));
    let loaded = LoadedConfig::from_layers(file, &variables, &flags).unwrap();

    assert_eq!(loaded.config.workers, 3);
    assert_eq!(loaded.config.log, "debug");
    assert_eq!(loaded.config.limits.queue_len_max, 7);
    assert_eq!(loaded.config.limits.receive_maximum, 9);
    assert_eq!(loaded.config.limits.queue_bytes_max, Limits::default().queue_bytes_max);
    for (key, origin) in [
        ("workers", "d.toml:1"),
        ("log", "DUNLIN_LOG"),
        ("limits.queue_len_max", "d.toml:4"),
        ("limits.receive_maximum", "--set"),
        ("limits.queue_bytes_max", "default"),
    ] {
        assert_eq!(loaded.origin(key).to_string(), origin, "{key}");
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line_and_its_mend() {
    check_mistake("\nworker = 2", "d.toml:2: unknown setting `worker`; did you mean `workers`?");
    check_mistake(
        "zebra = 2",
        "d.toml:1: unknown setting `zebra`; `dunlin broker --print-config` lists all",
    );
    check_mistake(
        "[limits]\n\nqueue_length_max = 2",
        "d.toml:3: unknown setting `limits.queue_length_max`; did you mean \
         `limits.queue_len_max`?",
    );
    check_mistake(
        "receive_maximum = 2",
        "d.toml:1: unknown setting `receive_maximum`; did you mean `limits.receive_maximum`?",
    );
    check_mistake(
        "workers = 'two'",
        "d.toml:1: workers: expected a number from 0 to 255, found a value of type string",
    );
    check_mistake("workers = -1", "d.toml:1: workers: expected a number from 0 to 255, found -1");
    check_mistake(
        "limits.receive_maximum = 70_000",
        "d.toml:1: limits.receive_maximum: expected a number from 1 to 65535, found 70000",
    );
    check_mistake(
        "limits.queue_policy = 'drop'",
        "d.toml:1: limits.queue_policy: expected one of \"refuse\", \"drop-oldest\", \
         \"drop-newest\", \"keep-last\", found \"drop\"",
    );
    check_mistake(
        "limits.queue_bytes_max = '3 parsecs'",
        "d.toml:1: limits.queue_bytes_max: expected bytes from 1 to \"1024GiB\", as a number or \
         with a unit like \"64KiB\", found \"3 parsecs\"",
    );
    check_mistake(
        "allow_anonymous = 1",
        "d.toml:1: allow_anonymous: expected true or false, found a value of type integer",
    );
    check_mistake(
        "allow_anonymous = false",
        "d.toml:1: allow_anonymous: false lets nobody in by mqtt://127.0.0.1:1883; name the \
         users in an auth.password_file, give the listener a client_ca, or leave it out",
    );
    let syntax = from_file("log = 'a'\nworkers = = 2").unwrap_err().to_string();
    assert!(syntax.starts_with("d.toml:2: "), "{syntax}");
    assert!(!syntax.contains('\n'), "{syntax}");
}

#[test]
fn of_several_mistakes_the_first_line_is_named() {
    check_mistake(
        "zebra = 1\nallow_anonymous = 1",
        "d.toml:1: unknown setting `zebra`; `dunlin broker --print-config` lists all",
    );
    check_mistake(
        "[limits]\nreceive_maximum = 0\n[[listeners]]\nurl = 'a'",
        "d.toml:2: limits.receive_maximum: expected a number from 1 to 65535, found 0",
    );
}

#[test]
fn a_mistake_in_the_environment_or_a_flag_is_named() {
    let check = |variables: &[(&str, &str)], flags: &[Flag], message: &str| {
        let error = LoadedConfig::from_layers(None, &environment(variables), flags).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    check(
        &[("DUNLIN_WORKER", "2")],
        &[],
        "DUNLIN_WORKER: unknown setting `DUNLIN_WORKER`; did you mean `DUNLIN_WORKERS`?",
    );
    check(
        &[("DUNLIN_WORKERS", "many")],
        &[],
        "DUNLIN_WORKERS: expected a number from 0 to 255, found \"many\"",
    );
    check(
        &[],
        &[flag("--set", "limit.receive_maximum", "1")],
        "--set: unknown setting `limit.receive_maximum`; did you mean `limits.receive_maximum`?",
    );
    check(
        &[("DUNLIN_LISTEN", "mqtt://127.0.0.1:1,mqtt://[::]:2")],
        &[],
        "DUNLIN_LISTEN: listener mqtt://[::]:2 can be reached from other machines, and anyone \
         could connect; say who may by an auth.password_file or a client_ca, either with mqtts://, \
         listen on 127.0.0.1, or set allow_anonymous = true (or --allow-anonymous) if that is meant",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_who_named_it() {
    let variables = environment(&[("DUNLIN_CONFIG", "/nonexistent/dunlin.toml")]);
    let error = LoadedConfig::load(None, &variables, &[]).unwrap_err().to_string();
    assert!(error.starts_with("DUNLIN_CONFIG: can't read /nonexistent/dunlin.toml: "), "{error}");
}

#[test]
fn sizes_take_units() {
    for (text, bytes) in [
        ("4096", 4096),
        ("\"4096\"", 4096),
        ("\"16 MiB\"", 16 << 20),
        ("\"2GiB\"", 2 << 30),
        ("\"5MB\"", 5_000_000),
        ("\"10_000B\"", 10_000),
    ] {
        let loaded = from_file(&format!("limits.queue_bytes_max = {text}")).unwrap();
        assert_eq!(loaded.config.limits.queue_bytes_max, bytes, "{text}");
    }
}

#[test]
fn workers_zero_means_one_for_each_core() {
    let workers = Config::default().workers;
    let shown = |loaded: &LoadedConfig| {
        let text = loaded.to_toml();
        let line = text.lines().find(|line| line.starts_with("workers")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut loaded = from_file("\nworkers = 0").unwrap();
    assert_eq!(loaded.config.workers, workers);
    assert_eq!(shown(&loaded), format!("workers = 0 # d.toml:2, {workers} on this machine"));
    loaded = LoadedConfig::from_layers(None, &BTreeMap::new(), &[]).unwrap();
    assert_eq!(shown(&loaded), format!("workers = 0 # default, {workers} on this machine"));
    // A number that is set stays, also when it is the machine's.
    loaded = from_file(&format!("workers = {workers}")).unwrap();
    assert_eq!(shown(&loaded), format!("workers = {workers} # d.toml:1"));
}

#[test]
fn the_reference_loads_as_the_defaults_and_names_everything() {
    let reference = reference();
    assert_eq!(from_file(&reference).unwrap().config, Config::default());
    for setting in settings() {
        assert!(reference.contains(&setting.environment_variable()), "{}", setting.key);
    }
}

#[test]
fn what_is_shown_loads_again_and_tells_where_it_comes_from() {
    let text = "data = 'C:\\\"x'\nallow_anonymous = true\nlisteners = ['mqtt://0.0.0.0:7']\n\
                limits = { queue_policy = 'drop-oldest', output_bytes_max = 4097 }\n";
    let loaded = from_file(text).unwrap();
    let shown = loaded.to_toml();
    assert_eq!(from_file(&shown).unwrap().config, loaded.config, "{shown}");
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("output_bytes_max = 4097 ").ends_with(" # d.toml:4"));
    assert!(line("allow_anonymous = true ").ends_with(" # d.toml:2"));
    assert!(line("queue_len_max = 100000 ").ends_with(" # default"));
}

#[test]
fn flags_that_are_repeated_add_to_lists() {
    let load = |flags: &[Flag]| LoadedConfig::from_layers(None, &BTreeMap::new(), flags);
    let rule = |value| flag("--set", "durability_by_topic", value);
    let loaded = load(&[rule("a=memory"), rule("b=written,c=fsync")]).unwrap();
    let rules = loaded.config.durability.topics;
    let rules: Vec<_> = rules.iter().map(|(filter, level)| (filter.as_str(), *level)).collect();
    let expected =
        [("a", Durability::Memory), ("b", Durability::Written), ("c", Durability::Fsync)];
    assert_eq!(rules, expected);
    let listener = |port| flag("--set", "listeners", port);
    let loaded = load(&[listener("mqtt://127.0.0.1:1"), listener("mqtt://127.0.0.1:2")]).unwrap();
    assert_eq!(loaded.config.listeners.len(), 2);
    let error = load(&[rule("telemetry/#")]).unwrap_err().to_string();
    assert!(error.contains("expected rules like telemetry/#=memory,orders/#=fsync"), "{error}");
}

#[test]
fn a_list_can_be_made_empty_from_everywhere() {
    let exempt = |variables: &[(&str, &str)], flags: &[Flag]| {
        let file = Some((Path::new("d.toml"), "auth.damping_exempt = ['10.0.0.0/8']"));
        let loaded = LoadedConfig::from_layers(file, &environment(variables), flags);
        loaded.expect("a list").config.auth.damping_exempt.len()
    };
    let set = |value| flag("--set", "auth.damping_exempt", value);
    let loaded = from_file("auth.damping_exempt = []").expect("a list");
    assert!(loaded.config.auth.damping_exempt.is_empty());
    assert_eq!(exempt(&[], &[]), 1);
    assert_eq!(exempt(&[("DUNLIN_AUTH_DAMPING_EXEMPT", "[]")], &[]), 0);
    assert_eq!(exempt(&[], &[set("[]")]), 0);
    assert_eq!(exempt(&[], &[set("")]), 0);
    assert_eq!(exempt(&[], &[set("[]"), set("::1,10.0.0.0/8")]), 2);
    let empty = [flag("--listen", "listeners", "[]")];
    let error = LoadedConfig::from_layers(None, &BTreeMap::new(), &empty).unwrap_err().to_string();
    assert!(error.starts_with("--listen: at least one is needed"), "{error}");
}
