//! The state machines from outside, over an in-memory link and against scripted peers.

mod model;
