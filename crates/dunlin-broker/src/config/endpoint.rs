//! What a listener is bound to.

use super::ListenerError;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Who may connect to a socket in the file system unless that is said: its owner.
const MODE: u32 = 0o600;

/// What clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// An address of TCP; port 0 lets the system choose one.
    Address(SocketAddr),
    /// A socket in the file system, for this machine alone.
    Socket(SocketFile),
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketFile {
    /// Where it is; its folder has to be there.
    pub path: PathBuf,
    /// Who may connect: those who may write to it, by the bits of its mode.
    pub mode: u32,
}

impl SocketFile {
    /// A socket that its owner alone may connect to.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: MODE }
    }

    /// Takes a mode in octal digits.
    pub(super) fn set_mode(&mut self, mode: &str) -> Result<(), ListenerError> {
        let parsed = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777);
        self.mode = parsed.ok_or_else(|| ListenerError::Mode(mode.to_owned()))?;
        Ok(())
    }
}

/// Prints as in a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(file) => {
                f.write_str(&super::listener::encode(&file.path.to_string_lossy()))
            }
        }
    }
}
