//! The core without sockets: scripted Clients, virtual time, workers in any order.

mod broker;
mod connect;
mod corpus;
mod durability;
mod given;
mod image;
mod limits_table;
mod login;
mod memory;
mod packets;
mod publish;
mod queues;
mod recovery;
mod refusal;
mod retained;
mod rights;
mod rights_removed;
mod shared;
mod simulation;
mod store;
mod subscriptions;
mod tail;
mod wills;
mod workers;

use broker::{Broker, Link};
use packets::*;
