//! The level `memory`: a message is safe once it is routed, as long as the process lives.

use super::Store;
use crate::core::{Record, RecordNumber};

/// Counts records and lets them go: all state lives in the workers.
#[derive(Debug, Default)]
pub struct MemoryStore {
    stored_upto: RecordNumber,
}

impl Store for MemoryStore {
    fn append(&mut self, last: RecordNumber, records: Vec<Record>) {
        drop(records);
        self.stored_upto = last;
    }

    fn stored_upto(&self) -> RecordNumber {
        self.stored_upto
    }
}
