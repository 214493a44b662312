//! Sockets: where connections come from and how their bytes move.

mod file_lock;
mod foreign;
mod layers;
mod listener;
mod origin;
mod socket;
mod stream;
mod transport;

pub(crate) use foreign::Foreign;
pub(crate) use listener::{
    Acceptance, Acceptor, BoundFile, Listening, bind, bind_datagrams, bind_file, look_at_address,
    look_at_file,
};
pub(crate) use origin::network_of;
pub(crate) use socket::{Reading, Socket, Writing};
#[cfg(feature = "quic")]
pub(crate) use stream::Relayed;
pub(crate) use stream::Stream;
pub(crate) use transport::{HeaderProgress, Transport};
