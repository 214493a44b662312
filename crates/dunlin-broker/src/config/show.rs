//! Shows configurations as TOML that can be loaded again.

use super::setting::settings;
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
        let value = (setting.read)(&defaults);
        let shown = match (setting.example, setting.automatic.as_ref().or(value.as_ref())) {
            (Some(example), _) => example.to_owned(),
            (None, Some(value)) => value.to_string(),
            (None, None) => String::new(),
        };
        let unset = if value.is_none() { "# " } else { "" };
        let _ = writeln!(text, "{unset}{} = {shown}", setting.name());
    }
    text
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

/// Writes the header of the key's table, when it isn't the one that is open.
fn open_table(text: &mut String, open: &mut &'static str, key: &'static str) {
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
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
