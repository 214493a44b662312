//! The client against a scripted server, over pipes in memory and on paused time.

mod cancellation;
mod connecting;
mod leaving;
mod peer;
mod publishing;
mod reconnecting;
mod saturation;
mod storing;
mod subscribing;
