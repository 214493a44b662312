//! Benchmarks of Dunlin beside its peers.
