//! The changes of several appends as one batch: of each row only what it is in the end.

use crate::engine::Op;
use crate::keys::Table;
use fjall::{UserKey, UserValue};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Changes that are committed together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    changes: Vec<Change>,
    /// Where the change of a row is.
    places: HashMap<(Table, UserKey), usize, FixedState>,
    bytes: usize,
}

#[derive(Debug)]
struct Change {
    /// `None` when it came to nothing.
    op: Option<Op>,
    /// Whether nothing of the row was stored before this group.
    is_new: bool,
}

impl Group {
    /// Sets a row. `is_new` says for sure that it isn't stored.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>, is_new: bool) {
        self.change(table, key, Some(UserValue::from(value)), is_new);
    }

    /// Removes a row; one that was made in this group was never there.
    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) {
        self.change(table, key, None, false);
    }

    fn change(&mut self, table: Table, key: &[u8], value: Option<UserValue>, is_new: bool) {
        let key = UserKey::new(key);
        let op = Op { table, key: key.clone(), value };
        self.bytes += op.len();
        if let Some(place) = self.places.get(&(table, key.clone())) {
            let change = &mut self.changes[*place];
            self.bytes -= change.op.as_ref().map_or(0, Op::len);
            if change.is_new && op.value.is_none() {
                self.bytes -= op.len();
                change.op = None;
            } else {
                change.op = Some(op);
            }
            return;
        }
        self.places.insert((table, key), self.changes.len());
        self.changes.push(Change { op: Some(op), is_new });
    }

    /// What this group makes of a row, if it changes it: its value, or that it has none.
    pub(crate) fn value(&self, table: Table, key: &[u8]) -> Option<Option<&UserValue>> {
        let place = self.places.get(&(table, UserKey::new(key)))?;
        Some(self.changes[*place].op.as_ref().and_then(|op| op.value.as_ref()))
    }

    /// Bytes that are to be written.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes, in an order in which each row has one; the group is empty again.
    pub(crate) fn take(&mut self) -> Vec<Op> {
        self.places.clear();
        self.bytes = 0;
        self.changes.drain(..).filter_map(|change| change.op).collect()
    }
}
