//! Any bytes as one Control Packet, in each version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_codec::fuzzing::packet(data));
