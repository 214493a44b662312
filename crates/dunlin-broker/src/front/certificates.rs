//! The TLS of each listener as its files give it now: read again when they change or when somebody
//! asks for it, and never replaced by something that is of no use.

use super::dates::{self, Urgency, now_secs};
use dunlin_transport::tls::{Dated, ServerFiles, ServerTls, TlsFileError, Validity};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The TLS of one listener.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// Its URL, for the log.
    listener: String,
    /// What new connections get. Locked for a moment only: the front asks for each of them.
    current: Mutex<Arc<ServerTls>>,
    watched: Mutex<Watched>,
}

/// What is known of the files.
#[derive(Debug)]
struct Watched {
    /// What they were when they were last read.
    stamps: Vec<Option<Stamp>>,
    /// Why they have been of no use since they changed.
    error: Option<TlsFileError>,
    /// Whether the log has it.
    is_told: bool,
    counts: Counts,
    /// What the log has said of each date.
    warned: Vec<(Validity, Urgency)>,
}

/// What became of files that have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// They were taken up.
    pub(crate) reloads: u64,
    /// They were of no use.
    pub(crate) failures: u64,
}

/// What tells a file from the one that was there before, without reading it. Links are followed:
/// what is mounted into a container is often replaced by turning one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Nothing where there is no file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            place: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Certificates {
    /// Reads the files of a listener.
    ///
    /// # Errors
    /// They are of no use.
    pub(crate) fn load(
        listener: String,
        files: &ServerFiles,
        protocol: &'static [u8],
    ) -> Result<Self, TlsFileError> {
        // Before they are read: what is written meanwhile is another change.
        let stamps = files.paths().map(Stamp::of).collect();
        let tls = files.load(protocol)?;
        let watched = Watched {
            stamps,
            error: None,
            is_told: false,
            counts: Counts::default(),
            warned: Vec::new(),
        };
        let certificates =
            Self { listener, current: Mutex::new(Arc::new(tls)), watched: Mutex::new(watched) };
        certificates.tell_dates(&mut certificates.watched(), now_secs());
        Ok(certificates)
    }

    /// What a new connection gets.
    pub(crate) fn current(&self) -> Arc<ServerTls> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The URL of the listener.
    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    /// What became of the files since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.watched().counts
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// They are of no use; what was in force is.
    pub(crate) fn reload(&self) -> Result<(), TlsFileError> {
        let mut watched = self.watched();
        watched.stamps = self.stamps();
        self.read(&mut watched);
        self.tell_failure(&mut watched);
        watched.error.clone().map_or(Ok(()), Err)
    }

    /// Reads the files again if they have changed, or were of no use; and looks at the dates.
    pub(crate) fn look(&self) {
        let mut watched = self.watched();
        let stamps = self.stamps();
        let have_changed = watched.stamps != stamps;
        if have_changed || watched.error.is_some() {
            watched.stamps = stamps;
            self.read(&mut watched);
        }
        // Who replaces several files one after the other has until the next look.
        if !have_changed {
            self.tell_failure(&mut watched);
        }
        self.tell_dates(&mut watched, now_secs());
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.current().files().paths().map(Stamp::of).collect()
    }

    fn read(&self, watched: &mut Watched) {
        let read = self.current().reload().and_then(|tls| match tls {
            Some(tls) => newly_ended(&self.current(), &tls, now_secs()).map_or(Ok(Some(tls)), Err),
            None => Ok(None),
        });
        let error = match read {
            Ok(tls) => {
                if let Some(tls) = tls {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
                    watched.counts.reloads += 1;
                    tracing::info!(listener = self.listener, "certificates were read again");
                    self.tell_dates(watched, now_secs());
                } else if watched.is_told {
                    tracing::info!(listener = self.listener, "certificates are as they were");
                }
                None
            }
            Err(error) => Some(error),
        };
        if watched.error != error {
            watched.error = error;
            watched.is_told = false;
        }
    }

    fn tell_failure(&self, watched: &mut Watched) {
        if let (Some(error), false) = (&watched.error, watched.is_told) {
            watched.is_told = true;
            watched.counts.failures += 1;
            let listener = &self.listener;
            tracing::error!(listener, "certificates stay in force as they were: {error}");
        }
    }

    /// Tells of dates once, and again when they come near and when they are over.
    fn tell_dates(&self, watched: &mut Watched, now: i64) {
        let tls = self.current();
        let mut told = Vec::new();
        for validity in tls.validities() {
            let urgency = Urgency::of(validity.until, now);
            if !watched.warned.contains(&(validity.clone(), urgency)) {
                self.tell_date(validity, urgency, tls.files().accepts_old_crl);
            }
            told.push((validity.clone(), urgency));
        }
        watched.warned = told;
    }

    fn tell_date(&self, validity: &Validity, urgency: Urgency, accepts_old_crl: bool) {
        let listener = &self.listener;
        let words = dates::words(validity, urgency, accepts_old_crl);
        match (urgency, validity.dated) {
            (Urgency::Far, _) => tracing::info!(listener, "{words}"),
            (Urgency::Near, _) => tracing::warn!(listener, "{words}"),
            (Urgency::Over, Dated::RevocationList) if accepts_old_crl => {
                tracing::warn!(listener, "{words}");
            }
            (Urgency::Over, _) => tracing::error!(listener, "{words}"),
        }
    }
}

/// Why a certificate is of no use that would take the place of one: no client takes one that has
/// ended, and that one has not.
fn newly_ended(before: &ServerTls, after: &ServerTls, now: i64) -> Option<TlsFileError> {
    let is_over = |validity: &&Validity| Urgency::of(validity.until, now) == Urgency::Over;
    let mut over = after.shown().iter().filter(is_over);
    let is_new = |validity: &&Validity| {
        let mut earlier = before.shown().iter().filter(is_over);
        !earlier.any(|earlier| earlier.path == validity.path)
    };
    over.find(is_new).map(|validity| TlsFileError {
        path: validity.path.clone(),
        reason: format!("its certificate has ended at {validity}; put one there that is valid"),
    })
}

/// The earliest end of what some listeners have, in seconds since 1970.
pub(crate) fn earliest_end(certificates: &[Arc<Certificates>], dated: Dated) -> Option<i64> {
    let ends = certificates.iter().filter_map(|certificates| {
        let tls = certificates.current();
        let of_kind = tls.validities().iter().filter(|validity| validity.dated == dated);
        of_kind.map(|validity| validity.until).min()
    });
    ends.min()
}
