//! The end of a run: the proof that nothing more comes, what is missing, and what it all came to.

use std::time::Duration;

use super::client::Stage;
use super::flow::Measured;
use super::{Engine, Waited};
use crate::error::BenchError;
use crate::frame;
use crate::layout::Role;
use crate::outcome::{BrokerUse, Outcome};
use crate::plan::Version;

impl Engine<'_> {
    /// Proves that nothing more comes: each client asks for a PINGRESP.
    ///
    /// A broker may answer a PINGREQ before what waits for a client's socket or window, and then goes
    /// on with that. So it is asked until nothing at all has come between two PINGRESPs.
    pub(crate) fn fence(&mut self) -> Result<(), BenchError> {
        let mut waited = self.ping_all()?;
        while waited == Waited::Done {
            let (before, asked) = (self.tally.progress, self.online(0).len() as u64);
            waited = self.ping_all()?;
            if self.tally.progress - before <= asked {
                break;
            }
        }
        if waited == Waited::Silent {
            let due = self.tally.pings_due;
            self.complain(format!("{due} clients have got no PINGRESP"));
        }
        // A broker that answers everything but for some deliveries has lost these, and is not silent.
        let is_silent = waited == Waited::Silent
            || self.tally.unacknowledged > 0
            || self.opening.active > 0
            || !self.opening.queue.is_empty();
        if let Some(silence) = self.silence.take()
            && is_silent
        {
            self.complain(silence);
        }
        // [MQTT-3.1.4-3]
        let replaced = self.clients.iter().filter(|client| client.replaced.is_some()).count();
        if replaced > 0 {
            self.complain(format!("{replaced} connections stay open that others have taken over"));
        }
        Ok(())
    }

    /// Asks each client that is there for a PINGRESP, and waits for these.
    fn ping_all(&mut self) -> Result<Waited, BenchError> {
        self.tally.pings_due = 0;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if let Some(link) = &mut client.link
                && client.stage == Stage::Online
            {
                link.output.extend_from_slice(&[frame::PINGREQ, 0]);
                self.tally.pings_due += 1;
                self.flush(index)?;
            }
        }
        self.wait(u64::MAX, |engine| engine.tally.pings_due == 0)
    }

    /// Adds up what has not come.
    pub(crate) fn count_missing(&mut self) {
        let mut missing = [crate::books::Missing::default(); 3];
        let layout = &self.common.layout;
        let sent = |publisher: u32| self.senders[publisher as usize].sent;
        let singles = self.receivers.iter().filter(|receiver| receiver.role != Role::Member);
        let of_singles = singles.map(|receiver| receiver.arrivals.missing(layout, sent));
        let groups = self.tally.groups.iter().zip(&self.senders);
        let of_groups = groups.map(|(group, sender)| group.missing(sender.sent));
        for of in of_singles.chain(of_groups) {
            missing.iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
        }
        for (qos, missing) in missing.into_iter().enumerate() {
            let known = self.tally.unidentified[qos];
            self.tally.faults[qos].lost = missing.lost.saturating_sub(known);
            self.tally.allowed[qos].lost = missing.forgiven;
        }
        self.count_missing_guests();
        if self.tally.unsent > 0 {
            self.figure("messages that were due and never sent", self.tally.unsent as f64);
        }
        if self.tally.out_of_turn > 0 {
            let complaint = "an acknowledgement came that no message waited for".to_owned();
            self.complaints.insert(complaint, self.tally.out_of_turn);
        }
    }

    /// Leaves the broker as it was: says goodbye, and ends Sessions that would stay.
    pub(crate) fn leave(&mut self) -> Result<(), BenchError> {
        self.enter("leaving")?;
        let is_lasting = self.plan.has_lasting_sessions();
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if let Some(link) = &mut client.link
                && client.stage == Stage::Online
            {
                crate::packet::push_disconnect(&mut link.output, self.plan.version, true);
                let _ = link.flush();
                self.part_from(index)?;
                let client = &mut self.clients[index];
                client.has_session &= self.plan.version == Version::V311;
            }
        }
        self.is_leaving = true;
        self.opening.queue.clear();
        for index in 0..self.clients.len() {
            self.lose(index);
        }
        self.wait_for_goodbyes()?;
        if is_lasting {
            let now = self.now();
            for index in 0..self.clients.len() {
                if self.clients[index].has_session {
                    self.bring(index, now);
                }
            }
            // Each leaves as soon as it is there.
            self.wait(u64::MAX, |engine| {
                engine.opening.active == 0 && engine.opening.queue.is_empty()
            })?;
        }
        self.enter("done")
    }

    /// What the run has come to between two moments.
    pub(crate) fn outcome(&mut self, from: Measured, to: Measured) -> Outcome {
        let broker = from.broker.zip(to.broker).map(|(from, to)| BrokerUse {
            cpu: to.cpu.saturating_sub(from.cpu),
            resident: to.resident,
        });
        let times = |(complaint, times): (&String, &u64)| match times {
            1 => complaint.clone(),
            times => format!("{complaint} ({times} times)"),
        };
        let (timeline, marks) = self.timeline.take();
        Outcome {
            scenario: self.plan.scenario.name(),
            started: self.started,
            parameters: self.plan.parameters(),
            elapsed: Duration::from_nanos(to.at.saturating_sub(from.at)),
            published: to.published - from.published,
            owed: to.owed - from.owed,
            delivered: to.delivered - from.delivered,
            faults: self.tally.faults,
            allowed: self.tally.allowed,
            complaints: self.complaints.iter().map(times).collect(),
            latencies: self.timeline.arrivals.clone(),
            acknowledged_after: self.timeline.acknowledgements.clone(),
            connected_after: self.timeline.connects.clone(),
            figures: std::mem::take(&mut self.figures),
            load_cpu: to.load_cpu.saturating_sub(from.load_cpu),
            broker,
            timeline,
            marks,
        }
    }

    /// Takes a note of a figure that only this scenario has.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }
}
