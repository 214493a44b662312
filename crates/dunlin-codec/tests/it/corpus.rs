//! Every kept fuzz input, run again.

use dunlin_codec::fuzzing;
use std::path::Path;

fn check(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).expect("the corpus");
    let count = entries
        .map(|entry| body(&std::fs::read(entry.expect("an entry").path()).expect("a file")))
        .count();
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn packet() {
    check("packet", fuzzing::packet);
}

#[test]
fn chunked_stream() {
    check("chunked_stream", fuzzing::chunked_stream);
}

#[test]
fn round_trip() {
    check("round_trip", fuzzing::round_trip);
}
