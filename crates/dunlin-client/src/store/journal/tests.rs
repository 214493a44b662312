//! The journal on a disk in memory that loses power at any step, tears what was not synced, flips
//! bits, and fills up.

use super::*;
use crate::store::StoredMessage;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{PacketIdentifier, QoS, TopicName};
use std::sync::{Arc, Mutex, MutexGuard};

/// A file: what outlives a loss of power, and what is read while there is none.
#[derive(Clone, Debug, Default)]
struct Content {
    synced: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    journal: Option<Content>,
    /// The journal before a promotion that was not synced.
    replaced: Option<Option<Content>>,
    successor: Option<Content>,
    aside: Option<Vec<u8>>,
    /// Operations until the power is lost.
    steps_left: Option<usize>,
    /// Bytes that fit into one file.
    capacity: Option<usize>,
    fails_to_sync: bool,
}

#[derive(Clone, Debug, Default)]
struct TestDisk(Arc<Mutex<Memory>>);

/// What becomes of bytes and names that were not synced when the power is lost.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Kept,
    /// The size of the file is kept and half of what was written into it.
    Torn,
}

impl Content {
    fn after(&self, fate: Fate) -> Self {
        let bytes = match fate {
            Fate::Lost => self.synced.clone(),
            Fate::Kept => self.current.clone(),
            Fate::Torn => {
                let mut torn = self.current.clone();
                let from = self.synced.len().min(torn.len());
                let half = from + (torn.len() - from) / 2;
                torn[half..].fill(0);
                torn
            }
        };
        Self { synced: bytes.clone(), current: bytes }
    }
}

impl TestDisk {
    fn with(bytes: Vec<u8>) -> Self {
        let content = Content { synced: bytes.clone(), current: bytes };
        Self(Arc::new(Mutex::new(Memory { journal: Some(content), ..Memory::default() })))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        self.memory().journal.clone().unwrap().current
    }

    /// The disk when the power is back.
    fn after(&self, bytes: Fate, names: Fate) -> Self {
        let mut memory = self.memory().clone();
        if let (Some(replaced), Fate::Lost) = (memory.replaced.take(), names) {
            memory.successor = memory.journal;
            memory.journal = replaced;
        }
        let journal = memory.journal.map(|content| content.after(bytes));
        let successor = memory.successor.map(|content| content.after(bytes));
        Self(Arc::new(Mutex::new(Memory { journal, successor, ..Memory::default() })))
    }
}

impl Memory {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::ErrorKind::Other.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fit(&self, bytes: &[u8], offset: usize) -> (usize, io::Result<()>) {
        match self.capacity {
            Some(capacity) if offset + bytes.len() > capacity => {
                (capacity.saturating_sub(offset), Err(io::ErrorKind::StorageFull.into()))
            }
            _ => (bytes.len(), Ok(())),
        }
    }
}

impl Disk for TestDisk {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.memory().journal.as_ref().map(|content| content.current.clone()))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.memory();
        let offset = usize::try_from(offset).unwrap();
        // When the power goes while this is written, some of it may be there.
        let whole = memory.step();
        let (len, fits) = memory.fit(bytes, offset);
        let len = if whole.is_err() { len / 2 } else { len };
        let journal = &mut memory.journal.as_mut().unwrap().current;
        journal.resize(offset + len, 0);
        journal[offset..].copy_from_slice(&bytes[..len]);
        whole.and(fits)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        memory.journal.as_mut().unwrap().current.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        if memory.fails_to_sync {
            memory.fails_to_sync = false;
            return Err(io::ErrorKind::Other.into());
        }
        let journal = memory.journal.as_mut().unwrap();
        journal.synced = journal.current.clone();
        Ok(())
    }

    fn write_successor(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.memory();
        let whole = memory.step();
        let (len, fits) = memory.fit(bytes, 0);
        let len = if whole.is_err() { len / 2 } else { len };
        memory.successor = Some(Content { synced: Vec::new(), current: bytes[..len].to_vec() });
        whole.and(fits)
    }

    fn sync_successor(&mut self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        let successor = memory.successor.as_mut().unwrap();
        successor.synced = successor.current.clone();
        Ok(())
    }

    fn promote_successor(&mut self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        let promoted = memory.successor.take();
        let replaced = std::mem::replace(&mut memory.journal, promoted);
        memory.replaced = Some(replaced);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        memory.replaced = None;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.step()?;
        memory.aside = memory.journal.as_ref().map(|content| content.current.clone());
        Ok(())
    }
}

fn open(disk: &TestDisk) -> Result<Journal<TestDisk>, StoreError> {
    Journal::open(disk.clone(), Path::new("test"), 4711, OnDamage::Fail)
}

fn queued(number: u64, len: usize) -> SessionChange {
    let mut message = Message::new(TopicName::from_static("t"), vec![0x5a; len]);
    message.qos = QoS::AtLeastOnce;
    let message = StoredMessage { message: Arc::new(message), expires_at: None };
    SessionChange::Queued { number, message }
}

fn exchange(number: u64) -> [SessionChange; 2] {
    let packet_identifier = PacketIdentifier::FIRST;
    [
        SessionChange::Sent { number, packet_identifier },
        SessionChange::Settled { packet_identifier },
    ]
}

/// A journal of so many frames, where each of them ends, and what it holds there.
fn journal_of(frames: u64) -> (Vec<u8>, Vec<(usize, StoredSession)>) {
    let disk = TestDisk::default();
    let mut journal = open(&disk).unwrap();
    let mut ends = vec![(disk.bytes().len(), StoredSession::new())];
    for number in 1..=frames {
        journal.append(&queued(2 * number, 5)).unwrap();
        journal.append(&queued(2 * number + 1, 9)).unwrap();
        journal.sync().unwrap();
        ends.push((disk.bytes().len(), journal.session().clone()));
    }
    (disk.bytes(), ends)
}

#[test]
fn a_tail_that_is_torn_at_any_byte_is_dropped() {
    let (bytes, ends) = journal_of(3);
    for cut in 0..=bytes.len() {
        let disk = TestDisk::with(bytes[..cut].to_vec());
        if cut < HEADER_LEN {
            assert!(matches!(open(&disk), Err(StoreError::NotAStore(_))), "cut at {cut}");
            continue;
        }
        let mut journal = open(&disk).unwrap();
        let (end, expected) = ends.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert_eq!(journal.session(), expected, "cut at {cut}");
        assert_eq!(disk.bytes().len(), *end, "cut at {cut}");
        // It goes on from there.
        journal.append(&queued(100, 3)).unwrap();
        journal.sync().unwrap();
        assert_eq!(open(&disk).unwrap().session(), journal.session(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let (bytes, ends) = journal_of(3);
    let last_frame = ends[2].0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let disk = TestDisk::with(flipped.clone());
            let opened = open(&disk);
            match at {
                0..16 => assert!(matches!(opened, Err(StoreError::NotAStore(_))), "{at} {bit}"),
                16..HEADER_LEN => {
                    let is_told = matches!(opened, Err(StoreError::Damaged { offset: 0, .. }));
                    assert!(is_told, "{at} {bit}");
                }
                // Nothing tells it from a tail that was never synced.
                _ if at >= last_frame => assert_eq!(opened.unwrap().session(), &ends[2].1),
                _ => {
                    let (begin, intact) = ends.iter().rev().find(|(end, _)| *end <= at).unwrap();
                    let Err(StoreError::Damaged { offset, .. }) = opened else {
                        panic!("not found: {at} {bit}")
                    };
                    assert_eq!(offset, u64::try_from(*begin).unwrap());
                    assert_eq!(disk.bytes(), flipped, "nothing is touched");
                    let path = Path::new("test");
                    let journal =
                        Journal::open(disk.clone(), path, 4711, OnDamage::SetAside).unwrap();
                    assert_eq!(journal.session(), intact);
                    assert_eq!(disk.memory().aside.as_ref(), Some(&flipped));
                    assert_eq!(open(&disk).unwrap().session(), intact);
                }
            }
        }
    }
}

#[test]
fn bytes_that_look_like_a_frame_are_no_damage() {
    let (bytes, ends) = journal_of(2);
    let disk = TestDisk::with(bytes.clone());
    let mut journal = open(&disk).unwrap();
    let mut message = Message::new(TopicName::from_static("t"), bytes[HEADER_LEN..].to_vec());
    message.qos = QoS::AtLeastOnce;
    let message = StoredMessage { message: Arc::new(message), expires_at: None };
    journal.append(&SessionChange::Queued { number: 100, message }).unwrap();
    journal.sync().unwrap();
    let mut torn = disk.bytes();
    torn.pop();
    assert_eq!(open(&TestDisk::with(torn)).unwrap().session(), &ends[2].1);
}

#[test]
fn a_later_format_is_refused() {
    let mut bytes = header(1);
    bytes[19] = 2;
    let checksum = crc32fast::hash(&bytes[..HEADER_LEN - 4]);
    bytes[HEADER_LEN - 4..].copy_from_slice(&checksum.to_be_bytes());
    let opened = open(&TestDisk::with(bytes));
    assert!(matches!(opened, Err(StoreError::Version { found: 2, known: VERSION, .. })));
}

/// Enough to be compacted several times, with messages that stay and messages that go.
fn story() -> Vec<Vec<SessionChange>> {
    let mut groups = Vec::new();
    for number in 1..=24u64 {
        groups.push(vec![queued(number, 16 * 1024)]);
        if number % 6 != 0 {
            groups.push(exchange(number).to_vec());
        }
    }
    groups
}

/// Lives the story until something fails; gives what was stored, and what may be.
fn live(disk: &TestDisk) -> (StoredSession, StoredSession) {
    let mut stored = StoredSession::new();
    let Ok(mut journal) = open(disk) else { return (stored.clone(), stored) };
    for group in story() {
        let mut next = stored.clone();
        for change in &group {
            next.apply(change).unwrap();
            journal.append(change).unwrap();
        }
        if journal.sync().is_err() {
            // Nothing is taken after that.
            assert!(matches!(journal.append(&group[0]), Err(StoreError::Failed)));
            assert!(matches!(journal.sync(), Err(StoreError::Failed)));
            return (stored, next);
        }
        stored = next;
        assert_eq!(journal.session(), &stored);
    }
    (stored.clone(), stored)
}

#[test]
fn a_journal_does_not_grow_with_what_is_over() {
    let disk = TestDisk::default();
    let (stored, _) = live(&disk);
    assert_eq!(stored.messages().count(), 4);
    let bytes = disk.bytes().len();
    assert!(bytes < 300 * 1024, "{bytes} bytes for 64 KiB of messages");
    assert_eq!(open(&disk).unwrap().session(), &stored);
}

#[test]
fn power_is_lost_at_every_step() {
    let mut steps = 0;
    loop {
        let disk = TestDisk::default();
        disk.memory().steps_left = Some(steps);
        let (stored, possible) = live(&disk);
        // The process alone is killed: the next one relies on what it finds, and the power goes.
        let killed = TestDisk(Arc::new(Mutex::new(disk.memory().clone())));
        killed.memory().steps_left = None;
        let found = open(&killed).unwrap().session().clone();
        assert!([&stored, &possible].contains(&&found), "killed after {steps} steps");
        let again = killed.after(Fate::Lost, Fate::Lost);
        assert_eq!(open(&again).unwrap().session(), &found, "killed after {steps} steps");
        for bytes in [Fate::Lost, Fate::Kept, Fate::Torn] {
            for names in [Fate::Lost, Fate::Kept] {
                let disk = disk.after(bytes, names);
                let mut journal = open(&disk).unwrap_or_else(|error| {
                    panic!("after {steps} steps, bytes {bytes:?}, names {names:?}: {error}")
                });
                assert!(
                    [&stored, &possible].contains(&journal.session()),
                    "after {steps} steps, bytes {bytes:?}, names {names:?}"
                );
                journal.append(&queued(100, 3)).unwrap();
                journal.sync().unwrap();
                // Whatever was found is relied on from then on.
                let again = disk.after(Fate::Lost, Fate::Lost);
                assert_eq!(open(&again).unwrap().session(), journal.session());
            }
        }
        if disk.memory().steps_left.is_some_and(|left| left > 0) {
            assert!(steps > 100, "the story is short: {steps} steps");
            return;
        }
        steps += 1;
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let whole = TestDisk::default();
    live(&whole);
    for capacity in (HEADER_LEN..80 * 1024).step_by(997) {
        let disk = TestDisk::default();
        disk.memory().capacity = Some(capacity);
        let (stored, _) = live(&disk);
        disk.memory().capacity = None;
        // What was refused does not come back.
        assert_eq!(open(&disk).unwrap().session(), &stored, "{capacity} bytes");
    }
}

#[test]
fn without_room_to_compact_the_journal_goes_on() {
    let disk = TestDisk::default();
    let mut journal = open(&disk).unwrap();
    for number in 1..=40 {
        journal.append(&queued(number, 8 * 1024)).unwrap();
        exchange(number).iter().for_each(|change| journal.append(change).unwrap());
        disk.memory().successor = None;
        // Room for the journal, and none for a second file.
        let capacity = disk.bytes().len() + 9 * 1024;
        disk.memory().capacity = (number > 1).then_some(capacity);
        journal.sync().unwrap();
    }
    assert!(open(&disk).unwrap().session().is_empty());
}

#[test]
fn a_failed_sync_is_not_repeated() {
    let disk = TestDisk::default();
    let mut journal = open(&disk).unwrap();
    disk.memory().fails_to_sync = true;
    journal.append(&queued(1, 3)).unwrap();
    assert!(matches!(journal.sync(), Err(StoreError::Io { action: "be synced", .. })));
    assert!(matches!(journal.sync(), Err(StoreError::Failed)));
    assert!(open(&disk).unwrap().session().is_empty(), "what was not told does not come back");
}
