//! The crate beside other implementations of the same standards, in random cuts, and on the kept
//! inputs of its fuzz targets.

mod corpus;
mod cuts;
mod frames;
mod pipe;
mod proxy_header;
mod upgrade;
