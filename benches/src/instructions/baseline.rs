//! The committed counts: read, compared with new ones, and written anew.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How much a count may change, in per cent, before it has to be explained or written down: less
/// than what a change costs that anybody would look for, and more than what a rebuild of the same
/// sources moves.
pub const TOLERANCE_PERCENT: f64 = 3.0;

/// What stands above the counts.
const HEAD: &str = "\
# Instructions for each operation of the scenarios, as callgrind counts them: messages delivered,
# packets, look-ups. `cargo xtask bench instructions` compares with these, `--update` writes them.

";

/// The counts of each kind of machine that somebody has made some on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// How much a count may change, in per cent.
    pub tolerance_percent: f64,
    /// By architecture and operating system, as in `x86_64-linux`.
    #[serde(default)]
    pub targets: BTreeMap<String, Counts>,
}

/// The counts of one kind of machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// The compiler that built what was counted: another one moves all counts a little.
    pub rustc: String,
    /// Instructions for each operation, by scenario.
    pub instructions: BTreeMap<String, f64>,
}

/// The kind of machine that this program runs on.
pub fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

impl Default for Baseline {
    fn default() -> Self {
        Self { tolerance_percent: TOLERANCE_PERCENT, targets: BTreeMap::new() }
    }
}

impl Baseline {
    /// Reads what [`Baseline::to_text`] has written.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("reading the committed counts")
    }

    /// The text to be committed.
    ///
    /// # Errors
    /// When it can't be written as TOML.
    pub fn to_text(&self) -> Result<String> {
        Ok(format!("{HEAD}{}", toml::to_string(self).context("writing the counts")?))
    }

    /// Compares new counts with those of the same kind of machine.
    pub fn compare(&self, target: &str, counted: &Counts) -> Comparison {
        let none = BTreeMap::new();
        let known = self.targets.get(target);
        let before = known.map_or(&none, |counts| &counts.instructions);
        let mut names: Vec<_> = before.keys().chain(counted.instructions.keys()).collect();
        names.sort();
        names.dedup();
        let row = |name: &String| Row {
            scenario: name.clone(),
            before: before.get(name).copied(),
            now: counted.instructions.get(name).copied(),
        };
        Comparison {
            tolerance_percent: self.tolerance_percent,
            target: target.to_owned(),
            rustc: known.map(|counts| counts.rustc.clone()).filter(|it| *it != counted.rustc),
            rows: names.into_iter().map(row).collect(),
        }
    }
}

/// New counts beside the committed ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    tolerance_percent: f64,
    target: String,
    /// The compiler of the committed counts, if it was another one.
    rustc: Option<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    scenario: String,
    before: Option<f64>,
    now: Option<f64>,
}

/// What has become of a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Within the tolerance.
    Same,
    /// It takes more instructions.
    Worse,
    /// It takes fewer.
    Better,
    /// No count of it is committed.
    New,
    /// There is a count of it, and no such scenario.
    Gone,
}

impl Row {
    /// By how much the count has grown, in per cent.
    fn change_percent(&self) -> Option<f64> {
        Some((self.now? / self.before? - 1.0) * 100.0)
    }

    fn verdict(&self, tolerance_percent: f64) -> Verdict {
        match (self.before, self.now, self.change_percent()) {
            (_, _, Some(change)) if change > tolerance_percent => Verdict::Worse,
            (_, _, Some(change)) if change < -tolerance_percent => Verdict::Better,
            (None, Some(_), _) => Verdict::New,
            (Some(_), None, _) => Verdict::Gone,
            _ => Verdict::Same,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number =
            |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.1}"));
        let change =
            self.change_percent().map_or(String::new(), |change| format!("{change:+.1} %"));
        let (before, now) = (number(self.before), number(self.now));
        write!(f, "{:<28} {before:>10} {now:>10} {change:>9}", self.scenario)
    }
}

impl Comparison {
    /// What has become of each scenario.
    #[cfg(test)]
    pub(super) fn verdicts(&self) -> Vec<(&str, Verdict)> {
        let verdict = |row: &Row| row.verdict(self.tolerance_percent);
        self.rows.iter().map(|row| (row.scenario.as_str(), verdict(row))).collect()
    }

    fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.verdict(self.tolerance_percent) == verdict)
    }

    /// Why the counts may not stay as they are, and what to do; `None` when they may.
    ///
    /// A scenario that takes fewer instructions than before is no fault.
    pub fn fault(&self) -> Option<String> {
        let tolerance = self.tolerance_percent;
        let mut text = String::new();
        let mut list = |verdict, heading: &str| {
            let mut rows = self.of(verdict).peekable();
            if rows.peek().is_some() {
                let _ = writeln!(text, "{heading}:");
            }
            rows.for_each(|row| {
                let _ = writeln!(text, "  {row}");
            });
        };
        list(Verdict::Worse, &format!("more instructions than before, by over {tolerance} %"));
        list(Verdict::New, &format!("no count is committed for {}", self.target));
        list(Verdict::Gone, "a count is committed, and the scenario is gone");
        if text.is_empty() {
            return None;
        }
        if let Some(rustc) = &self.rustc {
            let _ = writeln!(text, "The committed counts are of another compiler: {rustc}.");
        }
        text.push_str(
            "If this is meant, run `cargo xtask bench instructions --update`, commit \
             benches/instructions.toml with the change, and say why in the commit.\n\
             If not, see what has grown: `cargo xtask bench instructions --profile SCENARIO`.",
        );
        Some(text)
    }

    /// What to say to somebody who has made something cheaper; `None` when nobody has.
    pub fn praise(&self) -> Option<String> {
        let better: Vec<_> = self.of(Verdict::Better).map(|row| row.scenario.as_str()).collect();
        (!better.is_empty()).then(|| {
            format!(
                "fewer instructions than before, by over {} %: {}; `cargo xtask bench instructions \
                 --update` keeps it so",
                self.tolerance_percent,
                better.join(", ")
            )
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>10} {:>10} {:>9}",
            "instructions for each", "before", "now", "change"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
