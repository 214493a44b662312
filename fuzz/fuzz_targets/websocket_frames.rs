//! Any bytes as WebSocket frames that arrive in pieces, at a server and at a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunlin_transport::fuzzing::websocket_frames(data));
