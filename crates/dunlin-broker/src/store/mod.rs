//! Where records go that must survive: the trait, and the store that keeps nothing.

mod memory;

pub use memory::MemoryStore;

use crate::core::{Record, RecordNumber};

/// Takes the records of one worker and tells how far they are safe.
///
/// Records come in the order in which they were decided; giving them back in that order is what
/// makes recovery apply the same changes as the live path.
pub trait Store: Send {
    /// Takes records, the last of which has this number.
    fn append(&mut self, last: RecordNumber, records: Vec<Record>);

    /// Up to where records are as safe as the operator wants.
    fn stored_upto(&self) -> RecordNumber;
}
