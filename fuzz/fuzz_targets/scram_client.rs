//! Any two messages as those of a SCRAM server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_identity::fuzzing::scram_client(data));
