//! Shows configurations as TOML that can be loaded again, and the settings as a page to read.

use super::setting::{Setting, settings};
use super::{Config, LoadedConfig};
use std::fmt::Write as _;

/// The configuration file with every setting at its default, explained.
pub fn reference() -> String {
    let defaults = Config::default();
    let mut text = String::from("# Every setting of dunlin, with its default.\n");
    let mut table = "";
    for setting in settings() {
        open_table(&mut text, &mut table, setting.key);
        text.push('\n');
        wrap(&mut text, &setting.documentation());
        let (kind, variable) = (setting.kind, setting.environment_variable());
        wrap(&mut text, &format!("Takes {kind}. Variable {variable}."));
        let default = default_of(setting, &defaults);
        let unset = if default.is_none() { "# " } else { "" };
        let shown = setting.example.map_or_else(|| default.unwrap_or_default(), str::to_owned);
        let _ = writeln!(text, "{unset}{} = {shown}", setting.name());
    }
    text
}

/// The same as a page of Markdown.
pub fn reference_page() -> String {
    let defaults = Config::default();
    let mut text = String::from(PAGE);
    let mut table = "";
    for setting in settings() {
        let of = table_of(setting.key);
        if of != table {
            let _ = writeln!(text, "\n## `[{of}]`");
            table = of;
        }
        let _ = writeln!(text, "\n### `{}`\n\n{}\n", setting.key, setting.documentation());
        let default = match (default_of(setting, &defaults), setting.example) {
            (Some(default), _) => format!("`{default}`"),
            (None, Some(example)) => format!("unset; an example is `{example}`"),
            (None, None) => "unset".to_owned(),
        };
        let variable = setting.environment_variable();
        let _ = writeln!(text, "- takes {}", setting.kind);
        let _ = writeln!(text, "- default: {default}");
        let _ = writeln!(text, "- variable: `{variable}`");
    }
    text
}

/// What the page begins with.
const PAGE: &str = "\
# Settings

A configuration file is TOML (`dunlin --config dunlin.toml`); `dunlin --print-config > dunlin.toml`
writes one with every setting at its default. An environment variable wins over the file, and a flag
over both: `--set limits.packet_size_max=1MiB` sets any of them. `dunlin --config dunlin.toml --check`
shows what is in force, and where each value comes from.

This page is what `dunlin --print-config=page` prints.
";

/// The value that a setting has by itself, as TOML; `None` if none.
fn default_of(setting: &Setting, defaults: &Config) -> Option<String> {
    let value = (setting.read)(defaults)?;
    Some(setting.automatic.as_ref().unwrap_or(&value).to_string())
}

impl LoadedConfig {
    /// The values in force, each with where it comes from. What is left to the machine is shown so,
    /// with what the machine chose.
    pub fn to_toml(&self) -> String {
        let mut lines = Vec::new();
        let mut text = String::new();
        let mut table = "";
        for setting in settings() {
            let mut line = String::new();
            open_table(&mut line, &mut table, setting.key);
            let mut origin = self.origin(setting.key).to_string();
            let _ = match ((setting.read)(&self.config), &setting.automatic) {
                (Some(value), Some(automatic)) if self.is_automatic(setting) => {
                    let _ = write!(origin, ", {value} on this machine");
                    write!(line, "{} = {automatic}", setting.name())
                }
                (Some(value), _) => write!(line, "{} = {value}", setting.name()),
                (None, _) => write!(line, "# {} is not set", setting.name()),
            };
            lines.push((line, origin));
        }
        let last_line = |line: &str| line.rsplit('\n').next().map_or(0, str::len);
        let width = lines.iter().map(|(line, _)| last_line(line)).max().unwrap_or(0).min(48);
        for (line, origin) in lines {
            let padding = width.saturating_sub(last_line(&line));
            let _ = writeln!(text, "{line}{:padding$}  # {origin}", "");
        }
        text
    }
}

/// The table that a key stands in; empty for the topmost.
pub(super) fn table_of(key: &'static str) -> &'static str {
    key.rsplit_once('.').map_or("", |(table, _)| table)
}

/// Writes the header of the key's table, when it isn't the one that is open.
fn open_table(text: &mut String, open: &mut &'static str, key: &'static str) {
    let table = table_of(key);
    if table != *open {
        let _ = writeln!(text, "\n[{table}]");
        *open = table;
    }
}

/// Writes a comment in lines of at most 80 columns.
fn wrap(text: &mut String, comment: &str) {
    let mut column = 0;
    for word in comment.split(' ') {
        if column > 0 && column + word.len() >= 80 {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push('#');
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += word.len() + 1;
    }
    text.push('\n');
}
