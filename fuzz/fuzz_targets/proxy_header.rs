//! Any bytes as a PROXY header that arrives in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_transport::fuzzing::proxy_header(data));
