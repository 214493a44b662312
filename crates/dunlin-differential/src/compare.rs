//! Plays a script to both brokers and sorts where they differ.

use crate::known::{KNOWN, Known};
use crate::script::{Action, Answers, CLIENTS, Script, Step};
use crate::seen::Seen;
use crate::side::{SeenInStep, Side};
use anyhow::Result;
use dunlin_codec::ProtocolVersion;

/// Both brokers, with the names of runs that were used up.
pub(crate) struct Stage {
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) runs: u64,
}

/// What one client saw differently in one step.
#[derive(Clone, Debug)]
pub(crate) struct Difference<'a> {
    pub(crate) script: &'a Script,
    /// The number of the step.
    pub(crate) at: usize,
    /// Who saw it.
    pub(crate) client: usize,
    /// What this client's connection speaks.
    pub(crate) version: ProtocolVersion,
    pub(crate) ours: Vec<Seen>,
    pub(crate) theirs: Vec<Seen>,
    /// What only one of them has shown, and no known difference explains.
    pub(crate) only_ours: Vec<Seen>,
    pub(crate) only_theirs: Vec<Seen>,
}

/// What came of a script.
pub(crate) struct Outcome {
    /// The steps that were done; fewer than there are when the brokers went different ways.
    pub(crate) steps: usize,
    /// The known differences that were met, each with what was seen.
    pub(crate) known: Vec<(&'static Known, String)>,
    pub(crate) finding: Option<Finding>,
    pub(crate) history: Vec<(SeenInStep, SeenInStep)>,
}

/// A difference that nobody has explained yet.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) at: usize,
    pub(crate) client: usize,
    /// What kind it is, without names and numbers: two scripts may find the same.
    pub(crate) signature: String,
}

impl Stage {
    /// Plays the script up to the first step after which the brokers can't be compared.
    ///
    /// # Errors
    /// When a broker is gone.
    pub(crate) fn play(&mut self, script: &Script) -> Result<Outcome> {
        let run = format!("{:08}", self.runs % 100_000_000);
        self.runs += 1;
        let run: [u8; 8] = run.as_bytes().try_into()?;
        self.ours.begin(run);
        self.theirs.begin(run);
        let mut outcome =
            Outcome { steps: 0, known: Vec::new(), finding: None, history: Vec::new() };
        let mut versions = [ProtocolVersion::V5; CLIENTS];
        for (at, step) in script.steps.iter().enumerate() {
            if let Action::Connect { version, .. } = step.action {
                versions[step.client] = version;
            }
            let ours = self.ours.perform(step)?;
            let theirs = self.theirs.perform(step)?;
            outcome.steps += 1;
            let mut parted = false;
            // The actor first: what others see of a step that only one broker took is no news.
            let others = (0..CLIENTS).filter(|&client| client != step.client);
            for client in [step.client].into_iter().chain(others) {
                if parted {
                    break;
                }
                let version = versions[client];
                let (ours, theirs) = (ours[client].clone(), theirs[client].clone());
                let mut difference = Difference::new(script, at, client, version, ours, theirs);
                parted |= difference.has_parted();
                let before = difference.signature();
                for known in difference.explain() {
                    parted |= known.parts;
                    outcome.known.push((known, before.clone()));
                }
                if !difference.is_explained() && outcome.finding.is_none() {
                    let signature = difference.signature();
                    outcome.finding = Some(Finding { at, client, signature });
                }
            }
            let client = step.client;
            let version = versions[client];
            parted |= step.may_be_half_done(version);
            outcome.history.push((ours, theirs));
            if parted || outcome.finding.is_some() {
                break;
            }
        }
        self.ours.clean(script)?;
        self.theirs.clean(script)?;
        Ok(outcome)
    }

    /// Leaves out steps as long as the same is found.
    ///
    /// # Errors
    /// When a broker is gone.
    pub(crate) fn shorten(&mut self, script: &Script, finding: &Finding) -> Result<Script> {
        let mut shortest = script.clone();
        shortest.steps.truncate(finding.at + 1);
        let mut len = shortest.steps.len() / 2;
        while len > 0 {
            let mut end = shortest.steps.len();
            while end > 0 {
                let start = end.saturating_sub(len);
                let mut shorter = shortest.clone();
                shorter.steps.drain(start..end);
                let found = self.play(&shorter)?.finding;
                if found.is_some_and(|found| found.signature == finding.signature) {
                    shortest = shorter;
                }
                end = start;
            }
            len /= 2;
        }
        Ok(shortest)
    }
}

impl<'a> Difference<'a> {
    pub(crate) fn new(
        script: &'a Script,
        at: usize,
        client: usize,
        version: ProtocolVersion,
        ours: Vec<Seen>,
        theirs: Vec<Seen>,
    ) -> Self {
        let only_ours = without(&ours, &theirs);
        let only_theirs = without(&theirs, &ours);
        Self { script, at, client, version, ours, theirs, only_ours, only_theirs }
    }

    pub(crate) fn step(&self) -> &Step {
        &self.script.steps[self.at]
    }

    /// What is wrong with what the actor sent.
    pub(crate) fn cause(&self) -> Option<String> {
        // The connection of another client may speak another version; its own says more.
        self.step().cause(if self.is_actor() { self.version } else { self.actor_version() })
    }

    fn actor_version(&self) -> ProtocolVersion {
        let steps = self.script.steps[..=self.at].iter().rev();
        let mut own = steps.filter(|step| step.client == self.step().client);
        own.find_map(|step| match step.action {
            Action::Connect { version, .. } => Some(version),
            _ => None,
        })
        .unwrap_or(ProtocolVersion::V5)
    }

    /// Whether it is the client that acted.
    pub(crate) fn is_actor(&self) -> bool {
        self.step().client == self.client
    }

    pub(crate) fn is_explained(&self) -> bool {
        self.only_ours.is_empty() && self.only_theirs.is_empty()
    }

    /// What this client answers on its present connection.
    pub(crate) fn answers(&self) -> Answers {
        let steps = self.script.steps[..=self.at].iter().rev();
        let mut own = steps.filter(|step| step.client == self.client);
        own.find_map(|step| match step.action {
            Action::Connect { answers, .. } => Some(answers),
            _ => None,
        })
        .unwrap_or(Answers::All)
    }

    /// Whether one broker has ended the connection and the other has not.
    pub(crate) fn has_parted(&self) -> bool {
        let ended = |seen: &[Seen]| seen.iter().any(|seen| matches!(seen, Seen::Closed));
        ended(&self.ours) != ended(&self.theirs)
    }

    /// Whether both brokers ended the connection.
    pub(crate) fn both_closed(&self) -> bool {
        self.ours.contains(&Seen::Closed) && self.theirs.contains(&Seen::Closed)
    }

    /// Takes away what known differences explain, and tells which.
    fn explain(&mut self) -> Vec<&'static Known> {
        let mut used = Vec::new();
        for known in KNOWN {
            if !self.is_explained() && (known.explains)(known, self) {
                used.push(known);
            }
        }
        used
    }

    /// The kind of the difference, without names and numbers that do not matter.
    pub(crate) fn signature(&self) -> String {
        let who = if self.is_actor() { "actor" } else { "other" };
        let step = self.step();
        let fault = self.cause().map_or(String::new(), |cause| format!(" ({cause})"));
        let kinds = |seen: &[Seen]| {
            let kinds: Vec<String> = seen.iter().map(Seen::kind).collect();
            if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") }
        };
        format!(
            "{} {who} {}{fault}: {} | {}",
            self.version,
            step.packet_name(),
            kinds(&self.only_ours),
            kinds(&self.only_theirs)
        )
    }
}

/// The first list without what the second has too, as multisets.
fn without(some: &[Seen], others: &[Seen]) -> Vec<Seen> {
    let mut others = others.to_vec();
    let mut rest = Vec::new();
    for seen in some {
        match others.iter().position(|other| other == seen) {
            Some(at) => drop(others.swap_remove(at)),
            None => rest.push(seen.clone()),
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_looked_up_stays_a_finding() {
        let script = crate::generate::script(1, &[ProtocolVersion::V5]);
        let acknowledged = vec![Seen::PubAck(1, dunlin_codec::ReasonCode::Success)];
        for (ours, theirs) in [(acknowledged.clone(), vec![]), (vec![], acknowledged)] {
            let mut difference = Difference::new(&script, 0, 0, ProtocolVersion::V5, ours, theirs);
            assert!(difference.explain().is_empty() && !difference.is_explained());
        }
    }

    #[test]
    fn what_both_have_is_no_difference_however_it_is_ordered() {
        let script = crate::generate::script(1, &[ProtocolVersion::V5]);
        let one = vec![Seen::Closed, Seen::Silent, Seen::Silent];
        let other = vec![Seen::Silent, Seen::Closed];
        let difference = Difference::new(&script, 0, 0, ProtocolVersion::V5, one, other);
        assert_eq!(difference.only_ours, [Seen::Silent]);
        assert!(difference.only_theirs.is_empty() && !difference.has_parted());
    }
}
