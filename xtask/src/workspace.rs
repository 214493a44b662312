//! Where things are: the root of the repository, the build directory, the crates and their
//! manifests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository that this program was built from.
pub(crate) struct Workspace {
    /// Its root folder.
    pub(crate) root: PathBuf,
    /// Where Cargo puts what it builds.
    pub(crate) target: PathBuf,
}

/// One crate under `crates/`.
pub(crate) struct Crate {
    /// Its folder, which is named like the crate.
    pub(crate) folder: PathBuf,
    /// The parsed `Cargo.toml`.
    pub(crate) manifest: toml::Table,
}

impl Workspace {
    /// Finds the root through this crate's own folder, and the build directory as Cargo does.
    pub(crate) fn find() -> Self {
        let here =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let here = Path::new(&here);
        let root = here.parent().expect("this crate lies in a folder of the repository");
        let target = env::var_os("CARGO_TARGET_DIR")
            .filter(|path| !path.is_empty())
            .map_or_else(|| root.join("target"), absolute);
        Self { root: root.to_path_buf(), target }
    }

    /// The crates under `crates/`, by name.
    pub(crate) fn crates(&self) -> Result<Vec<Crate>> {
        let mut found = Vec::new();
        for folder in sorted_entries(&self.root.join("crates"))? {
            let path = folder.join("Cargo.toml");
            if path.is_file() {
                found.push(Crate { manifest: read_manifest(&path)?, folder });
            }
        }
        Ok(found)
    }
}

impl Crate {
    /// The name that the manifest gives, or the folder's.
    pub(crate) fn name(&self) -> String {
        let named = self.manifest.get("package").and_then(|package| package.get("name"));
        match named.and_then(toml::Value::as_str) {
            Some(name) => name.to_owned(),
            None => self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// The features that the manifest declares, without `default`.
    pub(crate) fn features(&self) -> Vec<String> {
        let features = self.manifest.get("features").and_then(toml::Value::as_table);
        let names = features.into_iter().flat_map(toml::Table::keys);
        names.filter(|name| *name != "default").cloned().collect()
    }
}

/// Reads and parses a `Cargo.toml`.
pub(crate) fn read_manifest(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("parsing {}", path.display()))
}

/// A folder's entries in the order of their names, so that output never depends on the disk.
pub(crate) fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("listing {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn absolute(path: std::ffi::OsString) -> PathBuf {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return path;
    }
    env::current_dir().map_or_else(|_| path.clone(), |here| here.join(&path))
}
