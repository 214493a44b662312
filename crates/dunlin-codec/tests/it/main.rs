//! Tests of the public interface: vectors, laws that hold for every packet, kept fuzz inputs.

mod arbitrary;
mod corpus;
mod laws;
mod support;
mod transmit;
mod vectors;
