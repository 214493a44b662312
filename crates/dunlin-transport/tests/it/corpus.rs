//! Every kept fuzz input, run again.

use dunlin_transport::fuzzing;
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
fn websocket_frames() {
    check("websocket_frames", fuzzing::websocket_frames);
}

#[test]
fn http_head() {
    check("http_head", fuzzing::http_head);
}

#[test]
fn proxy_header() {
    check("proxy_header", fuzzing::proxy_header);
}
