//! Any text as rules, and any questions to them, against the reference.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_rights::fuzzing::rules(data));
