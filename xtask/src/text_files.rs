//! The repository's text files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::sorted_entries;

/// A file with its text.
pub(crate) struct TextFile {
    /// Relative to the root of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl TextFile {
    /// Whether the path lies in a folder given relative to the root.
    pub(crate) fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The file's name.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// What is read, by extension: the rest is data.
const EXTENSIONS: [&str; 6] = ["rs", "md", "toml", "py", "sh", "yml"];

/// Folders that hold what programs wrote.
const GENERATED: [&str; 5] = [".git", "target", "corpus", "artifacts", "coverage"];

/// Reads every text file below the root, in a fixed order.
pub(crate) fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in sorted_entries(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // Cargo marks its build directories, wherever they were put.
                let built = path.join("CACHEDIR.TAG").exists();
                if !GENERATED.contains(&name.as_str()) && !built && !path.is_symlink() {
                    folders.push(path);
                }
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
                files.push(TextFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
