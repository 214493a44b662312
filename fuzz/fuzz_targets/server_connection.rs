//! Any sequence of commands, input and time on a server's connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_protocol::fuzzing::server(data));
