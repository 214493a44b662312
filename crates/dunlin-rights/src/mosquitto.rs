//! Rules from Mosquitto's `acl_file`: there a denial wins wherever it stands, here the first rule
//! that matches, so the denials come first.

use crate::rules::{END, TopicPattern};
use std::fmt::{self, Write};

/// What an `acl_file` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// The text of a file of rules.
    pub rules: String,
    /// What has no equal and was left out, or means something else now.
    pub remarks: Vec<Remark>,
}

/// A line that could not be taken over as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// What is with it.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// Why there is nothing to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line begins with a word that Mosquitto doesn't know, so the file may be another.
    #[error("line {0}: expected `user`, `topic` or `pattern`")]
    UnknownWord(usize),
    /// No line came to a rule.
    #[error("the file holds no line that comes to a rule")]
    Nothing,
}

/// For whom a line counts.
#[derive(Clone, PartialEq, Eq)]
enum Whom {
    /// `topic` lines before the first `user`: those without a user name.
    Anonymous,
    User(String),
    /// `pattern` lines.
    Everybody,
}

/// A line that comes to a rule.
struct Line {
    number: usize,
    whom: Whom,
    access: &'static [&'static str],
    is_denial: bool,
    /// What to write into the rule.
    written: String,
}

/// Translates the text of an `acl_file`.
///
/// # Errors
/// [`ImportError`] when it does not look like one, or comes to no rule.
pub fn import(text: &str) -> Result<Import, ImportError> {
    let mut remarks = Vec::new();
    let mut lines = Vec::new();
    let mut whom = Some(Whom::Anonymous);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut remark = |text: String| remarks.push(Remark { line: number, text });
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "user" => {
                whom = match crate::check_name(rest) {
                    Ok(()) if !rest.contains('*') => Some(Whom::User(rest.to_owned())),
                    Ok(()) => {
                        remark(format!(
                            "the user \"{rest}\" has a `*`, which stands for any text here: his \
                             rules are left out"
                        ));
                        None
                    }
                    Err(error) => {
                        remark(format!("{error}: the rules of this user are left out"));
                        None
                    }
                };
            }
            "topic" => {
                if let Some(whom) = &whom {
                    let whom = whom.clone();
                    lines.extend(read(number, whom, rest, &escaped(rest), &mut remark));
                }
            }
            "pattern" => {
                lines.extend(read(number, Whom::Everybody, rest, &pattern(rest), &mut remark));
            }
            _ => return Err(ImportError::UnknownWord(number)),
        }
    }
    if lines.is_empty() {
        return Err(ImportError::Nothing);
    }
    Ok(Import { rules: written(&lines), remarks })
}

/// A plain topic: its percent signs mean themselves.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// A pattern: `%c` and `%u` mean the same as here, other percent signs themselves.
fn pattern(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        written.push(c);
        if c == '%' && !matches!(chars.peek(), Some('c' | 'u')) {
            written.push('%');
        }
    }
    written
}

/// `[read|write|readwrite|deny] TOPIC`; without the word both are allowed.
fn read(
    number: usize,
    whom: Whom,
    rest: &str,
    rest_written: &str,
    remark: &mut impl FnMut(String),
) -> Option<Line> {
    // The word at the start holds no percent sign, so it is as long as before.
    let word = rest.split_whitespace().next().unwrap_or_default();
    let known: Option<(&'static [&'static str], bool)> = match word {
        "read" => Some((&["subscribe"], false)),
        "write" => Some((&["publish", "retain", "will"], false)),
        "readwrite" => Some((&["publish", "subscribe", "retain", "will"], false)),
        "deny" => Some((&["publish", "subscribe", "retain", "will"], true)),
        _ => None,
    };
    let has_topic = rest.len() > word.len();
    let (access, is_denial, cut) = match known {
        Some((access, is_denial)) if has_topic => (access, is_denial, word.len()),
        _ => (&["publish", "subscribe", "retain", "will"][..], false, 0),
    };
    let (topic, written) = (rest[cut..].trim_start(), rest_written[cut..].trim_start());
    let parsed = match written.parse::<TopicPattern>() {
        Ok(parsed) => parsed,
        Err(error) => {
            remark(format!("\"{topic}\" is left out: {error}"));
            return None;
        }
    };
    if parsed.share_name.is_some() && !access.contains(&"subscribe") {
        remark(format!("\"{topic}\" is left out: nobody publishes to a Shared Subscription"));
        return None;
    }
    if whom == Whom::Everybody {
        let is_whole = |level: &str| matches!(level, "%c" | "%u") || !level.contains('%');
        if parsed.values().next().is_none() {
            remark(format!("\"{topic}\" has neither %c nor %u; it counts for everybody"));
        } else if !topic.split('/').all(is_whole) {
            remark(format!(
                "\"{topic}\" has text beside %c or %u, which some versions of Mosquitto don't \
                 match; here it does"
            ));
        }
    }
    Some(Line { number, whom, access, is_denial, written: written.to_owned() })
}

/// The rules, those that deny first, and neighbours that differ in the topic alone as one.
fn written(lines: &[Line]) -> String {
    let mut text = String::from(
        "# The first rule that matches decides. What no rule names is denied.\n\
         # A Topic Filter that is wider than its rule is refused, where Mosquitto takes it and\n\
         # delivers a part. Shared Subscriptions need topics of their own, such as\n\
         # \"$share/+/jobs/#\".\n",
    );
    let (denials, allowances): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.is_denial);
    for part in [denials, allowances] {
        let mut rest = part.as_slice();
        while let Some(first) = rest.first() {
            let alike = |line: &&&Line| line.whom == first.whom && line.access == first.access;
            let count = rest.iter().take_while(alike).count();
            let (these, others) = rest.split_at(count.max(1));
            rest = others;
            let verb = if first.is_denial { "deny" } else { "allow" };
            let numbers: Vec<_> = these.iter().map(|line| line.number.to_string()).collect();
            let word = if numbers.len() == 1 { "line" } else { "lines" };
            let topics: Vec<_> = these.iter().map(|line| quoted(&line.written)).collect();
            let access: Vec<_> = first.access.iter().map(|action| quoted(action)).collect();
            // Writing to a string can't fail.
            let _ = write!(
                text,
                "\n# {word} {}\n[[rule]]\n{verb} = [{}]\ntopics = [{}]\n",
                numbers.join(", "),
                access.join(", "),
                topics.join(", ")
            );
            let _ = match &first.whom {
                Whom::Everybody => Ok(()),
                Whom::Anonymous => writeln!(text, "unless_user = \"*\""),
                Whom::User(user) => writeln!(text, "user = {}", quoted(user)),
            };
        }
    }
    let _ = writeln!(text, "\n{END}");
    text
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
