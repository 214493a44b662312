//! Any text as Topic Filter and Topic Name, against the reference matcher.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_topics::fuzzing::filter(data));
