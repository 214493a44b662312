//! What a run came to, for people and for programs: live progress, a summary, JSON and a page.
//!
//! ```
//! use dunlin_bench::outcome::Outcome;
//! use dunlin_bench::report::{self, Style};
//!
//! fn show(outcome: &Outcome) -> std::io::Result<()> {
//!     print!("{}", report::to_text(outcome, Style::of(&std::io::stdout())));
//!     std::fs::write("run.json", report::to_json(outcome))?;
//!     std::fs::write("run.html", report::to_html(outcome))
//! }
//! ```

mod html;
mod json;
mod progress;
mod style;
mod text;
mod timeline;
mod units;
mod words;

pub use html::to_html;
pub use json::{FORMAT, to_json};
pub use progress::Progress;
pub use style::Style;
pub use text::to_text;

#[cfg(test)]
mod sample;
