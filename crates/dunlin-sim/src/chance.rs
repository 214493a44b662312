//! Chance that belongs to one purpose: what one part of a run draws doesn't shift what the others
//! draw, so that a plan can be shortened without becoming another one.

use dunlin_testkit::Random;

/// What a generator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    Options = 1,
    Actions,
    Turns,
    Links,
    Store,
    Devices,
    Workers,
    Queues,
    Rights,
    Logins,
}

/// The generator of this purpose and its number, in the run of this seed.
pub(crate) fn random(seed: u64, purpose: Purpose, number: u64) -> Random {
    Random::new(mix(mix(seed ^ (purpose as u64) << 56) ^ number))
}

/// Spreads a number over all 64 bits; what differs stays different.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
