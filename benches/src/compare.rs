//! Brokers side by side: the rows, how each is measured, and the tables that come of it.

use std::path::Path;

use anyhow::Result;

use crate::broker::Program;
use crate::statistics::median;

mod cases;
mod measure;
mod table;

pub use self::cases::{Case, Kind, Line, Reach, Section, There, all};
pub use self::measure::Scale;
pub use self::table::render;

/// What all rounds have brought so far.
#[derive(Debug)]
pub struct Results<'a> {
    /// The brokers; ratios are of the first to each of the others.
    pub programs: &'a [Program],
    /// The cases, in the order of the table.
    pub cases: Vec<Case>,
    /// By case and broker.
    cells: Vec<Vec<Cell>>,
    rounds: usize,
}

/// The runs of one case on one broker.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// For each round, a figure for each line; nothing if the run failed.
    rounds: Vec<Option<Vec<f64>>>,
    /// Why the last run that failed did so.
    failure: Option<String>,
}

/// Failed runs after which a broker is left out of a case.
const FAILURES_MAX: usize = 2;

impl<'a> Results<'a> {
    /// Nothing measured yet.
    pub fn new(programs: &'a [Program], cases: Vec<Case>) -> Self {
        let cells = vec![vec![Cell::default(); programs.len()]; cases.len()];
        Self { programs, cases, cells, rounds: 0 }
    }

    /// Runs every case once on every broker. Within a case the brokers take turns, each round another
    /// one first, so that all of them meet the same minutes of the machine.
    ///
    /// A run that fails costs a broker its figure of this round, and is told by the tables.
    ///
    /// # Errors
    /// When a folder for data can't be made.
    pub fn add_round(
        &mut self,
        scale: &Scale,
        data: &Path,
        mut progress: impl FnMut(&Case, &Program, &Result<Vec<f64>>),
    ) -> Result<()> {
        for (case, cells) in self.cases.iter().zip(&mut self.cells) {
            for turn in 0..self.programs.len() {
                let nth = (turn + self.rounds) % self.programs.len();
                let (program, cell) = (&self.programs[nth], &mut cells[nth]);
                if case.excuse(program).is_some() || cell.failures() >= FAILURES_MAX {
                    cell.rounds.push(None);
                    continue;
                }
                let figures = measure::run(case.kind, program, scale, data);
                progress(case, program, &figures);
                match figures {
                    Ok(figures) => cell.rounds.push(Some(figures)),
                    Err(error) => {
                        cell.failure = Some(reason(&error));
                        cell.rounds.push(None);
                    }
                }
            }
        }
        self.rounds += 1;
        Ok(())
    }

    /// Rounds so far.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// The median figure of a broker in a line.
    fn figure(&self, case: usize, line: usize, program: usize) -> Option<f64> {
        let rounds = self.cells[case][program].rounds.iter().flatten();
        median(&rounds.map(|figures| figures[line]).collect::<Vec<_>>())
    }

    /// The median of the ratios of the first broker to another within each round, since what disturbs
    /// a machine for a minute disturbs all runs of a round.
    fn ratio(&self, case: usize, line: usize, other: usize) -> Option<f64> {
        let [own, others] = [0, other].map(|program| self.cells[case][program].rounds.iter());
        let both =
            own.zip(others).filter_map(|(own, other)| Some((own.as_ref()?, other.as_ref()?)));
        median(&both.map(|(own, other)| own[line] / other[line]).collect::<Vec<_>>())
    }

    /// The ratio of the first broker to the best of its peers; the relay and further builds of Dunlin
    /// are none.
    fn ratio_to_best(&self, case: usize, line: usize) -> Option<f64> {
        let is_peer =
            |program: &Program| !matches!(program, Program::Relay(_) | Program::Dunlin { .. });
        let peers = (1..self.programs.len()).filter(|&other| is_peer(&self.programs[other]));
        let ratios = peers.filter_map(|other| self.ratio(case, line, other));
        let is_better_when_more = self.cases[case].lines[line].section == Section::Rate;
        ratios.reduce(if is_better_when_more { f64::min } else { f64::max })
    }

    /// The ratio of the first broker to the relay.
    fn ratio_to_relay(&self, case: usize, line: usize) -> Option<f64> {
        self.ratio_to(case, line, |other| matches!(other, Program::Relay(_)))
    }

    /// The ratio of the first broker to Mosquitto.
    fn ratio_to_mosquitto(&self, case: usize, line: usize) -> Option<f64> {
        self.ratio_to(case, line, |other| matches!(other, Program::Mosquitto(_)))
    }

    fn ratio_to(&self, case: usize, line: usize, is: fn(&Program) -> bool) -> Option<f64> {
        self.ratio(case, line, self.programs.iter().position(is)?)
    }

    /// Why a broker lacks figures in a case: never measured, or not in all rounds.
    fn excuse(&self, case: usize, program: usize) -> Option<String> {
        if let Some(excuse) = self.cases[case].excuse(&self.programs[program]) {
            return Some(excuse.to_owned());
        }
        let cell = &self.cells[case][program];
        let failure = cell.failure.as_ref()?;
        let measured = cell.rounds.iter().flatten().count();
        Some(format!("{failure} (measured in {measured} of {} rounds)", self.rounds))
    }

    /// The cases in which a run of Dunlin has failed.
    pub fn failures_of_ours(&self) -> Vec<&str> {
        let cases = self.cases.iter().zip(&self.cells);
        cases
            .filter(|(_, cells)| cells.first().is_some_and(|cell| cell.failure.is_some()))
            .map(|(case, _)| case.name.as_str())
            .collect()
    }
}

impl Cell {
    fn failures(&self) -> usize {
        self.rounds.iter().filter(|round| round.is_none()).count()
    }
}

/// The causes of an error on one line, without the broker's log.
pub fn reason(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let lines = causes.filter_map(|cause| cause.lines().next().map(ToOwned::to_owned));
    let told = lines.filter(|line| !line.starts_with("the broker's log ends"));
    told.collect::<Vec<_>>().join(": ").replace('|', "/")
}

#[cfg(test)]
mod tests;
