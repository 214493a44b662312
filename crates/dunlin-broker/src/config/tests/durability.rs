//! What an acknowledgement means.

use super::*;

#[test]
fn an_acknowledgement_means_what_the_operator_says() {
    let text = "durability = \"written\"\nlisteners = [{ url = \"mqtt://127.0.0.1:0?durability=memory\" }]\n\
                durability_by_topic = [{ topic_filter = \"a/#\", durability = \"fsync\" }]\n";
    let flags = [flag("--set", "durability_by_topic", "telemetry/+=memory, orders/#=fsync")];
    for flags in [&[][..], &flags] {
        let loaded =
            LoadedConfig::from_layers(Some((Path::new("x.toml"), text)), &BTreeMap::new(), flags)
                .unwrap();
        let config = &loaded.config;
        assert_eq!(config.durability.default, Durability::Written);
        assert_eq!(config.listeners[0].durability, Some(Durability::Memory));
        let rules: Vec<_> = config.durability.topics.iter().map(|rule| rule.1).collect();
        match flags.len() {
            0 => assert_eq!(rules, [Durability::Fsync]),
            _ => assert_eq!(rules, [Durability::Memory, Durability::Fsync]),
        }
        // What is shown can be loaded again.
        let shown = loaded.to_toml();
        let again =
            LoadedConfig::from_layers(Some((Path::new("y.toml"), &shown)), &BTreeMap::new(), &[]);
        assert_eq!(&again.unwrap().config, config);
    }
}

#[test]
fn a_mistake_about_durability_is_named() {
    for (text, message) in [
        ("durability = \"disk\"", "one of \"memory\", \"written\", \"fsync\""),
        ("listeners = [\"mqtt://127.0.0.1?durability=x\"]", "\"x\" is no durability"),
        ("listeners = [\"mqtt://127.0.0.1?sync=x\"]", "\"sync=x\" is no option"),
        (
            "durability_by_topic = [{ topic_filter = \"a/#/b\", durability = \"fsync\" }]",
            "Topic Filter",
        ),
        (
            "durability_by_topic = [{ topic_filter = \"$share/g/a\", durability = \"fsync\" }]",
            "Shared",
        ),
        ("durability_by_topic = [{ topic_filter = \"a\", level = \"x\" }]", "setting `level`"),
        ("durability_by_topic = [{ topic_filter = \"a\" }]", "expected {"),
        (
            "listeners = [{ url = \"mqtt://127.0.0.1\", durability = \"some\" }]",
            "\"some\" is no durability; there are memory, written and fsync",
        ),
        ("data = \"\"", "data: expected the path of a folder, found nothing"),
        ("durability_by_topic = [{ topic_filter = \"a\", durability = \"no\" }]", "\"no\" is no"),
        ("durability_by_topic = 1", "expected a list"),
    ] {
        let layer = Some((Path::new("x.toml"), text));
        let error = LoadedConfig::from_layers(layer, &BTreeMap::new(), &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("x.toml:1: ") && error.contains(message), "{error}");
    }
}

#[test]
fn a_mistyped_key_of_a_rule_is_named_where_it_is() {
    check_mistake(
        "workers = 1\n[[durability_by_topic]]\ntopic_filter = 'a'\ndurability = 'fsync'\n\n\
         [[durability_by_topic]]\ntopic_filter = 'b'\ndurabilty = 'fsync'\n",
        "d.toml:8: unknown setting `durabilty`; did you mean `durability`?",
    );
}

#[test]
fn a_durability_without_a_folder_is_warned_of() {
    let warnings = |flags: &[Flag]| {
        LoadedConfig::from_layers(None, &BTreeMap::new(), flags).unwrap().warnings()
    };
    assert_eq!(warnings(&[]), [""; 0]);
    let reason = "durability has no effect without a data folder (--data FOLDER)";
    for (given, place) in [
        (flag("--durability", "durability", "fsync"), "--durability"),
        (flag("--set", "durability_by_topic", "a=memory"), "--set: durability_by_topic"),
        (flag("--listen", "listeners", "mqtt://127.0.0.1?durability=memory"), "--listen"),
    ] {
        assert_eq!(warnings(std::slice::from_ref(&given)), [format!("{place}: {reason}")]);
        assert_eq!(warnings(&[given, flag("--data", "data", "x")]), [""; 0]);
    }
}
