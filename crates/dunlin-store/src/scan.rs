//! Reading ranges of rows past places that can't be read.

use crate::engine::Engine;
use crate::keys::Table;
use crate::loss::Loss;
use fjall::{Readable, Snapshot, UserKey, UserValue};
use std::ops::{Bound, ControlFlow};

/// Gives the rows from a key up to another (excluded; `None` is the end of the table), in their
/// order, until `each` breaks. Where the disk or a checksum fails, it goes on at the next key that
/// can be read; gives these gaps.
pub(crate) fn scan(
    engine: &Engine,
    snapshot: &Snapshot,
    table: Table,
    (from, to): (&[u8], Option<&[u8]>),
    mut each: impl FnMut(UserKey, UserValue) -> ControlFlow<()>,
) -> Vec<Loss> {
    let mut gaps = Vec::new();
    let mut start = Bound::Included(from.to_vec());
    let end = to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.to_vec()));
    loop {
        let mut last = None;
        let mut failure = None;
        for row in snapshot.range(engine.table(table), (start.clone(), end.clone())) {
            match row.into_inner() {
                Ok((key, value)) => {
                    if last.is_none()
                        && let Some(Loss::Gap { before, .. }) = gaps.last_mut()
                    {
                        *before = Some(key.to_vec());
                    }
                    last = Some(key.clone());
                    if each(key, value).is_break() {
                        return gaps;
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let Some(error) = failure else { return gaps };
        let at = match (&last, &start) {
            (Some(last), _) => last.to_vec(),
            (None, Bound::Included(start) | Bound::Excluded(start)) => start.clone(),
            (None, Bound::Unbounded) => Vec::new(),
        };
        tracing::error!(
            table = table.name(), ?error, after = ?last.as_deref().unwrap_or(&at),
            "a part of the store can't be read; what is behind it goes on"
        );
        match (gaps.last_mut(), &last) {
            // Nothing could be read since: it is the same one.
            (Some(_), None) => {}
            _ => gaps.push(Loss::Gap {
                table: table.name(),
                files: engine.table(table).path().to_path_buf(),
                after: at.clone(),
                before: None,
            }),
        }
        let is_readable = |from: &[u8]| {
            let range = (Bound::Included(from.to_vec()), end.clone());
            snapshot.range(engine.table(table), range).next().is_none_or(|row| row.key().is_ok())
        };
        let Some(next) = readable_after(&at, is_readable) else { return gaps };
        start = Bound::Included(next);
    }
}

/// Finds about the first key behind a damaged place from which reading works: keys are taken for
/// numbers, by their first 16 bytes.
fn readable_after(at: &[u8], is_readable: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut first = [0; 16];
    let len = at.len().min(16);
    first[..len].copy_from_slice(&at[..len]);
    let base = u128::from_be_bytes(first);
    let key = |distance: u128| base.checked_add(distance).map(u128::to_be_bytes);
    let mut unreadable = 0;
    let mut readable = 1;
    while !is_readable(&key(readable)?) {
        unreadable = readable;
        readable = readable.checked_mul(2)?;
    }
    while readable - unreadable > 1 {
        let middle = unreadable + (readable - unreadable) / 2;
        if is_readable(&key(middle)?) {
            readable = middle;
        } else {
            unreadable = middle;
        }
    }
    key(readable).map(|key| key.to_vec())
}
