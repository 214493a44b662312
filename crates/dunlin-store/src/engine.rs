//! The key-value engine: opened with the options that this store relies on, written by one thread,
//! read by any.
//!
//! What is avoided of it, because it has had faults or has none of our uses: `clear`, weak
//! deletes, key-value separation, other compactions than the levelled one. A batch is always
//! handed to the operating system: with the engine's own default, it may wait in the process.

use crate::keys::Table;
use crate::storage::Options;
use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{
    AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
    Readable, Snapshot, UserKey, UserValue,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Journals are kept until what they hold is in tables; reading them again takes the time of a
/// start after a crash.
const JOURNALS_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The engine stops a writer without end where it has four full memtables, even when those who
/// could write them have failed. So this is never let happen.
const SEALED_MAX: usize = 3;
/// As above, for tables that wait to be merged. The engine stops at 30.
const UNMERGED_MAX: usize = 26;
const MIB: u64 = 1024 * 1024;

/// A change of one row.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) table: Table,
    pub(crate) key: UserKey,
    /// The new value; `None` removes the row.
    pub(crate) value: Option<UserValue>,
}

impl Op {
    pub(crate) fn len(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len()) + 32
    }
}

/// An open database. Clones share it; it closes with the last of them.
#[derive(Clone)]
pub(crate) struct Engine {
    database: Database,
    tables: [Keyspace; Table::ALL.len()],
    /// How large all memtables together may be, about.
    memtable_bytes: u64,
}

impl Engine {
    pub(crate) fn open(folder: &Path, options: &Options) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNALS_BYTES_MAX)
            // With more, the first of them leaves merging to the others, and while they are busy it
            // takes the request off its channel and puts it back, without a pause.
            .worker_threads(1)
            .open()?;
        let [a, b, c, d, e, f, g, h, i, j, k] =
            Table::ALL.map(|table| database.keyspace(table.name(), || table_options(table)));
        let tables = [a?, b?, c?, d?, e?, f?, g?, h?, i?, j?, k?];
        Ok(Self { database, tables, memtable_bytes: options.memtable_bytes })
    }

    pub(crate) fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    /// Makes all changes or none.
    pub(crate) fn commit(&self, ops: &[Op], mode: PersistMode) -> fjall::Result<()> {
        self.wait_for_room()?;
        let batch = OwnedWriteBatch::with_capacity(self.database.clone(), ops.len());
        let mut batch = batch.durability(Some(mode));
        for op in ops {
            match &op.value {
                Some(value) => batch.insert(self.table(op.table), op.key.clone(), value.clone()),
                None => batch.remove(self.table(op.table), op.key.clone()),
            }
        }
        batch.commit()?;
        self.close_large_memtables()
    }

    /// Closes the memtables that have grown to their part of what all may have, so that they are written
    /// to tables: a database keeps the sizes that it was made with.
    fn close_large_memtables(&self) -> fjall::Result<()> {
        if self.memtable_bytes >= MEMTABLES_MIB * MIB {
            return Ok(());
        }
        for keyspace in self.large_memtables() {
            if keyspace.sealed_memtable_count() < SEALED_MAX {
                keyspace.rotate_memtable()?;
            }
        }
        Ok(())
    }

    /// The tables whose memtable has grown to its part of what all may have, those included that wait to
    /// be written.
    fn large_memtables(&self) -> impl Iterator<Item = &Keyspace> {
        let all_bytes = self.memtable_bytes / (SEALED_MAX as u64 + 1);
        let tables = Table::ALL.into_iter().zip(&self.tables);
        tables
            .filter(move |(table, keyspace)| {
                let bytes_max = all_bytes * memtable_mib(*table) / MEMTABLES_MIB;
                keyspace.tree.active_memtable().size() > bytes_max
            })
            .map(|(_, keyspace)| keyspace)
    }

    /// Whether a memtable of a small process can't be closed before others are written.
    fn has_large_memtable(&self) -> bool {
        self.memtable_bytes < MEMTABLES_MIB * MIB
            && self.large_memtables().any(|table| table.sealed_memtable_count() >= SEALED_MAX)
    }

    /// Puts all that was committed on the disk.
    pub(crate) fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncData)
    }

    /// Waits while the engine has too much to catch up with, but not for one that has failed.
    fn wait_for_room(&self) -> fjall::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let is_full = self.tables.iter().any(|table| {
                table.sealed_memtable_count() > SEALED_MAX || table.l0_table_count() > UNMERGED_MAX
            }) || self.has_large_memtable();
            if !is_full {
                return Ok(());
            }
            // Says whether the engine still works; there is nothing to be written.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(Duration::from_millis(2));
            waited += Duration::from_millis(2);
            if waited == Duration::from_secs(1) {
                tracing::warn!("the disk is too slow for what is to be stored; writing waits");
            }
        }
    }

    /// What is stored now, whatever is written meanwhile.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> fjall::Result<Option<UserValue>> {
        self.table(table).get(key)
    }

    /// A row as a snapshot has it.
    pub(crate) fn get_in(
        &self,
        snapshot: &Snapshot,
        table: Table,
        key: &[u8],
    ) -> fjall::Result<Option<UserValue>> {
        snapshot.get(self.table(table), key)
    }

    /// Writes a table anew, without what was removed from it. Its old files stay until
    /// [`Engine::delete_replaced`].
    pub(crate) fn compact(&self, table: Table) -> fjall::Result<()> {
        let table = self.table(table);
        self.rotate(table)?;
        self.wait_for_memtables(table)?;
        table.major_compact()
    }

    /// Whether files of a table were replaced and are still there.
    pub(crate) fn has_replaced(&self, table: Table) -> bool {
        self.table(table).tree.version_free_list_len() > 0
    }

    /// Whether memtables that are in tables by now may still be in memory, in a small process: earlier
    /// states of the tables hold them until [`Engine::delete_replaced`], which leaves one to the table
    /// of the counters itself.
    pub(crate) fn holds_memtables(&self) -> bool {
        let mut tables = Table::ALL.into_iter().filter(|table| *table != Table::Meta);
        self.memtable_bytes < MEMTABLES_MIB * MIB && tables.any(|table| self.has_replaced(table))
    }

    /// Deletes the files of all tables that others have replaced, but for those that a snapshot
    /// needs that was taken before the last commit.
    ///
    /// The engine does so whenever a memtable of any table has become full: after a queue has
    /// drained, perhaps never. The counters are in each commit, so their memtable is never empty.
    pub(crate) fn delete_replaced(&self) -> fjall::Result<()> {
        self.rotate(self.table(Table::Meta))
    }

    /// Closes a memtable, once those before it are written: beside the writer, nobody may bring it
    /// near the number at which the engine stops it.
    fn rotate(&self, table: &Keyspace) -> fjall::Result<()> {
        self.wait_for_memtables(table)?;
        table.rotate_memtable().map(drop)
    }

    fn wait_for_memtables(&self, table: &Keyspace) -> fjall::Result<()> {
        while table.sealed_memtable_count() > 0 {
            // Says whether those who write them still work.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// MiB of a table's memtable at most.
const fn memtable_mib(table: Table) -> u64 {
    match table {
        Table::Queue | Table::Message => 16,
        Table::State | Table::Retained | Table::Session => 4,
        _ => 2,
    }
}

/// The sum over all tables.
const MEMTABLES_MIB: u64 = 56;

fn table_options(table: Table) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_mib(table) * MIB)
        .data_block_compression_policy(CompressionPolicy::disabled());
    match table {
        // Read by ranges: larger blocks, and no filters, which only help to find single keys.
        // Each memtable has rows of all sessions, so merging one rewrites all of the next level:
        // it is done for more of them at once, and a queue is read from more tables meanwhile.
        Table::Queue => options
            .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(8)))
            .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
            .filter_policy(FilterPolicy::disabled()),
        _ => options,
    }
}
