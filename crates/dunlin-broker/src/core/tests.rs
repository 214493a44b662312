//! The core, stepped without sockets.
