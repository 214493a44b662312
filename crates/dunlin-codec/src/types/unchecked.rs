//! The one place of this crate where the compiler has to be believed: bytes that were checked
//! once are not checked again each time they are looked at.
//!
//! Topic Names are looked at as strings several times for each message; checking one of 26 bytes
//! again took 12 ns each time, a quarter of what matching it may cost.

#![allow(unsafe_code)]

/// The bytes as a string.
///
/// Only `Text` calls this, with the bytes it was made from: every way to make one goes through
/// `text::check`, and neither `Bytes` nor those that a `Text` holds in place ever change.
#[inline]
pub(super) fn as_str(checked: &[u8]) -> &str {
    debug_assert!(core::str::from_utf8(checked).is_ok());
    // SAFETY: `checked` is well-formed UTF-8, as the caller's type guarantees.
    unsafe { core::str::from_utf8_unchecked(checked) }
}
