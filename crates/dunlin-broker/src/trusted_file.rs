//! Files that decide who may do what: read whole, within a bound, and only if not everybody may
//! write to them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What was read.
#[derive(Debug)]
pub(crate) struct TrustedFile {
    /// Its bytes; one more than there may be if it has too many.
    pub(crate) bytes: Vec<u8>,
    /// Whether everybody on the machine may read it.
    pub(crate) is_public: bool,
}

/// Why it was not read.
#[derive(Debug)]
pub(crate) enum Fault {
    Unreadable(io::Error),
    WorldWritable,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, len_max: usize) -> Result<TrustedFile, Fault> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(Fault::WorldWritable);
    }
    let mut bytes = Vec::new();
    file.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(TrustedFile { bytes, is_public: mode & 0o004 != 0 })
}
