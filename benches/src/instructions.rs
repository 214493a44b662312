//! Instruction counts as a baseline: what the hot paths execute, counted by callgrind and compared
//! with the counts that are committed.
//!
//! Time on a shared machine changes by half from one minute to the next; a count of instructions
//! does not change at all, so that a change of the program which costs a few per cent shows. It
//! says nothing of caches, branches and system calls: those are for `compare`.

pub mod baseline;
pub mod callgrind;
pub mod scenarios;
#[cfg(test)]
mod tests;

use std::hint::black_box;

/// Does the work, which alone is counted: callgrind counts while this function runs, which it
/// knows by its name ([`callgrind::COUNTED`]).
#[inline(never)]
pub fn counted_instructions(work: &mut dyn FnMut()) {
    work();
    // So that the call is none that the compiler turns into a jump out of this function.
    black_box(());
}
