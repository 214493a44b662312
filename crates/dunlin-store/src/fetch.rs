//! The reading thread: queues are read beside the commits, never in their way.

use crate::encoding::{Damage, Queued, QueuedHeader, State};
use crate::engine::Engine;
use crate::keys::{self, Table};
use crate::recovery::owed;
use crate::scan::scan;
use crate::shared::{End, Shared};
use bytes::Bytes;
use dunlin_broker::core::{Fetch, Fetched, Record};
use fjall::{Snapshot, UserKey, UserValue};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A Fetch, and what the committing thread knows of the queue that the rows don't tell.
pub(crate) struct Read {
    pub(crate) end: Arc<End>,
    pub(crate) fetch: Fetch,
    /// Under which number the rows are, if there are any.
    pub(crate) session: Option<u64>,
    /// Messages that are not just waiting.
    pub(crate) states: BTreeMap<u64, State>,
}

/// A row that could not be understood, for the committing thread to set aside.
pub(crate) struct DamagedRow {
    pub(crate) key: UserKey,
    pub(crate) value: UserValue,
    pub(crate) damage: Damage,
}

/// How soon to look again whether the database is open again.
const REST: Duration = Duration::from_millis(10);

/// Serves what comes, until nobody can ask any more.
pub(crate) fn run(shared: &Shared, reads: &Receiver<Read>, damaged: &Sender<DamagedRow>) {
    for read in reads {
        loop {
            let engine = shared.engine.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(engine) = &*engine {
                let fetched = serve(engine, &read, damaged);
                read.end.answer(fetched);
                break;
            }
            drop(engine);
            if shared.is_closing() {
                return;
            }
            std::thread::sleep(REST);
        }
    }
}

/// What a queue goes on with.
struct Page<'a> {
    engine: &'a Engine,
    snapshot: Snapshot,
    read: &'a Read,
    messages: Vec<Record>,
    bytes: usize,
    more: bool,
    damaged: u64,
}

fn serve(engine: &Engine, read: &Read, damaged: &Sender<DamagedRow>) -> Fetched {
    let snapshot = engine.snapshot();
    let mut page =
        Page { engine, snapshot, read, messages: Vec::new(), bytes: 0, more: false, damaged: 0 };
    let mut gaps = 0;
    if let (Some(session), Some(first)) = (read.session, read.fetch.after.checked_add(1)) {
        // A scan from the beginning of the queue would walk over all that was ever removed there.
        let from = keys::pair(session, first);
        let to = session.checked_add(1).map(u64::to_be_bytes);
        let range = (&from[..], to.as_ref().map(|to| &to[..]));
        let snapshot = page.snapshot.clone();
        let lost = scan(engine, &snapshot, Table::Queue, range, |key, value| {
            page.take(&key, &value).unwrap_or_else(|damage| {
                page.damaged += 1;
                // The committing thread is gone only when all is at its end.
                let _ = damaged.send(DamagedRow { key, value, damage });
                ControlFlow::Continue(())
            })
        });
        gaps = lost.len() as u64;
    }
    Fetched {
        session: read.fetch.session,
        messages: page.messages,
        more: page.more,
        damaged: page.damaged + gaps,
    }
}

impl Page<'_> {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<ControlFlow<()>, Damage> {
        let fetch = &self.read.fetch;
        let (_, number) = keys::split_pair(key)?;
        let state = self.read.states.get(&number).copied().unwrap_or_default();
        let is_under_way = state.packet_identifier.is_some() || state.taken;
        if is_under_way || QueuedHeader::decode(value)?.is_kept {
            return Ok(ControlFlow::Continue(()));
        }
        if self.messages.len() >= fetch.messages_max || self.bytes >= fetch.bytes_max {
            self.more = true;
            return Ok(ControlFlow::Break(()));
        }
        // One allocation for the message, of which its parts are slices.
        let queued = Queued::decode(Bytes::copy_from_slice(value))?;
        let size = queued.size as usize;
        let record =
            owed(&fetch.client_identifier, number, queued, state.tentative, |reference| {
                let row =
                    self.engine.get_in(&self.snapshot, Table::Message, &reference.to_be_bytes());
                let row = row.ok().flatten().ok_or(Damage::MissingMessage)?;
                Ok(Bytes::copy_from_slice(&row))
            })?;
        self.bytes += size;
        self.messages.push(record);
        Ok(ControlFlow::Continue(()))
    }
}
