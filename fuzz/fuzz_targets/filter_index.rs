//! Any sequence of operations on the Topic Filter index, against the reference.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_topics::fuzzing::index_operations(data));
