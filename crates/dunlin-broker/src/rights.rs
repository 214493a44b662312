//! The file of rules: read at start, and again when that is asked for.

use crate::trusted_file::{self, Fault};
use dunlin_rights::{HalfWritten, Rules, RulesError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// It was read again, and may be the first part of one.
    #[error("{}: {source}", path.display())]
    HalfWritten {
        /// The file.
        path: PathBuf,
        /// What speaks for that, and how to say that it is whole.
        source: HalfWritten,
    },
}

/// A file of rules, and what is in force of it.
#[derive(Debug)]
pub(crate) struct RightsFile {
    path: PathBuf,
    in_force: Mutex<Arc<Rules>>,
}

impl RightsFile {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, RightsFileError> {
        let rules = read(path)?.with_generation(1);
        if let Err(doubt) = rules.check_whole(None) {
            tracing::warn!("{}: {doubt}", path.display());
        }
        Ok(Self { path: path.to_owned(), in_force: Mutex::new(Arc::new(rules)) })
    }

    /// What is in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rules that the file has now, told apart from those before. What is in force stays so if the
    /// file is of no use, or may be half-written.
    pub(crate) fn reload(&self) -> Result<Arc<Rules>, RightsFileError> {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = read(&self.path)?;
        rules.check_whole(Some(&in_force)).map_err(|source| {
            let path = self.path.clone();
            RightsFileError::HalfWritten { path, source }
        })?;
        *in_force = Arc::new(rules.with_generation(in_force.generation() + 1));
        Ok(in_force.clone())
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
