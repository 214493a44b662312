//! Inputs that the fuzzer has found worth keeping, replayed.

use dunlin_topics::fuzzing;
use std::fs;
use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs = fs::read_dir(folder).expect("the corpus is there");
    let count = inputs.map(|input| body(&fs::read(input.unwrap().path()).unwrap())).count();
    assert!(count > 0, "the corpus of {target} has inputs");
}

#[test]
fn the_corpus_of_filter_replays() {
    replay("filter", fuzzing::filter);
}

#[test]
fn the_corpus_of_filter_index_replays() {
    replay("filter_index", fuzzing::index_operations);
}
