//! The crate from outside: what the fuzzer has found worth keeping, replayed.

use dunlin_identity::fuzzing;
use std::fs;
use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs = fs::read_dir(folder).expect("the corpus is there");
    let count = inputs.map(|input| body(&fs::read(input.unwrap().path()).unwrap())).count();
    assert!(count > 0, "the corpus of {target} has inputs");
}

#[test]
fn the_corpus_of_jwt_replays() {
    replay("jwt", fuzzing::jwt);
}

#[test]
fn the_corpus_of_scram_server_replays() {
    replay("scram_server", fuzzing::scram_server);
}

#[test]
fn the_corpus_of_scram_client_replays() {
    replay("scram_client", fuzzing::scram_client);
}

#[test]
fn the_corpus_of_password_file_replays() {
    replay("password_file", fuzzing::password_file);
}

#[test]
fn the_corpus_of_hook_answer_replays() {
    replay("hook_answer", fuzzing::hook_answer);
}
