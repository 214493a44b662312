//! Topic Filters and Topic Names in any number, for the indexes.

use dunlin_topics::{FilterIndex, Match, Subscription};

/// What subscribers ask for, as small as the core's own.
#[derive(Clone, Copy, Debug)]
pub struct Options(pub u64);

impl Subscription for Options {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }
}

/// An index of one filter for each subscriber.
pub type Index = FilterIndex<u32, Options>;

/// Which kinds of filters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Six in ten filters without wildcards, two that end with `+`, one with `+` in the middle,
    /// one that ends with `#`.
    Mixed,
    /// Every filter has one or two `+`, and a few have nothing else.
    Plus,
    /// Every filter ends with `#`, at different depths.
    Hash,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mixed, Self::Plus, Self::Hash];

    /// What benchmarks call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Plus => "plus",
            Self::Hash => "hash",
        }
    }

    /// One of the filters; different for each number.
    pub fn topic_filter(self, number: usize) -> String {
        let plant = number % 100;
        match (self, number % 10) {
            (Self::Mixed, 0..=5) => format!("plant/{plant}/u{number}/temp"),
            (Self::Mixed, 6 | 7) => format!("plant/{plant}/u{number}/+"),
            (Self::Mixed, 8) => format!("plant/+/u{number}/temp"),
            (Self::Plus, 0) if number < 1_000 => "+/".repeat(number / 10 % 8) + "+",
            (Self::Plus, 0..=4) => format!("plant/+/u{number}/+"),
            (Self::Plus, _) => format!("+/{plant}/u{number}/+"),
            (Self::Hash, 0..=2) => format!("plant/{plant}/u{number}/temp/#"),
            _ => format!("plant/{plant}/u{number}/#"),
        }
    }

    /// An index of the first `size` filters.
    pub fn index(self, size: usize) -> Index {
        let mut index = Index::new(1);
        for number in 0..size {
            index.insert(&self.topic_filter(number), number as u32, Options(number as u64));
        }
        index
    }
}

/// The Topic Name that the filter with this number is for.
pub fn topic_name(number: usize) -> String {
    format!("plant/{}/u{number}/temp", number % 100)
}

/// The numbers below `size` in an order without locality, always the same.
pub fn shuffled(size: usize) -> Vec<usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut numbers: Vec<_> = (0..size).collect();
    for at in (1..size).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers.swap(at, (state % (at as u64 + 1)) as usize);
    }
    numbers
}

/// One name for each of `size` filters, in an order without locality.
pub fn topic_names(size: usize) -> Vec<String> {
    shuffled(size).into_iter().map(topic_name).collect()
}

/// Looks up a name, and adds up what it finds.
pub fn count(index: &Index, topic_name: &str) -> u64 {
    let mut sum = 0;
    index.for_each_match(topic_name, |found| match found {
        Match::Subscriber(_, options) => sum += options.0,
        Match::Group(_) => sum += 1,
    });
    sum
}

/// Gives one name after the other, round and round.
#[derive(Debug)]
pub struct Round<'a> {
    names: &'a [String],
    at: usize,
}

impl<'a> Round<'a> {
    /// Begins with the second of them.
    pub fn new(names: &'a [String]) -> Self {
        Self { names, at: 0 }
    }

    /// The next name.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    #[inline]
    pub fn next(&mut self) -> &'a str {
        self.at = if self.at + 1 < self.names.len() { self.at + 1 } else { 0 };
        &self.names[self.at]
    }
}
