//! The checks themselves: their tables are in order, and each can fail.

mod almost_right;
mod bad_clients;
mod bad_servers;
mod endless_servers;
mod small_broker;
mod tables;
