//! Any bytes as a token, as signed claims, as a key set.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_identity::fuzzing::jwt(data));
