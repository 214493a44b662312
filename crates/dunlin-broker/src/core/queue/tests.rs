//! A queue with its end in a store gives the same messages in the same order as one without.

use super::*;
use crate::core::session::Note;
use dunlin_protocol::Message;
use std::collections::BTreeMap;

/// A generator of numbers that nobody takes for chance.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        (self.0 >> 33) % end
    }
}

/// A queue, its store, and what both must come to.
struct Model {
    queue: Queue,
    /// What is stored, with what the store believes of its being tentative.
    store: BTreeMap<u64, bool>,
    /// The page under way, as it was when it was asked for.
    page: Option<(Vec<(u64, bool)>, bool)>,
    /// What waits: a number each, and whether it is tentative.
    waiting: Vec<(u64, Kind, bool)>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stored,
    Group,
    AtMostOnce,
}

fn message(number: u64) -> Arc<Message> {
    let topic_name = "t".parse().expect("a legal Topic Name");
    Arc::new(Message::new(topic_name, number.to_be_bytes().to_vec()))
}

fn number_of(queued: &Queued) -> u64 {
    let bytes: &[u8] = &queued.message.payload;
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

fn queued(number: u64, kind: Kind, tentative: bool) -> Queued {
    let group = || Arc::new(GroupName { share_name: "g".into(), topic_filter: "t".into() });
    let note = Note {
        number: (kind != Kind::AtMostOnce).then_some(number),
        group: (kind == Kind::Group).then(group),
        tentative,
        ..Note::default()
    };
    Queued {
        message: message(number),
        qos: if kind == Kind::AtMostOnce { QoS::AtMostOnce } else { QoS::ExactlyOnce },
        retain: false,
        identifiers: Vec::new(),
        note: (!note.is_empty()).then(|| Box::new(note)),
    }
}

// A page is wanted while there is more than what is left when a connection is lost.
const HEAD: QueuePart = QueuePart { len: 9, bytes: 1000 };
const SMALL: QueuePart = QueuePart { len: 1, bytes: 1000 };

impl Model {
    fn new() -> Self {
        Self {
            queue: Queue::default(),
            store: BTreeMap::new(),
            page: None,
            waiting: Vec::new(),
            next: 1,
        }
    }

    fn act(&mut self, random: &mut Random) {
        match random.below(16) {
            0..=4 => {
                let kind = match random.below(8) {
                    0 => Kind::Group,
                    1 => Kind::AtMostOnce,
                    _ => Kind::Stored,
                };
                let tentative = kind != Kind::AtMostOnce && random.below(4) == 0;
                let number = self.next;
                self.next += 1;
                if kind == Kind::Stored {
                    self.store.insert(number, tentative);
                }
                self.waiting.push((number, kind, tentative));
                let replaced = self.queue.push(queued(number, kind, tentative), Keep::Head(HEAD));
                assert!(replaced.is_none());
            }
            5..=8 => {
                if let Some(popped) = self.queue.pop() {
                    let (number, kind, tentative) = self.waiting.remove(0);
                    assert_eq!((number_of(&popped), popped.is_tentative()), (number, tentative));
                    if random.below(8) == 0 {
                        // There was no quota.
                        self.queue.push_front(popped, Keep::Head(HEAD));
                        self.waiting.insert(0, (number, kind, tentative));
                    } else {
                        self.store.remove(&number);
                    }
                } else {
                    assert!(self.queue.is_empty() || self.queue.has_tail());
                    self.want();
                }
            }
            9 => self.want(),
            10 | 11 => self.give(),
            12 | 13 => {
                let at = random.below(self.waiting.len().max(1) as u64) as usize;
                let Some((number, kind, tentative @ true)) = self.waiting.get_mut(at) else {
                    return;
                };
                let (number, kind) = (*number, *kind);
                *tentative = false;
                if random.below(2) == 0 {
                    self.store.entry(number).and_modify(|tentative| *tentative = false);
                    assert!(self.queue.confirm(number).is_none());
                } else {
                    self.waiting.remove(at);
                    self.store.remove(&number);
                    let was_in_tail = self.queue.withdraw(number).is_some();
                    let taken = self.queue.extract(|queued| {
                        queued.note.as_ref().is_some_and(|note| note.number == Some(number))
                    });
                    assert_eq!(usize::from(was_in_tail) + taken.len(), 1, "{number} {kind:?}");
                }
            }
            14 => self.queue.shrink(SMALL),
            _ => {
                let taken = self.queue.extract(|queued| {
                    let note = queued.note.as_ref();
                    !queued.is_tentative() && note.is_some_and(|note| note.group.is_some())
                });
                let expected: Vec<u64> = self
                    .waiting
                    .extract_if(.., |(_, kind, tentative)| *kind == Kind::Group && !*tentative)
                    .map(|(number, ..)| number)
                    .collect();
                assert_eq!(taken.iter().map(number_of).collect::<Vec<_>>(), expected);
            }
        }
        assert_eq!(self.queue.len(), self.waiting.len());
        let bytes: usize = self.waiting.iter().map(|(number, ..)| message(*number).size()).sum();
        assert_eq!(self.queue.bytes(), bytes);
        let at_most_once = self.waiting.iter().any(|(_, kind, _)| *kind == Kind::AtMostOnce);
        assert_eq!(self.queue.holds_at_most_once(), at_most_once);
    }

    fn want(&mut self) {
        let Some(Wanted { after, part }) = self.queue.want(HEAD, false) else { return };
        assert!(self.page.is_none(), "one at a time");
        let rows = self.store.range(after + 1..).map(|(number, tentative)| (*number, *tentative));
        let mut rows: Vec<_> = rows.collect();
        let more = rows.len() > part.len;
        rows.truncate(part.len);
        self.page = Some((rows, more));
    }

    fn give(&mut self) {
        let Some((rows, more)) = self.page.take() else { return };
        let page = rows.into_iter().map(|(number, is)| queued(number, Kind::Stored, is));
        assert_eq!(self.queue.take_page(page, more, 0, None), 0, "nothing is lost");
    }
}

#[test]
fn a_queue_with_a_tail_is_as_one_without() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut model = Model::new();
        for _ in 0..300 {
            model.act(&mut random);
        }
        // Nothing is forgotten.
        for _ in 0..10_000 {
            if model.waiting.is_empty() {
                break;
            }
            model.want();
            model.give();
            if model.queue.pop().is_some() {
                let (number, ..) = model.waiting.remove(0);
                model.store.remove(&number);
            }
        }
        model.give();
        assert_eq!((model.queue.is_empty(), model.queue.bytes()), (true, 0), "seed {seed}");
    }
}

#[test]
fn what_the_store_no_longer_has_is_lost_and_the_queue_goes_on() {
    for (page, more, damaged, lost) in [
        (vec![], false, 0, 4),
        (vec![], true, 4, 4),
        (vec![2, 4], true, 1, 1),
        (vec![3, 5], false, 2, 2),
    ] {
        let mut queue = Queue::default();
        for number in 1..=5 {
            queue.push(queued(number, Kind::Stored, false), Keep::Head(SMALL));
        }
        assert_eq!(queue.want(HEAD, true).expect("a tail").after, 1);
        queue.push(queued(6, Kind::Stored, false), Keep::Head(SMALL));
        let rows = page.iter().map(|number| queued(*number, Kind::Stored, false));
        assert_eq!(queue.take_page(rows, more, damaged, None), lost);
        assert_eq!(queue.len(), 6 - lost);
        let wanted = queue.want(HEAD, true).expect("there is more");
        assert_eq!(wanted.after, if more && !page.is_empty() { 4 } else { 5 });
    }
}

#[test]
fn the_last_message_of_each_topic_name_waits() {
    let of = |topic_name: &str, number: u64, tentative: bool| {
        let topic_name = topic_name.parse().expect("a legal Topic Name");
        let message = Arc::new(Message::new(topic_name, number.to_be_bytes().to_vec()));
        Queued { message, ..queued(number, Kind::Stored, tentative) }
    };
    let mut queue = Queue::default();
    let push = |queue: &mut Queue, queued| {
        queue.push(queued, Keep::Latest).map(|replaced| number_of(&replaced))
    };
    assert_eq!(push(&mut queue, of("a", 1, false)), None);
    assert_eq!(push(&mut queue, of("b", 2, false)), None);
    assert_eq!(push(&mut queue, of("a", 3, false)), Some(1));
    // What is tentative replaces the one before once it is confirmed.
    assert_eq!(push(&mut queue, of("b", 4, true)), None);
    assert_eq!(push(&mut queue, of("c", 5, true)), None);
    assert_eq!(push(&mut queue, of("c", 6, false)), None);
    assert_eq!(queue.len(), 5);
    assert_eq!(queue.confirm(4).map(|replaced| number_of(&replaced)), Some(2));
    assert_eq!(queue.confirm(5).map(|replaced| number_of(&replaced)), Some(5), "6 is newer");
    let front = queue.pop().expect("3");
    queue.push_front(front, Keep::Latest);
    assert_eq!(push(&mut queue, of("a", 7, false)), Some(3));
    let mut left = Vec::new();
    while let Some(queued) = queue.pop() {
        left.push(number_of(&queued));
    }
    assert_eq!(left, [4, 6, 7]);
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
    // Many replacements leave no places behind.
    for number in 0..100_000 {
        push(&mut queue, of(["a", "b", "c"][number as usize % 3], number, false));
        assert!(queue.places() <= 128);
    }
    assert_eq!(queue.len(), 3);
}

#[test]
fn what_came_by_a_group_takes_no_place_but_of_its_own() {
    let mut queue = Queue::default();
    let replaced = [(1, Kind::Stored), (2, Kind::Group), (3, Kind::Stored), (4, Kind::Group)]
        .map(|(number, kind)| queue.push(queued(number, kind, false), Keep::Latest));
    assert_eq!(replaced.map(|old| old.map(|old| number_of(&old))), [None, None, Some(1), Some(2)]);
    let taken =
        queue.extract(|queued| queued.note.as_ref().is_some_and(|note| note.group.is_some()));
    assert_eq!((taken.len(), queue.pop().map(|queued| number_of(&queued))), (1, Some(3)));
    assert!(queue.pop().is_none());
}

#[test]
fn a_drained_queue_keeps_its_head_until_the_connection_is_lost() {
    let mut queue = Queue::default();
    for number in 1..=2 {
        queue.push(queued(number, Kind::AtMostOnce, false), Keep::All);
        queue.drop_empty_head();
        assert_eq!((queue.is_empty(), queue.len(), queue.holds_at_most_once()), (false, 1, true));
        assert_eq!(queue.pop().map(|queued| number_of(&queued)), Some(number));
        assert_eq!((queue.is_empty(), queue.len(), queue.places()), (true, 0, 0));
        assert!(queue.head.is_some());
    }
    queue.drop_empty_head();
    assert!(queue.is_empty() && queue.head.is_none());
}
