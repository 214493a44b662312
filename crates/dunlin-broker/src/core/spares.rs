//! Output buffers that were drained and wait for the next connection that writes.

use dunlin_protocol::codec::TransmitBuf;

/// What a connection begins with: room for some acknowledgements or small messages.
const SMALL_CAPACITY: usize = 1024;
/// What a connection that has more to say goes on with.
const LARGE_CAPACITY: usize = 256 * 1024;
/// How many are kept.
const SMALL_MAX: usize = 512;
const LARGE_MAX: usize = 32;

/// Two stacks: what was drained last is taken first, while it is still in the cache of the
/// processor, and the few connections with much output share the few large buffers.
#[derive(Debug, Default)]
pub(super) struct Spares {
    small: Stack,
    large: Stack,
}

#[derive(Debug, Default)]
struct Stack {
    buffers: Vec<Vec<u8>>,
    /// How many of them, from the bottom, nobody has needed for a while.
    unused: usize,
}

impl Stack {
    fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop();
        self.unused = self.unused.min(self.buffers.len());
        buffer
    }

    fn free_unused(&mut self) {
        self.buffers.drain(..self.unused);
        self.unused = self.buffers.len();
    }
}

impl Spares {
    pub(super) fn take_small(&mut self) -> Vec<u8> {
        self.small.take().unwrap_or_else(|| Vec::with_capacity(SMALL_CAPACITY))
    }

    pub(super) fn take_large(&mut self) -> Vec<u8> {
        self.large.take().unwrap_or_else(|| Vec::with_capacity(LARGE_CAPACITY))
    }

    /// Whether an output is about to need more than a small buffer.
    #[inline]
    pub(super) fn is_outgrown(&self, out: &TransmitBuf) -> bool {
        out.len() > SMALL_CAPACITY / 2 && out.capacity() < LARGE_CAPACITY
    }

    /// Takes a buffer back; one that has become too large or too small to be of use is freed.
    pub(super) fn give(&mut self, storage: Vec<u8>) {
        match storage.capacity() {
            SMALL_CAPACITY..LARGE_CAPACITY if self.small.buffers.len() < SMALL_MAX => {
                self.small.buffers.push(storage);
            }
            LARGE_CAPACITY..=LARGE_CAPACITY_MAX if self.large.buffers.len() < LARGE_MAX => {
                self.large.buffers.push(storage);
            }
            _ => {}
        }
    }

    /// Frees the buffers that nobody has needed since the last time.
    pub(super) fn free_unused(&mut self) {
        self.small.free_unused();
        self.large.free_unused();
    }
}

/// Beyond this a buffer goes back to the system.
const LARGE_CAPACITY_MAX: usize = 4 * LARGE_CAPACITY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_nobody_needs_are_freed() {
        let mut spares = Spares::default();
        let taken: Vec<_> = (0..10).map(|_| spares.take_large()).collect();
        taken.into_iter().for_each(|buffer| spares.give(buffer));
        // They were in use until now.
        spares.free_unused();
        assert_eq!(spares.large.buffers.len(), 10);
        for _ in 0..5 {
            let taken: Vec<_> = (0..3).map(|_| spares.take_large()).collect();
            taken.into_iter().for_each(|buffer| spares.give(buffer));
        }
        spares.free_unused();
        assert_eq!(spares.large.buffers.len(), 3);
        spares.free_unused();
        assert_eq!(spares.large.buffers.len(), 0);
        assert_eq!(spares.take_large().capacity(), LARGE_CAPACITY);
    }
}
