//! A process is killed while it stores: what it was told is stored is there, and each append as a
//! whole or not at all.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

/// How many messages are owed at any time: each append brings one and settles one.
const WINDOW: u64 = 20;
const WAITERS: u64 = 3;

fn waiter(number: u64) -> String {
    format!("waiter {}", number % WAITERS)
}

/// Appends without end, and says what is stored.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (mut storage, records) = recover(Path::new(&folder));
    let last = records.iter().filter_map(|record| match record {
        Record::Waiting { last, .. } => Some(*last),
        _ => None,
    });
    let mut number = last.max().unwrap_or(0);
    let mut worker = Worker::new(&mut storage);
    let sessions = (0..WAITERS).map(waiter).chain(["x".to_owned(), "y".to_owned()]);
    worker.store(sessions.map(|of| session(&of)).collect());
    let durability = if number % 2 == 0 { Durability::Fsync } else { Durability::Written };
    let first = worker.last;
    let mut told = 0;
    loop {
        number += 1;
        let small = message("t", &number.to_be_bytes());
        let large = message("t/large", &number.to_be_bytes().repeat(50));
        let mut records = vec![
            owed(&waiter(number), number, &small),
            owed("x", number, &large),
            owed("y", number, &large),
        ];
        if let Some(old) = number.checked_sub(WINDOW).filter(|old| *old > 0) {
            records.extend([settled(&waiter(old), old), settled("x", old), settled("y", old)]);
        }
        let padding = 6 - records.len();
        // Each append has six numbers, so that what is told can be counted.
        records.extend((0..padding).map(|_| settled("x", u64::MAX)));
        worker.append(records, durability);
        if number % 16 == 0 {
            worker.wait(durability, worker.last.saturating_sub(200).max(first));
        }
        let stored = (worker.store.stored_upto(durability).0 - first) / 6;
        if stored > told {
            told = stored;
            let number = number - (worker.last - first) / 6 + stored;
            writeln!(std::io::stdout(), "\nstored {number}").expect("somebody reads");
        }
    }
}

/// Which messages are owed to whom, by fetching all of them.
fn all(worker: &mut Worker, of: &str) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let page = worker.fetch(of, all.last().copied().unwrap_or(0), 7, usize::MAX);
        for record in &page.messages {
            let Record::Owed { number, message, .. } = record else { panic!("{record:?}") };
            assert_eq!(message.payload[..8], number.to_be_bytes(), "another message");
        }
        assert_eq!(page.damaged, 0);
        all.extend(numbers(&page));
        if !page.more {
            return all;
        }
    }
}

#[test]
fn what_was_reported_stored_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut highest = 0;
    for round in 0..6_usize {
        let mut child = process("tests::kill::the_process_that_is_killed", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut told = 0;
        let mut left = 3 + round * round * 40;
        for line in lines {
            let line = line.expect("text");
            let Some(number) = line.strip_prefix("stored ") else { continue };
            // The last line may have been cut by the kill.
            told = number.parse::<u64>().map_or(told, |number| told.max(number));
            // What it says after this counts as well.
            left -= 1;
            if left == 0 {
                child.kill().expect("it runs");
            }
            if left == 0 {
                left = usize::MAX;
            }
        }
        child.wait().expect("it has ended");
        assert!(told > highest, "the process has got no further than {told}");

        let (mut storage, _) = recover(folder.path());
        let found = storage.found();
        assert_eq!((found.damaged_rows, found.gaps, found.damaged_journals), (0, 0, 0));
        let mut worker = Worker::new(&mut storage);
        let mut owed: Vec<u64> =
            (0..WAITERS).flat_map(|of| all(&mut worker, &waiter(of))).collect();
        owed.sort_unstable();
        let last = *owed.last().expect("some are always owed");
        assert!(last >= told, "{told} was reported, and {last} is the last");
        let expected: Vec<_> = (last.saturating_sub(WINDOW) + 1..=last).collect();
        assert_eq!(owed, expected, "appends are whole or not there");
        assert_eq!(all(&mut worker, "x"), expected);
        assert_eq!(all(&mut worker, "y"), expected);
        highest = last;
    }
}
