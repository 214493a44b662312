//! What a run found, and how it is shown: as text, JSON, or JUnit XML.

mod junit;
mod text;

use crate::exchange::cut;
use crate::statements::{self, Statement};
use crate::{Case, Exchange, Passed, Stop, Verdict};
use serde::Serialize;
use std::time::Duration;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// The statements are kept.
    Passed {
        /// Which of several allowed behaviours was seen.
        #[serde(skip_serializing_if = "Option::is_none")]
        seen: Option<String>,
    },
    /// A statement is broken.
    Failed {
        /// What was expected and what came.
        reason: String,
    },
    /// The check says nothing about this peer.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Ok(Passed { seen }) => Self::Passed { seen: seen.map(readable) },
            Err(Stop::Failed(reason)) => Self::Failed { reason: readable(reason) },
            Err(Stop::Skipped(reason)) => Self::Skipped { reason: readable(reason) },
        }
    }
}

/// A verdict may tell a packet of the peer, which may be of any size.
fn readable(mut text: String) -> String {
    const MAX: usize = 1000;
    cut(&mut text, MAX);
    text
}

/// One case and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The name of the case, `v5/part/what-is-right`.
    pub name: String,
    /// The version, as people write it.
    pub version: String,
    /// The statements of that version that it tests.
    pub statements: Vec<&'static str>,
    /// In one line, what it looks for.
    pub looks_for: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was said, when it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exchange: Vec<String>,
    /// How long it took, clean-up included.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl Finding {
    pub(crate) fn new<B>(
        case: &Case<B>,
        outcome: Outcome,
        exchange: &Exchange,
        took: Duration,
    ) -> Self {
        let is_failed = matches!(outcome, Outcome::Failed { .. });
        let exchange = if is_failed { shortened(exchange) } else { Vec::new() };
        Self {
            name: case.name(),
            version: case.version.to_string(),
            statements: case.statements().collect(),
            looks_for: case.check.looks_for,
            outcome,
            exchange,
            took,
        }
    }

    /// Whether a statement is broken.
    pub const fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// The lines of an exchange; of a long one the beginning and the end.
fn shortened(exchange: &Exchange) -> Vec<String> {
    const ENDS: usize = 60;
    let lines = exchange.lines();
    let text = |lines: &[crate::Line]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Some(left_out) = lines.len().checked_sub(2 * ENDS + 1) else { return text(&lines) };
    let mut shown = text(&lines[..ENDS]);
    shown.push(format!("… {} more …", left_out + 1));
    shown.extend(text(&lines[lines.len() - ENDS..]));
    shown
}

/// How many checks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

impl Tally {
    /// Counts findings.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut tally = Self::default();
        for finding in findings {
            match finding.outcome {
                Outcome::Passed { .. } => tally.passed += 1,
                Outcome::Failed { .. } => tally.failed += 1,
                Outcome::Skipped { .. } => tally.skipped += 1,
            }
        }
        tally
    }

    /// All together.
    pub const fn total(self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Who was judged.
    pub subject: String,
    /// What the subject said that it can, in one line each.
    pub notes: Vec<String>,
    /// How many checks came to what.
    pub tally: Tally,
    /// What each case found.
    pub findings: Vec<Finding>,
    /// What people read instead of "skipped".
    #[serde(skip)]
    skipped_word: &'static str,
}

impl Report {
    /// A report about `subject`.
    pub fn new(subject: impl Into<String>, notes: Vec<String>, findings: Vec<Finding>) -> Self {
        let tally = Tally::of(&findings);
        Self { subject: subject.into(), notes, tally, findings, skipped_word: "skipped" }
    }

    /// The same with another word for checks that were skipped, where the text is for people.
    pub const fn calling_skipped(mut self, word: &'static str) -> Self {
        self.skipped_word = word;
        self
    }

    /// Whether no check failed.
    pub const fn is_passed(&self) -> bool {
        self.tally.failed == 0
    }

    /// For people: a table by section of the standard, then each failure with what was said.
    pub fn to_text(&self) -> String {
        text::print(self)
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("names, texts and numbers");
        text.push('\n');
        text
    }

    /// For CI, as JUnit wrote it first.
    pub fn to_junit(&self) -> String {
        junit::print(self)
    }
}

/// The statements of both versions.
fn all_statements() -> Vec<Statement> {
    let mut all = statements::v311();
    all.extend(statements::v5());
    all
}

#[cfg(test)]
mod tests;
