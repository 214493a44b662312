//! The files that are looked after: what of each is dirty, and which faults there are.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::control::Faults;
use crate::ranges::Dirty;
use crate::raw::{self, FileId};
use crate::shadow;

/// How old the knowledge of the control file may be.
const CONTROL_AGE: Duration = Duration::from_millis(3);

/// The folder that is looked after.
pub(crate) struct Disk {
    data: PathBuf,
    shadow: Option<PathBuf>,
    control: Option<PathBuf>,
    files: Mutex<HashMap<FileId, Tracked>>,
    faults: Mutex<Told>,
    /// Copying to the shadow is one at a time.
    copying: Mutex<()>,
}

/// One file below the folder.
struct Tracked {
    dirty: Dirty,
    /// How many syncs have begun.
    begun: u64,
    /// The latest of them that the shadow was told of.
    told: u64,
}

/// What the control file said last.
#[derive(Default)]
struct Told {
    read_at: Option<Instant>,
    text: String,
    faults: Faults,
}

/// An open file below the folder.
pub(crate) struct Watched {
    disk: &'static Disk,
    file: FileId,
}

/// A sync that is under way.
pub(crate) struct Sync {
    covered: Dirty,
    number: u64,
}

impl Disk {
    fn from_environment() -> Option<Self> {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        Some(Self {
            data: path("DUNLIN_BAD_DISK_DATA")?,
            shadow: path("DUNLIN_BAD_DISK_SHADOW"),
            control: path("DUNLIN_BAD_DISK_CONTROL"),
            files: Mutex::default(),
            faults: Mutex::default(),
            copying: Mutex::default(),
        })
    }

    fn holds(&self, fd: i32) -> bool {
        fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| {
            path.as_os_str().as_bytes().starts_with(self.data.as_os_str().as_bytes())
                && path.starts_with(&self.data)
        })
    }

    fn files(&self) -> MutexGuard<'_, HashMap<FileId, Tracked>> {
        lock(&self.files)
    }

    /// The faults of this moment.
    fn with_faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T {
        let mut told = lock(&self.faults);
        if let Some(control) = &self.control
            && told.read_at.is_none_or(|at| at.elapsed() > CONTROL_AGE)
        {
            // Without the file there are no faults.
            let text = fs::read_to_string(control).unwrap_or_default();
            if text != told.text {
                told.faults = Faults::parse(&text);
                told.text = text;
            }
            told.read_at = Some(Instant::now());
        }
        use_them(&mut told.faults)
    }
}

/// The file behind a descriptor, if it is looked after. Told before each call that changes it.
pub(crate) fn watched(fd: i32) -> Option<Watched> {
    static DISK: OnceLock<Option<Disk>> = OnceLock::new();
    // What is no file is let go before anything is locked: it may be a signal handler's pipe.
    let (file, len) = raw::identify(fd)?;
    let disk = DISK.get_or_init(Disk::from_environment).as_ref()?;
    if let Some(tracked) = disk.files().get_mut(&file) {
        tracked.dirty.seen(len);
        return Some(Watched { disk, file });
    }
    if !disk.holds(fd) {
        return None;
    }
    let tracked = Tracked { dirty: Dirty::unknown(len), begun: 0, told: 0 };
    disk.files().entry(file).or_insert(tracked);
    Some(Watched { disk, file })
}

impl Watched {
    /// How many bytes may be written, or the number of the error.
    pub(crate) fn admit(&self, count: usize) -> Result<usize, i32> {
        self.disk.with_faults(|faults| faults.admit(count))
    }

    /// So many bytes were written up to this offset.
    pub(crate) fn wrote(&self, end: u64, count: u64) {
        if let Some(tracked) = self.disk.files().get_mut(&self.file) {
            tracked.dirty.add(end.saturating_sub(count), end);
        }
    }

    /// The file has another length.
    pub(crate) fn resized(&self, len: u64) {
        if let Some(tracked) = self.disk.files().get_mut(&self.file) {
            tracked.dirty.seen(len);
        }
    }

    /// A sync begins: what is dirty now is what it covers. Waits as long as syncs are to take.
    ///
    /// # Errors
    /// The number of the error that it is to fail with; what it was for is then lost.
    pub(crate) fn begin_sync(&self) -> Result<Option<Sync>, i32> {
        let sync = self.disk.files().get_mut(&self.file).map(|tracked| {
            tracked.begun += 1;
            Sync { covered: tracked.dirty.take(), number: tracked.begun }
        });
        let began = Instant::now();
        loop {
            let faults = self.disk.with_faults(|faults| faults.clone());
            if began.elapsed() < faults.sync_delay {
                thread::sleep(CONTROL_AGE);
                continue;
            }
            return match faults {
                Faults { read_only: true, .. } => Err(libc::EROFS),
                Faults { sync_fails: true, .. } => Err(libc::EIO),
                _ => Ok(sync),
            };
        }
    }

    /// The sync has succeeded.
    pub(crate) fn end_sync(&self, fd: i32, sync: &Sync) {
        let Some(folder) = &self.disk.shadow else { return };
        let _one_at_a_time = lock(&self.disk.copying);
        let mut is_latest = false;
        if let Some(tracked) = self.disk.files().get_mut(&self.file) {
            is_latest = sync.number > tracked.told;
            tracked.told = tracked.told.max(sync.number);
        }
        // A shadow that can't be written claims too little, which the test then shows.
        let _ = shadow::commit(folder, self.file, fd, &sync.covered, is_latest);
    }
}

/// No code of ours panics with a lock held; the state is whole in any case.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
