//! Why a plan can't be run: the option, and what would do.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// A plan that can't be run.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// A number is too small or too large.
    #[error("{option} {value}: {least} to {most} will do")]
    Bounds {
        /// The option as it is typed.
        option: &'static str,
        /// What was given.
        value: u64,
        /// The smallest that will do.
        least: u64,
        /// The largest that will do.
        most: u64,
    },
    /// A rate that is none.
    #[error("--rate {0}: 0.001 to 1000000000 messages per second will do")]
    Rate(f64),
    /// Nothing happens, or too much.
    #[error("--churn {0}: 0.001 to 1000 times in a second will do")]
    Churn(f64),
    /// There are three.
    #[error("--qos {0}: 0, 1, 2 or mixed will do")]
    QoS(u8),
    /// An address of the other family.
    #[error("--source: the broker's address is {0}; sources have to be of the same family")]
    Source(IpAddr),
    /// Pairs need two of each.
    #[error(
        "--publishers {0} and --subscribers {1}: for pairs both are the same; --clients sets both"
    )]
    Pairs(u32, u32),
    /// Each publisher serves the same number of Sessions.
    #[error("--publishers {0}: take a number that divides the {1} subscribers")]
    Scattered(u32, u32),
    /// Nobody stores messages of QoS 0.
    #[error("--qos 0: brokers need not keep such messages for Sessions that are away; take 1 or 2")]
    OfflineQoS0,
    /// Each retained message has its own Topic Name.
    #[error("--duration: retained messages are counted; give --messages")]
    RetainedTime,
    /// A pause that ends before it begins.
    #[error("--pause: it has to begin before it ends, as in 10@2-5")]
    PauseOrder,
    /// A share that is none.
    #[error("{0} percent: more than 0 and up to 100 will do")]
    Percent(f64),
    /// A disturbance that would never come.
    #[error("a disturbance at {at:?} comes after the end of the run; --duration is {duration:?}")]
    Late {
        /// When it was to come.
        at: Duration,
        /// How long the run lasts.
        duration: Duration,
    },
}
