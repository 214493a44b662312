//! The file of rules: read at start, and again when that is asked for.

use crate::trusted_file::{self, Fault};
use dunlin_rights::{Rules, RulesError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a file of rules is of no use: the file, the line, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RightsFileError {
    /// It can't be read.
    #[error(
        "{}: {source}; put the rules there, or take `file` out of [rights]", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody on the machine could give themselves rights.
    #[error("{}: everybody may write to it; say chmod o-w", .0.display())]
    WorldWritable(PathBuf),
    /// A rule is wrong, or there is none.
    #[error("{}:{}:{}: {}", path.display(), source.line, source.column, source.mistake)]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The place, and what is wrong there.
        source: RulesError,
    },
}

/// A file of rules, and how often it was read.
#[derive(Debug)]
pub(crate) struct RightsFile {
    path: PathBuf,
    generation: AtomicU64,
}

impl RightsFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), generation: AtomicU64::new(0) }
    }

    /// The rules that the file has now, told apart from those before.
    pub(crate) fn read(&self) -> Result<Arc<Rules>, RightsFileError> {
        let rules = read(&self.path)?;
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Arc::new(rules.with_generation(generation)))
    }
}

/// Reads a file of rules.
///
/// # Errors
/// [`RightsFileError`] says what is wrong with it.
pub fn read(path: &Path) -> Result<Rules, RightsFileError> {
    let unreadable = |source| RightsFileError::Unreadable { path: path.to_owned(), source };
    let file = trusted_file::read(path, TEXT_LEN_MAX).map_err(|fault| match fault {
        Fault::Unreadable(source) => unreadable(source),
        Fault::WorldWritable => RightsFileError::WorldWritable(path.to_owned()),
    })?;
    let text = String::from_utf8(file.bytes);
    let text = text.map_err(|error| unreadable(io::Error::new(ErrorKind::InvalidData, error)))?;
    let invalid = |source| RightsFileError::Invalid { path: path.to_owned(), source };
    Rules::parse(&text).map_err(invalid)
}

const TEXT_LEN_MAX: usize = 16 << 20;
