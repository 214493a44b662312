//! Chance from a seed: the same seed gives the same run, on every machine.

use core::ops::RangeInclusive;

/// A seeded generator (xoshiro256**, its state filled by splitmix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        let mut filler = seed;
        let state = core::array::from_fn(|_| {
            filler = filler.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = filler;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ (word >> 31)
        });
        Self { state }
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        let [_, s1, ..] = self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= s1 << 17;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// When `end` is zero.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below zero");
        // The bias of the remainder is far below what a test could notice.
        self.next_u64() % end
    }

    /// An index into something of this length, which is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in this range.
    pub fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Yes, this often in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these, of which there are some.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// This many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next_u64() as u8).collect()
    }
}

/// Runs a random test with the seeds `0..count`; with `SIM_SEED` in the environment, with that seed
/// alone. A run that panics names its seed.
///
/// # Panics
/// When a run does, or when `SIM_SEED` is no number.
pub fn for_each_seed(count: u64, mut run: impl FnMut(u64)) {
    let replayed = std::env::var("SIM_SEED").ok();
    let seeds = match replayed {
        Some(seed) => {
            let seed = seed.parse::<u64>().expect("SIM_SEED is a number");
            seed..seed + 1
        }
        None => 0..count,
    };
    for seed in seeds {
        let reporter = Reporter(seed);
        run(seed);
        drop(reporter);
    }
}

struct Reporter(u64);

impl Drop for Reporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this run with SIM_SEED={}", self.0);
        }
    }
}
