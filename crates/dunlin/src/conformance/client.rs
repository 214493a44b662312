//! `dunlin conformance --client`: listens as a scripted server, and checks who connects.

use super::ConformanceArgs;
use crate::failure::Failure;
use dunlin_codec::ProtocolVersion;
use dunlin_conformance::client::{self, Case, Client, Habits, Target};
use dunlin_conformance::{BOTH, Report, Stop};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

/// How much longer than for a packet a program is waited for to connect.
const START: u32 = 6;
/// The same for somebody who connects clients by hand.
const BY_HAND: u32 = 24;

impl ConformanceArgs {
    /// Runs the checks of clients and writes the report.
    pub(super) fn run_client(&self) -> Result<(), Failure> {
        let chosen = self.chosen(client::TABLES)?;
        if self.list {
            return self.write(&super::list(&chosen));
        }
        let mut target = self.client_target();
        target.is_interrupted = super::interruption();
        self.try_output()?;
        let mut notes = Vec::new();
        let mut asked = chosen;
        if !self.command.is_empty() {
            target.habits = self.probe_all(&target)?;
            notes.extend(target.habits.iter().flat_map(Habits::notes));
            let speaks = |case: &Case| target.habits.iter().any(|had| had.version == case.version);
            let (spoken, silent): (Vec<Case>, Vec<Case>) = asked.into_iter().partition(speaks);
            asked = spoken;
            if let Some(case) = silent.first() {
                let count = silent.len();
                let version = case.version;
                let checks = if count == 1 { "check" } else { "checks" };
                notes.push(format!("{count} {checks} left out: it does not speak MQTT {version}"));
            }
        }
        let progress = super::Progress::new(asked.len());
        let jobs = usize::try_from(self.jobs).unwrap_or(usize::MAX);
        let findings = client::run(&target, &asked, jobs, |finding| progress.show(finding));
        progress.end();
        let subject = match self.command.as_slice() {
            [] => "clients connected by hand".to_owned(),
            words => words.join(" "),
        };
        let report = Report::new(subject, notes, findings).calling_skipped("not seen");
        self.finish(&report, &target.is_interrupted)
    }

    fn client_target(&self) -> Target {
        let by_hand = self.command.is_empty();
        let listen = self.listen.unwrap_or_else(|| {
            // Each check of a command has a port of its own.
            SocketAddr::from(([127, 0, 0, 1], if by_hand { 1883 } else { 0 }))
        });
        let client = match by_hand {
            true => Client::ByHand(|wanted| eprintln!("{wanted}")),
            false => Client::Command(self.command.clone()),
        };
        let mut target = Target::new(client, listen);
        target.patience = self.patience();
        target.arrival = target.patience * if by_hand { BY_HAND } else { START };
        target
    }

    /// What the command does, in each version that it can be told to speak.
    fn probe_all(&self, target: &Target) -> Result<Vec<Habits>, Failure> {
        let versions: &[ProtocolVersion] = match self.version.as_slice() {
            [] => BOTH,
            versions => versions,
        };
        let mut all: Vec<Habits> = Vec::new();
        let takes_version = self.command.iter().any(|word| word.contains("{version}"));
        for version in versions {
            let is_known = !all.is_empty() && !takes_version;
            if is_known {
                break;
            }
            match client::probe(target, *version) {
                Ok(habits) => all.push(habits),
                Err(_) if target.is_interrupted.load(Ordering::Relaxed) => {
                    return Err(Failure::interrupted("interrupted before the checks"));
                }
                Err(Stop::Failed(reason) | Stop::Skipped(reason)) => {
                    return Err(Failure::usage(format!("{}: {reason}", self.command.join(" "))));
                }
            }
        }
        Ok(all)
    }
}
