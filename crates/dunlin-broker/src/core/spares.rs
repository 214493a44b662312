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
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Spares {
    pub(super) fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_CAPACITY))
    }

    pub(super) fn take_large(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| Vec::with_capacity(LARGE_CAPACITY))
    }

    /// Whether an output is about to need more than a small buffer.
    #[inline]
    pub(super) fn is_outgrown(&self, out: &TransmitBuf) -> bool {
        out.len() > SMALL_CAPACITY / 2 && out.capacity() < LARGE_CAPACITY
    }

    /// Takes a buffer back; one that has become too large or too small to be of use is freed.
    pub(super) fn give(&mut self, storage: Vec<u8>) {
        match storage.capacity() {
            SMALL_CAPACITY..LARGE_CAPACITY if self.small.len() < SMALL_MAX => {
                self.small.push(storage);
            }
            LARGE_CAPACITY..=LARGE_CAPACITY_MAX if self.large.len() < LARGE_MAX => {
                self.large.push(storage);
            }
            _ => {}
        }
    }
}

/// Beyond this a buffer goes back to the system.
const LARGE_CAPACITY_MAX: usize = 4 * LARGE_CAPACITY;
