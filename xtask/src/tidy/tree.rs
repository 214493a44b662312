//! The rules that hold for every text file.

use super::Finding;
use crate::text_files::TextFile;

/// What Git writes around two versions that it could not merge. (A line of equals signs may be a heading's.)
const MERGE_MARKS: [&str; 3] = ["<<<<<<< ", "||||||| ", ">>>>>>> "];

/// Trailing white space, marks of a merge, and a last line that does not end.
pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.split('\n')) {
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(&file.path, number, "white space at the end of the line"));
        }
        if MERGE_MARKS.iter().any(|mark| line.starts_with(mark)) {
            findings.push(Finding::new(&file.path, number, "a mark of an unfinished merge"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let last = file.text.lines().count();
        findings.push(Finding::new(&file.path, last, "no line feed at the end of the file"));
    }
    findings
}
