//! Checks of servers.
//!
//! Each file of checks has one table, `CHECKS`, and [`TABLES`] names them all. A check gets a
//! [`Bench`]: connections to the server, and names that nobody else uses.

mod acknowledgements;
mod authentication;
mod bench;
mod capabilities;
mod connack;
mod connect;
mod disconnect;
mod fixed_header;
mod flow_control;
mod keep_alive;
mod limits;
mod malformed_acknowledgements;
mod malformed_connect;
mod malformed_properties;
mod malformed_publish;
mod message_expiry;
mod message_steps;
mod ordering;
mod overlapping;
mod packet_size;
mod properties;
mod publish;
mod qos_flows;
mod qos_to_client;
mod redelivery;
mod retain_options;
mod retained;
mod sessions;
mod shared;
mod steps;
mod strings;
mod subscribe;
mod subscription_identifiers;
mod topic_alias;
mod topics;
mod unsubscribe;
mod will_delay;
mod wills;

pub use bench::{Bench, Target};
pub use capabilities::{Capabilities, ProbeError, probe};

use crate::runner::INTERRUPTED;
use crate::{Exchange, Verdict, guarded, skipped};
use std::sync::atomic::Ordering;

/// A check of a server.
pub type Check = crate::Check<Bench>;

/// A check of a server for one version.
pub type Case = crate::Case<Bench>;

/// All checks of servers.
pub const TABLES: &[&[Check]] = &[
    connect::CHECKS,
    connack::CHECKS,
    malformed_connect::CHECKS,
    publish::CHECKS,
    overlapping::CHECKS,
    malformed_publish::CHECKS,
    properties::CHECKS,
    topic_alias::CHECKS,
    message_expiry::CHECKS,
    retained::CHECKS,
    retain_options::CHECKS,
    malformed_acknowledgements::CHECKS,
    acknowledgements::CHECKS,
    qos_flows::CHECKS,
    qos_to_client::CHECKS,
    redelivery::CHECKS,
    ordering::CHECKS,
    flow_control::CHECKS,
    packet_size::CHECKS,
    fixed_header::CHECKS,
    malformed_properties::CHECKS,
    strings::CHECKS,
    subscribe::CHECKS,
    subscription_identifiers::CHECKS,
    unsubscribe::CHECKS,
    topics::CHECKS,
    shared::CHECKS,
    keep_alive::CHECKS,
    disconnect::CHECKS,
    authentication::CHECKS,
    sessions::CHECKS,
    wills::CHECKS,
    will_delay::CHECKS,
    limits::CHECKS,
];

/// Runs one case against the server, and takes away what it left there. To be given to
/// [`run`](crate::run).
pub fn judge(target: &Target, case: &Case, number: usize) -> (Verdict, Exchange) {
    if target.is_interrupted.load(Ordering::Relaxed) {
        return (skipped(INTERRUPTED), Exchange::default());
    }
    let mut bench = Bench::new(target, case.version, number);
    let verdict = guarded(|| (case.check.run)(&mut bench));
    let exchange = bench.exchange().clone();
    bench.clean_up();
    (verdict, exchange)
}
