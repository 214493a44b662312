//! What a terminal shows in the end, and what a file holds.

use super::*;
use crate::report::sample::second;

const LIVE: Style = Style { live: true, color: false };

fn written(style: Style, intervals: &[Interval]) -> String {
    let mut progress = Progress::new(Vec::new(), style);
    for interval in intervals {
        progress.interval(interval);
    }
    String::from_utf8(progress.finish().expect("written")).expect("UTF-8")
}

/// The lines that a terminal shows, if it understands what [`Progress`] sends and nothing more.
fn screen(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '\n' => lines.push(String::new()),
            '\r' => {}
            '\x1b' => {
                let end = rest.find(char::is_alphabetic).expect("a whole sequence");
                let (sequence, after) = rest.split_at(end + 1);
                rest = after;
                match sequence {
                    "[?7l" | "[?7h" => {}
                    // Always sent together: up to the start of the block, and clear all below.
                    "[J" => lines.last_mut().expect("a line").clear(),
                    up => {
                        let count = up.strip_prefix('[').and_then(|up| up.strip_suffix('A'));
                        let count: usize = count.and_then(|up| up.parse().ok()).expect(up);
                        lines.truncate(lines.len() - count);
                    }
                }
            }
            char => lines.last_mut().expect("a line").push(char),
        }
    }
    lines
}

#[test]
fn a_file_gets_a_line_for_each_interval() {
    let mut intervals = [second(1, "connecting"), second(2, "measuring")];
    intervals[0].connected = 20;
    intervals[1].faults = 3;
    let text = written(Style::PLAIN, &intervals);
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "   0:01  connecting    20 connections open, in 1,000/s, out 1,000/s, p50 599 µs, \
             p99 1.09 ms, connected 20.0/s, broker 50 % CPU, 8.00 MiB, load 25 % CPU",
            "   0:02  measuring     20 connections open, in 1,000/s, out 1,000/s, p50 599 µs, \
             p99 1.09 ms, broker 50 % CPU, 8.00 MiB, load 25 % CPU, faults 3",
        ]
    );
}

#[test]
fn a_terminal_shows_one_block_below_the_phases_that_are_over() {
    let mut progress = Progress::new(Vec::new(), LIVE);
    for (number, phase) in [(1, "connecting"), (2, "measuring"), (3, "measuring")] {
        progress.interval(&second(number, phase));
    }
    let lines = screen(std::str::from_utf8(&progress.out).expect("UTF-8"));
    assert_eq!(lines[0], "connecting    1.0 s, 1,000 published, 1,000 delivered");
    assert_eq!(lines[1], "measuring     0:03   0 connections open   ███");
    assert_eq!(lines[2], "  in 1,000/s   out 1,000/s   p50 599 µs   p99 1.09 ms");
    assert_eq!(lines[3], "  broker 50 % CPU   8.00 MiB   load 25 % CPU");
    assert_eq!(lines[4..], [""], "the cursor waits below the block");
}

#[test]
fn the_block_is_gone_in_the_end() {
    let intervals: Vec<_> = (1..=100).map(|number| second(number, "measuring")).collect();
    assert_eq!(
        screen(&written(LIVE, &intervals)),
        ["measuring     100.0 s, 100,000 published, 100,000 delivered", ""]
    );
    assert_eq!(written(LIVE, &[]), "");
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let colors = Style { live: true, color: true };
    let mut interval = second(1, "measuring");
    interval.faults = 1;
    assert!(written(colors, &[interval.clone()]).contains("\x1b[31mfaults 1\x1b[0m"));
    let plain = written(LIVE, &[interval]);
    assert!(plain.contains("faults 1") && !plain.contains("\x1b[0m"), "{plain:?}");
}

#[test]
fn a_broken_pipe_is_told_at_the_end() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut progress = Progress::new(Broken, LIVE);
    progress.interval(&second(1, "measuring"));
    progress.interval(&second(2, "measuring"));
    let error = progress.finish().map(|_| ()).expect_err("the pipe is broken");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn bars_stand_for_the_rates_beside_the_highest() {
    let bars = |rates: &[f64]| bars(&rates.iter().copied().collect());
    assert_eq!(bars(&[0.0, 50.0, 100.0]), "▁▅█");
    assert_eq!(bars(&[0.0, 0.0]), "▁▁");
    assert_eq!(bars(&[]), "");
}
