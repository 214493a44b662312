//! Whatever decodes must encode to bytes that decode to the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_codec::fuzzing::round_trip(data));
