//! Any sequence of requests and time on the broker's core.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_broker::core::fuzzing::operations(data));
