//! Any two messages as those of a SCRAM client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_identity::fuzzing::scram_server(data));
