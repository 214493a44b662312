//! What was found, for people.

use crate::compare::{Finding, Outcome};
use crate::known::{KNOWN, Verdict};
use crate::script::{Action, CLIENTS, Script};
use crate::seen::Seen;
use crate::side::SeenInStep;
use dunlin_codec::ProtocolVersion;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many kinds of a known difference are listed.
const KINDS_MAX: usize = 12;

/// Counts what scripts came to.
#[derive(Default)]
pub(crate) struct Report {
    scripts: u64,
    steps: u64,
    /// By the name of the known difference, how often each kind was seen.
    known: BTreeMap<&'static str, BTreeMap<String, u64>>,
    findings: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.scripts += 1;
        self.steps += outcome.steps as u64;
        for (known, signature) in &outcome.known {
            let kinds = self.known.entry(known.name).or_default();
            *kinds.entry(signature.clone()).or_default() += 1;
        }
    }

    /// Counts a finding; tells whether it is the first of its kind.
    pub(crate) fn is_new(&mut self, finding: &Finding) -> bool {
        let count = self.findings.entry(finding.signature.clone()).or_default();
        *count += 1;
        *count == 1
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn print_finding(
        &self,
        finding: &Finding,
        shortened: &Script,
        history: &[(SeenInStep, SeenInStep)],
    ) {
        println!("\nFINDING in the script of seed {}: {}", shortened.seed, finding.signature);
        println!("  at step {} client {} saw it; shortened:", finding.at, finding.client);
        self.print_history(shortened, history);
    }

    /// The steps with what each client saw; where the brokers differ, of both.
    pub(crate) fn print_history(&self, script: &Script, history: &[(SeenInStep, SeenInStep)]) {
        let mut versions = [ProtocolVersion::V5; CLIENTS];
        for (step, (ours, theirs)) in script.steps.iter().zip(history) {
            if let Action::Connect { version, .. } = step.action {
                versions[step.client] = version;
            }
            println!("  {}", step.line(versions[step.client]));
            for client in 0..CLIENTS {
                let list = |seen: &[Seen]| {
                    let texts: Vec<String> = seen.iter().map(Seen::to_string).collect();
                    texts.join("; ")
                };
                let (ours, theirs) = (list(&ours[client]), list(&theirs[client]));
                if ours == theirs {
                    if !ours.is_empty() {
                        println!("      {client} <- {ours}");
                    }
                } else {
                    println!("      {client} <- ours:   {ours}");
                    println!("      {client} <- theirs: {theirs}");
                }
            }
        }
    }

    pub(crate) fn print_script(&self, script: &Script) {
        println!("the script of seed {}:", script.seed);
        let empty = (SeenInStep::default(), SeenInStep::default());
        self.print_history(script, &vec![empty; script.steps.len()]);
    }

    pub(crate) fn print_summary(&self, took: Duration) {
        println!("\n{} scripts, {} steps in {:.0} s", self.scripts, self.steps, took.as_secs_f64());
        for known in KNOWN {
            let Some(kinds) = self.known.get(known.name) else { continue };
            let verdict = match known.verdict {
                Verdict::Allowed => "allowed",
                Verdict::TheirFault => "their fault",
            };
            let total: u64 = kinds.values().sum();
            println!("{total:>7}  {}: {verdict} {}", known.name, known.statements.join(" "));
            let mut kinds: Vec<_> = kinds.iter().collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            for (kind, count) in kinds.iter().take(KINDS_MAX) {
                println!("        {count:>7}  {kind}");
            }
        }
        for (signature, count) in &self.findings {
            println!("{count:>7}  FINDING {signature}");
        }
    }
}
