//! Sockets: where connections come from and how their bytes move.

mod listener;
mod socket;
mod transport;

pub(crate) use listener::{Acceptance, Acceptor, bind};
pub(crate) use socket::{Reading, Socket, Writing};
pub(crate) use transport::{Stream, Transport};
