//! The crate beside other implementations of the same standards, in random cuts, and on the kept
//! inputs of its fuzz targets.

#[cfg(feature = "websocket")]
mod corpus;
#[cfg(feature = "websocket")]
mod cuts;
#[cfg(feature = "websocket")]
mod frames;
#[cfg(feature = "websocket")]
mod pipe;
mod proxy_header;
#[cfg(feature = "websocket")]
mod upgrade;
