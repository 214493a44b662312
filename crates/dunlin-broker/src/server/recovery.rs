//! What was stored becomes the state of the workers, before anybody connects.

use super::builder::since_epoch;
use crate::core::{Output, owner};
use crate::store::Storage;
use crate::worker::WorkerParts;

/// Gives the workers what was stored and, before anybody connects, what they have to tell each
/// other of it.
pub(super) fn recover(
    mut storage: Box<dyn Storage>,
    parts: &mut [WorkerParts],
    seed: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let workers = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let now = since_epoch();
    storage.recover(&mut |record| {
        let of = record.client_identifier();
        let worker = of.map_or(0, |of| usize::from(owner(of, workers, seed).0));
        parts[worker].core.recover(now, record);
    })?;
    parts[0].core.count_damaged(storage.lost());
    for parts in &mut *parts {
        let waker = parts.peers[usize::from(parts.number.0)].waker.clone();
        parts.store = Some(storage.open(parts.number, waker));
        parts.core.finish_recovery(now);
    }
    while parts.iter().any(|parts| parts.core.has_work()) {
        for at in 0..parts.len() {
            while let Some(output) = parts[at].core.poll_output() {
                match output {
                    Output::Store { last, records, durability } => {
                        if let Some(store) = &mut parts[at].store {
                            store.append(last, records, durability);
                        }
                    }
                    Output::Fetch(fetch) => {
                        if let Some(store) = &mut parts[at].store {
                            store.fetch(fetch);
                        }
                    }
                    Output::Forward { worker, mut batch } => {
                        let (from, to) = (parts[at].number, usize::from(worker.0));
                        while !parts[to].core.handle_batch(now, from, &mut batch) {}
                    }
                    // There are no connections.
                    Output::Close(_) | Output::Move { .. } | Output::Authenticate { .. } => {}
                }
            }
        }
    }
    Ok(())
}
