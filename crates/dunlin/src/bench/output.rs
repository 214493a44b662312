//! Where the report of a run goes, and in which form.

use crate::failure::Failure;
use crate::output::print;
use clap::{Args, ValueEnum};
use dunlin_bench::outcome::Outcome;
use dunlin_bench::report::{Style, to_html, to_json, to_text};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// The report.
#[derive(Debug, Args)]
#[command(next_help_heading = "Report")]
pub(super) struct Output {
    /// The form of the report on standard output
    #[arg(long, value_enum, default_value_t = Form::Text)]
    report: Form,
    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots to this file as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// No progress while the run lasts
    #[arg(long)]
    quiet: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Output {
    /// Finds out before the run whether its report can be written.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for file in self.json.iter().chain(&self.html) {
            let opened = OpenOptions::new().append(true).create(true).open(file);
            opened.map_err(|error| Failure::usage(of(file, &error)))?;
        }
        Ok(())
    }

    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn progress_style(&self) -> Style {
        Style::of(&io::stderr())
    }

    /// Writes the report in all its forms.
    pub(super) fn write(&self, outcome: &Outcome) -> Result<(), Failure> {
        for (file, text) in [
            (&self.json, to_json as fn(&Outcome) -> String),
            (&self.html, to_html as fn(&Outcome) -> String),
        ] {
            if let Some(file) = file {
                let written = std::fs::write(file, text(outcome));
                written.map_err(|error| Failure::new(of(file, &error)))?;
            }
        }
        match self.report {
            Form::Text => print(&to_text(outcome, Style::of(&io::stdout()))),
            Form::Json => print(&to_json(outcome)),
        }
    }
}

fn of(file: &Path, error: &io::Error) -> String {
    format!("{}: {error}", file.display())
}
