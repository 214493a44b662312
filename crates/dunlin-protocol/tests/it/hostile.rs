//! Peers that send any packet at any time, and owners that do anything: nothing panics, grows or
//! breaks an invariant.

use dunlin_protocol::fuzzing;
use dunlin_testkit::{Random, for_each_seed};
use std::fs;
use std::path::Path;

#[track_caller]
fn check_random(salt: u64, body: fn(&[u8])) {
    for_each_seed(4_000, |seed| {
        let mut random = Random::new(seed ^ salt);
        let len = random.between(10..=600) as usize;
        body(&random.bytes(len));
    });
}

#[track_caller]
fn check_corpus(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let seeds = fs::read_dir(&folder).expect("the corpus is there").map(|seed| {
        let path = seed.expect("the folder can be listed").path();
        fs::read(path).expect("the seed can be read")
    });
    let mut count = 0;
    for seed in seeds {
        body(&seed);
        count += 1;
    }
    assert!(count > 0, "{} holds no seeds", folder.display());
}

#[test]
fn a_server_survives_hostile_clients() {
    check_random(0, fuzzing::server);
}

#[test]
fn a_client_survives_hostile_servers() {
    check_random(1 << 60, fuzzing::client);
}

#[test]
fn the_corpus_of_the_server_replays() {
    check_corpus("server_connection", fuzzing::server);
}

#[test]
fn the_corpus_of_the_client_replays() {
    check_corpus("client_connection", fuzzing::client);
}
