//! The built program as its users and their scripts see it: what it prints, and how it exits.

mod broker;
mod configuration;
mod decode;
mod program;
mod scripted;
mod tools;
