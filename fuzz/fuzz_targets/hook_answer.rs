//! Any bytes as the answer of a back end of logins, and as a client that it is asked about.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_identity::fuzzing::hook_answer(data));
