//! Whether a text of rules may be the first part of one, whose rest is still to be written or was lost.

use super::Rules;

/// The line that says of a file of rules that nothing is missing behind it.
pub const END: &str = "# end";

/// Why a text of legal rules may be half-written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HalfWritten {
    /// It ends within a line.
    #[error("its last line has no end, so that it may be half-written; put a line feed behind it")]
    LastLine,
    /// Rules follow the line that says that none do.
    #[error(
        "rules follow its line `{END}`, so that nobody can tell whether it is whole; that line belongs \
         behind the last rule"
    )]
    BehindEnd,
    /// The text before it ended with [`END`].
    #[error(
        "its last line is not `{END}`, as that of the rules in force is, so that it may be \
         half-written; put that there"
    )]
    EndMissing,
    /// It is the text before it without its last lines.
    #[error(
        "it is the rules in force without their last lines, so that it may be half-written; if that \
         is meant, put the line `{END}` at its end"
    )]
    Shortened,
}

impl Rules {
    /// Whether nothing speaks for a rest that is missing, beside the rules that are to be replaced.
    ///
    /// # Errors
    /// [`HalfWritten`]. What is cut off between two lines can be legal and allow more than the whole,
    /// as when the line with a condition is missing; so a text that ends with [`END`] asks the same of
    /// those after it. Where neither does, only what begins the text before it is told.
    pub fn check_whole(&self, before: Option<&Self>) -> Result<(), HalfWritten> {
        if !self.text.ends_with('\n') {
            return Err(HalfWritten::LastLine);
        }
        if goes_on_behind_end(&self.text) {
            return Err(HalfWritten::BehindEnd);
        }
        let Some(before) = before else { return Ok(()) };
        if has_end(&self.text) {
            return Ok(());
        }
        if has_end(&before.text) {
            return Err(HalfWritten::EndMissing);
        }
        let missing = before.text.strip_prefix(&*self.text).unwrap_or_default();
        if missing.lines().any(is_rule) {
            return Err(HalfWritten::Shortened);
        }
        Ok(())
    }
}

fn goes_on_behind_end(text: &str) -> bool {
    text.lines().skip_while(|line| *line != END).any(is_rule)
}

/// Whether a line says something.
fn is_rule(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Whether the last line that is not blank says that it is the last.
fn has_end(text: &str) -> bool {
    text.trim_end().lines().next_back() == Some(END)
}
