//! Any bytes as a password file, which is then changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_identity::fuzzing::password_file(data));
