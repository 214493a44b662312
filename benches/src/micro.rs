//! What the hot paths cost without sockets: the parts that the benchmarks under `benches/` and the
//! programs `instructions` and `memory` share.

pub mod bed;
pub mod filters;
pub mod packets;
pub mod rounds;
