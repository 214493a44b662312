//! One direction of a simulated Network Connection: bytes take their time, come in parts, wait for
//! a reader, and may never arrive.

use bytes::Bytes;
use core::time::Duration;
use dunlin_protocol::Instant;
use dunlin_testkit::Random;
use std::collections::VecDeque;

/// What a pipe is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) latency: (u64, u64),
    pub(crate) part_len_max: usize,
    pub(crate) window: usize,
    pub(crate) bytes_per_second: Option<u64>,
}

/// What comes out at the end.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    /// The writer has closed its side.
    End,
    /// The connection is broken.
    Reset,
}

/// The writer's side is closed or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

#[derive(Debug)]
pub(crate) struct Pipe {
    character: Character,
    random: Random,
    under_way: VecDeque<(Instant, Part)>,
    /// Bytes that were written and not read.
    held: usize,
    /// When the bytes that were written will have entered the pipe.
    free_at: Instant,
    last_arrival: Instant,
    /// Nothing arrives before.
    pub(crate) blocked_until: Instant,
    /// Slow until then.
    throttled: (u64, Instant),
    /// How many more bytes arrive before the connection breaks.
    pub(crate) cut_after: Option<u64>,
    /// What is written vanishes.
    pub(crate) vanishes: bool,
    /// The reader was told of the end, or will be.
    pub(crate) ended: bool,
    /// The writer can't write any more.
    pub(crate) broken: bool,
    /// When an arrival is announced.
    pub(crate) announced: Option<Instant>,
    /// Whether the writer waits for room.
    pub(crate) writer_waits: bool,
}

impl Pipe {
    pub(crate) fn new(character: Character, random: Random) -> Self {
        Self {
            character,
            random,
            under_way: VecDeque::new(),
            held: 0,
            free_at: Instant::ZERO,
            last_arrival: Instant::ZERO,
            blocked_until: Instant::ZERO,
            throttled: (0, Instant::ZERO),
            cut_after: None,
            vanishes: false,
            ended: false,
            broken: false,
            announced: None,
            writer_waits: false,
        }
    }

    /// How many bytes could be written.
    pub(crate) fn room(&self) -> usize {
        self.character.window.saturating_sub(self.held)
    }

    /// Writes as much as there is room for; how much that was.
    pub(crate) fn write(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Broken> {
        if self.broken || self.ended {
            return Err(Broken);
        }
        let room = self.room();
        // Nobody sends a few bytes when many wait and more room is to come.
        let is_silly = room < bytes.len() && room < self.character.window / 4;
        let len = if is_silly { 0 } else { bytes.len().min(room) };
        self.held += len;
        self.writer_waits = len < bytes.len();
        if self.vanishes {
            return Ok(len);
        }
        let mut rest = &bytes[..len];
        while !rest.is_empty() {
            let longest = self.character.part_len_max.clamp(1, rest.len());
            // Tiny parts of long streams would cost more time than they teach.
            let shortest = (len / 16).clamp(1, longest.max(len / 16));
            let part_len = if longest <= shortest {
                shortest.min(rest.len())
            } else {
                self.random.between(shortest as u64..=longest as u64) as usize
            };
            let (part, left) = rest.split_at(part_len);
            let rate = match self.throttled {
                (rate, until) if now < until => Some(rate),
                _ => self.character.bytes_per_second,
            };
            let micros = rate.map_or(0, |rate| part.len() as u64 * 1_000_000 / rate.max(1));
            self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
            self.put(self.free_at, Part::Bytes(Bytes::copy_from_slice(part)));
            rest = left;
        }
        Ok(len)
    }

    /// Tells the reader that nothing more comes.
    pub(crate) fn end(&mut self, now: Instant, part: Part) {
        if !self.ended {
            self.ended = true;
            if !self.vanishes {
                self.put(now, part);
            }
        }
    }

    fn put(&mut self, from: Instant, part: Part) {
        let (least, most) = self.character.latency;
        let latency = Duration::from_micros(self.random.between(least..=most));
        self.last_arrival = self.last_arrival.max(from + latency);
        self.under_way.push_back((self.last_arrival, part));
    }

    /// Breaks: what is under way is lost, and the reader is told.
    pub(crate) fn cut(&mut self, now: Instant) {
        self.broken = true;
        self.under_way.clear();
        self.cut_after = None;
        self.ended = true;
        if !self.vanishes {
            self.last_arrival = now;
            self.put(now, Part::Reset);
        }
    }

    /// Nothing goes through from now on, and nobody is told.
    pub(crate) fn vanish(&mut self) {
        self.vanishes = true;
        self.under_way.clear();
    }

    pub(crate) fn throttle(&mut self, bytes_per_second: u64, until: Instant) {
        self.throttled = (bytes_per_second, until);
    }

    /// All goes as it should from now on, and soon.
    pub(crate) fn heal(&mut self, now: Instant, character: Character) {
        self.character = character;
        self.blocked_until = Instant::ZERO;
        self.throttled = (0, Instant::ZERO);
        self.cut_after = None;
        self.free_at = now;
        self.last_arrival = now;
        self.announced = None;
        self.under_way.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
    }

    /// When the next part arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| (*at).max(self.blocked_until))
    }

    /// The next part that has arrived.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Part> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, part)| part)
    }

    /// So many bytes were read; whether the writer waits for it, and there is room worth telling.
    pub(crate) fn free(&mut self, bytes: usize) -> bool {
        self.held = self.held.saturating_sub(bytes);
        self.room() >= self.character.window / 2 && std::mem::take(&mut self.writer_waits)
    }
}
