//! The house rules that a program can check; what each is for is told in CONTRIBUTING.md.

mod code;
mod layers;
mod links;
mod map;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::text_files::text_files;
use crate::workspace::Workspace;

/// A broken rule, where it is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root of the repository.
    path: PathBuf,
    /// From one; zero means the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line.max(1), self.message)
    }
}

/// Checks the whole repository.
///
/// # Errors
/// When a rule is broken; each finding has been printed as `file:line: rule`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let findings = findings(&workspace.root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 house rule is broken"),
        many => bail!("{many} house rules are broken"),
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let files = text_files(root)?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(tree::check(file));
        match file.path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => findings.extend(source::check(file)),
            Some("md") => findings.extend(links::check(root, file)),
            _ => {}
        }
    }
    findings.extend(layers::check(&files));
    findings.extend(map::check(&files));
    findings.sort();
    Ok(findings)
}
