//! The built program as its users and their scripts see it: what it prints, and how it exits.

mod acl;
mod advice;
mod bench;
mod broker;
// Shared with the interop tests, which use all of it.
#[allow(dead_code)]
#[path = "../interop/broker_under_test.rs"]
mod broker_under_test;
mod configuration;
mod conformance;
mod conformance_of_clients;
mod decode;
mod faults;
mod hook;
mod passwd;
#[allow(dead_code)]
#[path = "../interop/process.rs"]
mod process;
mod program;
mod proxy;
mod readme;
mod scripted;
mod store;
mod tls;
mod tools;
