//! The state machines from outside, over an in-memory link and against scripted peers.

mod authentication;
mod cuts;
mod handshake;
mod helpers;
mod hostile;
mod keep_alive;
mod limits;
mod model;
mod order;
mod resume;
mod violations;
