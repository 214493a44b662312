//! The seeds of the fuzz target, replayed; and random ones, as far as time allows.

use crate::core::fuzzing::operations;

#[test]
fn the_corpus_replays() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/core_operations");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("an entry").path();
        operations(&std::fs::read(&path).expect("a readable seed"));
        count += 1;
    }
    assert!(count >= 24, "{count} seeds");
}

/// Seeds with single bytes changed.
#[test]
fn mutated_seeds_do_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/core_operations");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let mut state = 1_u64;
    for path in paths {
        let seed = std::fs::read(&path).expect("a readable seed");
        for _ in 0..100 {
            let mut data = seed.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).expect("31 bits") % data.len().max(1);
                if let Some(byte) = data.get_mut(at) {
                    *byte = (state >> 24) as u8;
                }
            }
            operations(&data);
        }
    }
}
