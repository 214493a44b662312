//! The accounts themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use dunlin_client::QoS;

use super::history::{Delivery, History};
use super::interval::{Interval, Moment};
use super::{Kind, Outcome, Receiver, Stream, Totals, Wanted};

/// How long before a message was published its history begins.
const BEFORE: Duration = Duration::from_secs(2);

/// How many of a receiver's intervals stay of interest once all that was published is settled.
const INTERVALS_KEPT: usize = 2;

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Books {
    moment: Moment,
    streams: Vec<StreamAccount>,
    receivers: Vec<ReceiverAccount>,
    pub(super) history: History,
    pub(super) totals: Totals,
}

#[derive(Debug)]
struct StreamAccount {
    publisher: usize,
    number: usize,
    qos: QoS,
    /// The number of the first message whose fate is still of interest.
    base: u64,
    fates: VecDeque<Fate>,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug)]
struct Fate {
    begun: Moment,
    begun_at: Duration,
    ended: Option<(Moment, Duration, Outcome)>,
}

#[derive(Debug)]
struct ReceiverAccount {
    name: String,
    wanted: Wanted,
    qos: QoS,
    in_order: bool,
    intervals: Vec<Interval>,
    /// By stream: how often each message came, from the stream's base on.
    counts: BTreeMap<Stream, VecDeque<u8>>,
    /// By stream: the latest message that came.
    highest: BTreeMap<Stream, u64>,
    /// What was taken for lost.
    lost: BTreeSet<(Stream, u64)>,
}

impl StreamAccount {
    fn fate(&self, sequence: u64) -> Option<&Fate> {
        self.fates.get(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }

    fn topic_name(&self) -> String {
        format!("c/{}/{}", self.publisher, self.number)
    }
}

impl ReceiverAccount {
    fn count(&self, stream: Stream, offset: usize) -> u8 {
        self.counts.get(&stream).and_then(|counts| counts.get(offset)).copied().unwrap_or(0)
    }

    fn is_owed(&self, fate: &Fate) -> bool {
        matches!(fate.ended, Some((_, _, Outcome::Acknowledged)))
            && self.intervals.iter().any(|interval| interval.owes(fate.begun))
    }

    fn is_allowed(&self, fate: &Fate) -> bool {
        let ended = fate.ended.map(|(at, ..)| at);
        self.intervals.iter().any(|interval| interval.allows(fate.begun, ended))
    }
}

impl Books {
    fn now(&mut self) -> Moment {
        self.moment.0 += 1;
        self.moment
    }

    pub(super) fn add_stream(&mut self, publisher: usize, number: usize, qos: QoS) -> Stream {
        let fates = VecDeque::new();
        self.streams.push(StreamAccount { publisher, number, qos, base: 0, fates });
        Stream(self.streams.len() - 1)
    }

    pub(super) fn add_receiver(
        &mut self,
        name: &str,
        wanted: Wanted,
        qos: QoS,
        in_order: bool,
    ) -> Receiver {
        self.receivers.push(ReceiverAccount {
            name: name.to_owned(),
            wanted,
            qos,
            in_order,
            intervals: Vec::new(),
            counts: BTreeMap::new(),
            highest: BTreeMap::new(),
            lost: BTreeSet::new(),
        });
        Receiver(self.receivers.len() - 1)
    }

    pub(super) fn subscribing(&mut self, receiver: Receiver) {
        let now = self.now();
        self.receivers[receiver.0].intervals.push(Interval::asked(now));
    }

    pub(super) fn subscribed(&mut self, receiver: Receiver) {
        self.note(receiver, "subscribed", |interval, now| interval.granted = Some(now));
    }

    pub(super) fn unsubscribing(&mut self, receiver: Receiver) {
        self.note(receiver, "unsubscribing", |interval, now| interval.leaving = Some(now));
    }

    pub(super) fn unsubscribed(&mut self, receiver: Receiver) {
        self.note(receiver, "unsubscribed", |interval, now| interval.left = Some(now));
    }

    fn note(&mut self, receiver: Receiver, what: &str, set: impl FnOnce(&mut Interval, Moment)) {
        let now = self.now();
        let account = &mut self.receivers[receiver.0];
        if let Some(interval) = account.intervals.last_mut() {
            set(interval, now);
        }
        self.history.happened(format!("{} {what}", account.name));
    }

    pub(super) fn begin(&mut self, stream: Stream) -> u64 {
        let (begun, begun_at) = (self.now(), self.history.now());
        let account = &mut self.streams[stream.0];
        account.fates.push_back(Fate { begun, begun_at, ended: None });
        account.base + account.fates.len() as u64 - 1
    }

    pub(super) fn end(&mut self, stream: Stream, sequence: u64, outcome: Outcome) {
        let (now, at) = (self.now(), self.history.now());
        let account = &mut self.streams[stream.0];
        let offset = sequence.checked_sub(account.base).and_then(|at| usize::try_from(at).ok());
        let fate = offset.and_then(|offset| account.fates.get_mut(offset));
        if let Some(fate) = fate {
            fate.ended = Some((now, at, outcome));
        }
        match outcome {
            Outcome::Acknowledged => self.totals.acknowledged[account.qos as usize] += 1,
            Outcome::Refused => self.totals.refused += 1,
        }
    }

    pub(super) fn receive(&mut self, receiver: Receiver, delivery: Delivery) {
        let Delivery { stream, sequence, .. } = delivery;
        self.totals.delivered += 1;
        self.history.received(receiver, delivery);
        let Some(known) = self.streams.get(stream.0) else {
            return self.finding(Kind::Corrupt, &format!("there is no stream {}", stream.0));
        };
        let account = &mut self.receivers[receiver.0];
        let exactly_once = known.qos.min(account.qos) == QoS::ExactlyOnce;
        let Some(offset) = sequence.checked_sub(known.base) else {
            // Settled before.
            if account.lost.remove(&(stream, sequence)) {
                self.totals.late += 1;
            } else if exactly_once {
                self.broken(Kind::Doubled, receiver, stream, sequence);
            } else {
                self.totals.repeated += 1;
            }
            return;
        };
        let Some(fate) = known.fate(sequence) else {
            let what = format!("message {sequence} of {} was never published", known.topic_name());
            return self.finding(Kind::Corrupt, &what);
        };
        let is_allowed = account.is_allowed(fate);
        let offset = usize::try_from(offset).expect("the fate was found");
        let counts = account.counts.entry(stream).or_default();
        if counts.len() <= offset {
            counts.resize(offset + 1, 0);
        }
        counts[offset] = counts[offset].saturating_add(1);
        let is_first = counts[offset] == 1;
        let highest = account.highest.entry(stream).or_insert(sequence);
        let is_behind = sequence < *highest;
        *highest = sequence.max(*highest);
        if is_first && is_behind && account.in_order {
            self.broken(Kind::OutOfOrder, receiver, stream, sequence);
        }
        if !is_first && exactly_once {
            self.broken(Kind::Doubled, receiver, stream, sequence);
        } else if !is_first {
            self.totals.repeated += 1;
        }
        if !is_allowed {
            self.broken(Kind::Unasked, receiver, stream, sequence);
        }
    }

    pub(super) fn pending(&self) -> usize {
        let fates = self.streams.iter().flat_map(|stream| &stream.fates);
        fates.filter(|fate| fate.ended.is_none()).count()
    }

    /// What is owed and has not come.
    fn owed(&self) -> impl Iterator<Item = (Receiver, Stream, u64)> {
        self.receivers.iter().enumerate().flat_map(move |(index, receiver)| {
            let wanted = self.streams.iter().enumerate().filter(move |(_, stream)| {
                receiver.wanted.matches(stream.publisher, stream.number)
            });
            wanted.flat_map(move |(number, stream)| {
                let fates = stream.fates.iter().enumerate();
                let owed = fates.filter(move |(offset, fate)| {
                    receiver.count(Stream(number), *offset) == 0 && receiver.is_owed(fate)
                });
                owed.map(move |(offset, _)| {
                    (Receiver(index), Stream(number), stream.base + offset as u64)
                })
            })
        })
    }

    pub(super) fn missing(&self) -> u64 {
        self.owed().count() as u64
    }

    pub(super) fn settle(&mut self) {
        let owed: Vec<_> = self.owed().collect();
        for (receiver, stream, sequence) in owed {
            self.receivers[receiver.0].lost.insert((stream, sequence));
            self.broken(Kind::Lost, receiver, stream, sequence);
        }
        for receiver in &mut self.receivers {
            let closed = receiver.intervals.len().saturating_sub(INTERVALS_KEPT);
            receiver.intervals.drain(..closed);
        }
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let ended = stream.fates.iter().take_while(|fate| fate.ended.is_some()).count();
            stream.fates.drain(..ended);
            stream.base += ended as u64;
            for receiver in &mut self.receivers {
                if let Some(counts) = receiver.counts.get_mut(&Stream(number)) {
                    counts.drain(..ended.min(counts.len()));
                }
            }
        }
    }

    /// A promise about one message was broken.
    fn broken(&mut self, kind: Kind, receiver: Receiver, stream: Stream, sequence: u64) {
        if self.totals.first.contains_key(&kind) {
            // The first of its kind has its history; the others are counted.
            return self.finding(kind, "");
        }
        let (from, to) = (&self.streams[stream.0], &self.receivers[receiver.0]);
        let fate = from.fate(sequence).copied();
        let since = fate.map_or(Duration::ZERO, |fate| fate.begun_at.saturating_sub(BEFORE));
        let published = match fate {
            None => "settled before".to_owned(),
            Some(Fate { begun_at, ended: None, .. }) => {
                format!("begun at {:.3} s, no outcome", begun_at.as_secs_f64())
            }
            Some(Fate { begun_at, ended: Some((_, at, outcome)), .. }) => format!(
                "begun at {:.3} s, {outcome:?} at {:.3} s",
                begun_at.as_secs_f64(),
                at.as_secs_f64()
            ),
        };
        let names = [to.name.clone(), format!("publisher-{} ", from.publisher)];
        let what = format!(
            "{} of {} (QoS {}) for {} (QoS {}): {published}\n{}",
            sequence,
            from.topic_name(),
            from.qos as u8,
            to.name,
            to.qos as u8,
            self.history.around(since, &names, receiver, stream, sequence),
        );
        self.finding(kind, &what);
    }

    pub(super) fn finding(&mut self, kind: Kind, what: &str) {
        *self.totals.findings.entry(kind).or_default() += 1;
        let at = self.history.now().as_secs_f64();
        self.totals.first.entry(kind).or_insert_with(|| format!("at {at:.3} s: {what}"));
    }
}
