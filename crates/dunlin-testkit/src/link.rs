//! One direction of a Network Connection, in memory.

use bytes::Bytes;
use core::time::Duration;
use dunlin_protocol::Instant;
use std::collections::VecDeque;

/// What a [`Link`] is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// How long a byte travels.
    pub latency: Duration,
    /// How many bytes enter the link in a second; any number when `None`.
    pub bytes_per_second: Option<u64>,
    /// Bytes arrive in parts of at most this length, at least 1.
    pub part_len_max: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { latency: Duration::from_millis(1), bytes_per_second: None, part_len_max: 1460 }
    }
}

/// Carries bytes in order; everything that is under way is lost when it is cut.
#[derive(Debug, Default)]
pub struct Link {
    options: LinkOptions,
    under_way: VecDeque<(Instant, Bytes)>,
    /// When the bytes that were sent will have entered the link.
    free_at: Instant,
    /// How many more bytes arrive before the link breaks.
    cut_after: Option<u64>,
    is_cut: bool,
}

impl Link {
    /// A link on which nothing is under way.
    pub fn new(options: LinkOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Sends the bytes; they vanish when the link is cut.
    pub fn send(&mut self, now: Instant, bytes: &[u8]) {
        if self.is_cut {
            return;
        }
        for part in bytes.chunks(self.options.part_len_max.max(1)) {
            let micros = match self.options.bytes_per_second {
                Some(rate) => part.len() as u64 * 1_000_000 / rate.max(1),
                None => 0,
            };
            self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
            let arrival = self.free_at + self.options.latency;
            self.under_way.push_back((arrival, Bytes::copy_from_slice(part)));
        }
    }

    /// The next part that has arrived by now.
    pub fn receive(&mut self, now: Instant) -> Option<Bytes> {
        if self.is_cut || self.under_way.front()?.0 > now {
            return None;
        }
        let (_, mut part) = self.under_way.pop_front()?;
        if let Some(left) = &mut self.cut_after {
            let arrives = (part.len() as u64).min(*left);
            *left -= arrives;
            part.truncate(arrives as usize);
            if *left == 0 {
                self.cut();
            }
        }
        Some(part)
    }

    /// When the next part arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.front().map(|(arrival, _)| *arrival)
    }

    /// Breaks the link after this many more bytes have arrived.
    pub fn cut_after(&mut self, bytes: u64) {
        if bytes == 0 {
            self.cut();
        } else {
            self.cut_after = Some(bytes);
        }
    }

    /// Breaks the link: what is under way is lost.
    pub fn cut(&mut self) {
        self.is_cut = true;
        self.under_way.clear();
    }

    /// Whether the link is broken.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}
