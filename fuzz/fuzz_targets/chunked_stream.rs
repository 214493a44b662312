//! Any bytes as a stream of Control Packets that arrives in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_codec::fuzzing::chunked_stream(data));
