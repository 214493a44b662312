//! Relative links in Markdown files must lead somewhere: to a file of the repository, and to a
//! heading where they name one.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::text_files::TextFile;

/// Checks the links of one Markdown file.
pub(super) fn check(root: &Path, file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, target) in links(&file.text) {
        let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
        if path.contains("://") || path.starts_with("mailto:") {
            continue;
        }
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let from = if path.starts_with('/') { root.to_path_buf() } else { root.join(folder) };
        let wanted = from.join(path.trim_start_matches('/'));
        let text = if path.is_empty() {
            Some(file.text.clone())
        } else if wanted.exists() {
            fs::read_to_string(&wanted).ok()
        } else {
            findings.push(Finding::new(&file.path, number, format!("`{target}` leads nowhere")));
            continue;
        };
        let headed = |text: &String| headings(text).iter().any(|slug| slug == heading);
        if !heading.is_empty() && !text.as_ref().is_some_and(headed) {
            let message = format!("`{target}` names a heading that is not there");
            findings.push(Finding::new(&file.path, number, message));
        }
    }
    findings
}

/// The lines outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The targets of inline links and of reference definitions, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Odd parts lie between backticks, where brackets are code.
        let words: String = line
            .split('`')
            .enumerate()
            .filter(|(at, _)| at % 2 == 0)
            .map(|(_, part)| part)
            .collect();
        for (at, _) in words.match_indices("](") {
            if let Some(target) = words[at + 2..].split([')', ' ']).next() {
                found.push((number, target.to_owned()));
            }
        }
        let definition =
            words.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = definition {
            found.push((number, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// The anchors that a page's headings get when it is shown.
fn headings(text: &str) -> Vec<String> {
    let titles = prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim().to_lowercase())
    });
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    titles.map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}
