//! The committed corpus of the fuzz target, replayed.

use dunlin_rights::fuzzing;
use std::fs;
use std::path::Path;

#[test]
fn the_corpus_of_the_rules_replays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/rules");
    let seeds = fs::read_dir(&folder).expect("the corpus is there").map(|seed| {
        let seed = seed.expect("its folder can be read").path();
        fs::read(seed).expect("a seed can be read")
    });
    let count = seeds.inspect(|seed| fuzzing::rules(seed)).count();
    assert!(count > 0, "the corpus is empty");
}
