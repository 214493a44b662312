//! The output of a connection: small parts run together, large payloads are referenced.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Payloads of at least this many bytes are referenced by a [`TransmitBuf`] instead of copied.
pub const REFERENCED_LEN_MIN: usize = 4 * 1024;
/// As [`REFERENCED_LEN_MIN`], for payloads that go to many connections: copies of those leave the
/// cache of the processor before they are written, and one payload stays there.
pub const SHARED_LEN_MIN: usize = 512;

/// Bytes that wait to be written to one connection, in their order.
///
/// ```text
/// written ──┐            ┌── referenced payloads, each at its place
/// copied:   [xxxx|head head head|head|…]
///                               ^    ^
/// ```
/// Holds no memory while empty, if its owner takes the storage back with
/// [`TransmitBuf::take_storage`].
#[derive(Debug, Default)]
pub struct TransmitBuf {
    copied: Vec<u8>,
    /// How far `copied` was written.
    written: usize,
    /// Payloads that are not copied, each with the offset in `copied` before which it belongs.
    referenced: VecDeque<(usize, Bytes)>,
    /// Bytes of them.
    referenced_len: usize,
    /// Whether payloads that come now go to many connections.
    is_shared: bool,
}

impl TransmitBuf {
    /// An empty buffer that holds no memory.
    pub const fn new() -> Self {
        Self {
            copied: Vec::new(),
            written: 0,
            referenced: VecDeque::new(),
            referenced_len: 0,
            is_shared: false,
        }
    }

    /// How many bytes wait.
    #[inline]
    pub const fn len(&self) -> usize {
        self.copied.len() - self.written + self.referenced_len
    }

    /// Whether nothing waits.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether the payloads that are put from now on go to many connections, and are
    /// referenced from [`SHARED_LEN_MIN`] bytes on.
    #[inline]
    pub const fn share(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
    }

    /// Appends a copy of the bytes.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, byte: u8) {
        self.copied.push(byte);
    }

    /// Appends a 16-bit integer, most significant byte first.
    #[inline]
    pub fn put_u16(&mut self, value: u16) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Appends a 32-bit integer, most significant byte first.
    #[inline]
    pub fn put_u32(&mut self, value: u32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Appends the bytes: a copy when they are few, a reference when they are many.
    #[inline]
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if self.copies(bytes) {
            self.put_slice(bytes);
        } else {
            self.put_reference(bytes);
        }
    }

    /// Appends a reference to the bytes.
    #[inline(never)]
    fn put_reference(&mut self, bytes: &Bytes) {
        self.referenced.push_back((self.copied.len(), bytes.clone()));
        self.referenced_len += bytes.len();
    }

    /// Makes room for this many bytes to be copied, so that a run of puts grows the buffer once.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        self.copied.reserve(additional);
    }

    /// Makes room for `head` bytes, and for `payload` if it will be copied.
    #[inline]
    pub(crate) fn reserve_for(&mut self, head: usize, payload: &Bytes) {
        let copied = if self.copies(payload) { payload.len() } else { 0 };
        self.copied.reserve(head + copied);
    }

    /// Whether [`TransmitBuf::put_bytes`] copies this payload.
    #[inline]
    pub(crate) const fn copies(&self, payload: &Bytes) -> bool {
        payload.len() < if self.is_shared { SHARED_LEN_MIN } else { REFERENCED_LEN_MIN }
    }

    /// Appends a copy of the bytes with two of them, from `at` on, replaced.
    #[inline]
    pub(crate) fn put_patched(&mut self, bytes: &[u8], at: usize, patch: [u8; 2]) {
        let from = self.copied.len() + at;
        self.put_slice(bytes);
        self.copied[from..from + 2].copy_from_slice(&patch);
    }

    /// The memory of a buffer that has copied everything and written nothing.
    pub(crate) fn into_copied(self) -> Vec<u8> {
        debug_assert!(self.written == 0 && self.referenced.is_empty());
        self.copied
    }

    /// The bytes that wait, if they lie in one piece because none of them is referenced.
    pub fn contiguous(&self) -> Option<&[u8]> {
        self.referenced.is_empty().then(|| &self.copied[self.written..])
    }

    /// The bytes that wait, as the pieces they lie in, at most as many as `pieces` holds; gives
    /// how many were filled in.
    pub fn pieces<'a>(&'a self, pieces: &mut [&'a [u8]]) -> usize {
        let mut filled = 0;
        let mut from = self.written;
        let mut put = |piece: &'a [u8]| {
            if piece.is_empty() {
                return true;
            }
            let Some(place) = pieces.get_mut(filled) else { return false };
            *place = piece;
            filled += 1;
            true
        };
        for (at, payload) in &self.referenced {
            if !put(&self.copied[from..*at]) || !put(payload) {
                return filled;
            }
            from = *at;
        }
        put(&self.copied[from..]);
        filled
    }

    /// Takes `count` bytes off the front, after they were written.
    ///
    /// # Panics
    /// When fewer bytes wait.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advanced past the end of a TransmitBuf");
        while let Some((at, payload)) = self.referenced.front_mut() {
            let copied = *at - self.written;
            if count < copied {
                break;
            }
            count -= copied;
            self.written = *at;
            if count < payload.len() {
                let _ = payload.split_to(count);
                self.referenced_len -= count;
                return;
            }
            count -= payload.len();
            self.referenced_len -= payload.len();
            self.referenced.pop_front();
        }
        self.written += count;
        if self.is_empty() {
            self.copied.clear();
            self.written = 0;
        } else if self.written > self.copied.len() / 2 && self.written >= REFERENCED_LEN_MIN {
            // Keeps a connection that never drains from growing by what it has already sent.
            self.copied.drain(..self.written);
            for (at, _) in &mut self.referenced {
                *at -= self.written;
            }
            self.written = 0;
        }
    }

    /// Gives away the memory of an empty buffer, for use by another; `None` while bytes wait.
    pub fn take_storage(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() {
            return None;
        }
        if self.referenced.capacity() != 0 {
            self.referenced = VecDeque::new();
        }
        Some(core::mem::take(&mut self.copied))
    }

    /// Gives an empty buffer memory to work with, unless it has some.
    pub fn give_storage(&mut self, mut storage: Vec<u8>) {
        if self.copied.capacity() == 0 {
            storage.clear();
            self.copied = storage;
        }
    }

    /// Moves what waits into larger memory and gives back the memory it was in, so that a buffer
    /// which grows takes over one that has grown before.
    pub fn exchange_storage(&mut self, mut storage: Vec<u8>) -> Vec<u8> {
        storage.clear();
        storage.extend_from_slice(&self.copied);
        core::mem::replace(&mut self.copied, storage)
    }

    /// Memory set aside, in bytes, referenced payloads left out.
    pub fn capacity(&self) -> usize {
        self.copied.capacity()
    }
}
