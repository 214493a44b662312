//! Random filters, names and sequences of operations against the reference matcher and plain
//! maps, through the bodies of the fuzz targets.

use dunlin_topics::fuzzing;
use proptest::collection::vec;
use proptest::prelude::*;

fn level(wildcards: bool) -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        Just(String::new()),
        "[ab]{1,2}",
        Just("$S".to_owned()),
        "\\PC{0,3}".prop_map(|text: String| text.replace(['/', '+', '#'], "x")),
    ];
    if wildcards {
        prop_oneof![3 => literal, 2 => Just("+".to_owned()), 1 => Just("#".to_owned())].boxed()
    } else {
        literal.boxed()
    }
}

fn topic(wildcards: bool) -> impl Strategy<Value = String> {
    vec(level(wildcards), 1..6).prop_map(|levels| levels.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_matchers_agree(topic_filter in topic(true), topic_name in topic(false)) {
        fuzzing::filter(format!("{topic_filter}\n{topic_name}").as_bytes());
    }

    /// Also with strings that are no valid filters and names: `#` in the middle, `a+`, wildcards in
    /// names.
    #[test]
    fn all_matchers_agree_on_anything(one in "[ab+#$/\u{0}]{0,8}", other in "[ab+#$/\u{0}]{0,8}") {
        fuzzing::filter(format!("{one}\n{other}").as_bytes());
    }

    #[test]
    fn operations_agree_with_the_model(operations in vec(any::<u8>(), 0..1500)) {
        fuzzing::index_operations(&operations);
    }

    /// Short texts of few levels: the same filters come again and again.
    #[test]
    fn operations_on_few_filters(operations in vec((any::<u8>(), 0xc0..0xcc_u8), 0..400)) {
        let bytes: Vec<u8> = operations.into_iter().flat_map(|(one, two)| [one, two]).collect();
        fuzzing::index_operations(&bytes);
    }

    /// Only filters that share levels, so that nodes split and join often.
    #[test]
    fn operations_on_deep_filters(operations in vec((0..7_u8, vec(0..5_u8, 5), 0xc0..0xc6_u8), 0..200)) {
        let bytes: Vec<u8> = operations
            .into_iter()
            .flat_map(|(operation, levels, last)| {
                [vec![operation], levels, vec![last]].concat()
            })
            .collect();
        fuzzing::index_operations(&bytes);
    }
}
