//! Any bytes as the head of an upgrade, of its answer, and as the answers of proxies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_transport::fuzzing::http_head(data));
