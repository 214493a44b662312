//! What the place that is written to can show.

use std::env;
use std::io::IsTerminal;

/// Whether lines can be rewritten, and whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The cursor can be moved: a terminal that is not a dumb one.
    pub live: bool,
    /// Colours are seen and wanted.
    pub color: bool,
}

impl Style {
    /// Nothing but text: for files and pipes.
    pub const PLAIN: Self = Self { live: false, color: false };

    /// What suits standard output or standard error.
    ///
    /// Honours `NO_COLOR`, which asks for no colours if it is set and not empty, and `TERM=dumb`.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self::from_environment(stream.is_terminal(), is_dumb, is_set("NO_COLOR"))
    }

    const fn from_environment(is_terminal: bool, is_dumb: bool, no_color: bool) -> Self {
        let live = is_terminal && !is_dumb;
        Self { live, color: live && !no_color }
    }

    /// `text` in a colour or weight, given as the number of a Select Graphic Rendition.
    pub(super) fn paint(self, rendition: u8, text: &str) -> String {
        if self.color { format!("\x1b[{rendition}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Renditions that every terminal has.
pub(super) const BOLD: u8 = 1;
pub(super) const FAINT: u8 = 2;
pub(super) const RED: u8 = 31;
pub(super) const GREEN: u8 = 32;
pub(super) const YELLOW: u8 = 33;

#[cfg(test)]
mod tests {
    use super::Style;

    #[test]
    fn only_a_capable_terminal_gets_control_sequences() {
        assert_eq!(Style::from_environment(false, false, false), Style::PLAIN);
        assert_eq!(Style::from_environment(true, true, false), Style::PLAIN);
        assert_eq!(Style::from_environment(true, false, false), Style { live: true, color: true });
    }

    #[test]
    fn no_color_keeps_the_line_live() {
        let style = Style::from_environment(true, false, true);
        assert_eq!(style, Style { live: true, color: false });
        assert_eq!(style.paint(super::RED, "x"), "x");
    }
}
