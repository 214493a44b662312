//! Who may put a socket in a place of the file system: one at a time, of this process and of others.

use super::listener::place_of;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Held while the file of a socket is looked at and replaced. It is a locked file beside it, which
/// goes with this; one that somebody has left who was killed is locked by nobody.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    _file: File,
}

impl FileLock {
    /// Takes it for the socket at this path, without waiting.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] if another one has it, or what the system says.
    pub(super) fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(flags.bits().cast_signed());
        loop {
            let file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(ErrorKind::AddrInUse.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it may have removed it meanwhile, and then others lock another one.
            let own = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))?;
            match place_of(&path) {
                Ok(place) if place == own => return Ok(Self { path, _file: file }),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Before it is unlocked, so that it is nobody else's. One that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}
