//! The checks themselves: their tables are in order, and each can fail.

mod bad_clients;
mod bad_servers;
mod tables;
