//! What was dropped for each Client, and which of it `$SYS` has yet to tell.

use super::counters::DropCause;
use super::endpoints::Endpoints;
use super::granted::SessionKey;
use dunlin_protocol::codec::Text;
use std::collections::VecDeque;

/// Messages that did not reach one session, by cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Drops {
    counts: [u64; DropCause::ALL.len()],
    /// Whether it is among those to be told.
    is_listed: bool,
}

impl Drops {
    /// How many for each cause that there was.
    pub(super) fn counts(&self) -> Vec<(DropCause, u64)> {
        let counts = DropCause::ALL.into_iter().zip(self.counts);
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// The Clients for whom messages were dropped since they were last told of.
#[derive(Debug, Default)]
pub(super) struct DropList {
    /// Sessions, each with its generation.
    sessions: VecDeque<(SessionKey, u32)>,
    /// Sessions that have ended since.
    ended: Vec<(Text, Box<Drops>)>,
}

/// Sessions that have ended and are told of nonetheless, until the next time.
const ENDED_MAX: usize = 100;

impl Endpoints {
    /// A message did not reach a session: counted for the worker, and for the session.
    pub(super) fn drop_for(&mut self, key: SessionKey, cause: DropCause) {
        self.drop_many_for(key, cause, 1);
    }

    /// As [`Endpoints::drop_for`], for so many messages.
    pub(super) fn drop_many_for(&mut self, key: SessionKey, cause: DropCause, count: u64) {
        if count == 0 {
            return;
        }
        self.counters.drop_many(cause, count);
        let generation = self.sessions.generation(key.0);
        let Some(session) = self.sessions.get_mut(key.0) else { return };
        let drops = session.drops.get_or_insert_default();
        drops.counts[cause as usize] += count;
        if !drops.is_listed && self.limits.sys_interval_secs > 0 {
            drops.is_listed = true;
            self.drop_list.sessions.push_back((key, generation));
        }
    }

    /// A session has ended, of which something may be left to tell.
    pub(super) fn keep_drops(&mut self, client_identifier: &Text, drops: Option<Box<Drops>>) {
        if let Some(drops) = drops.filter(|drops| drops.is_listed)
            && self.drop_list.ended.len() < ENDED_MAX
        {
            self.drop_list.ended.push((client_identifier.clone(), drops));
        }
    }

    /// Takes up to so many Clients for whom messages were dropped since they were last taken, each
    /// with what was dropped in its session so far.
    pub(super) fn take_drops(&mut self, max: usize) -> Vec<(Text, Vec<(DropCause, u64)>)> {
        let mut ended = std::mem::take(&mut self.drop_list.ended);
        ended.truncate(max);
        let mut taken: Vec<_> =
            ended.into_iter().map(|(client, drops)| (client, drops.counts())).collect();
        let sessions = &self.sessions;
        let is_there =
            |(key, generation): &(SessionKey, u32)| sessions.is_current(key.0, *generation);
        self.drop_list.sessions.retain(is_there);
        while taken.len() < max
            && let Some((key, _)) = self.drop_list.sessions.pop_front()
        {
            let session = &mut self.sessions[key.0];
            if let Some(drops) = &mut session.drops {
                drops.is_listed = false;
                taken.push((session.client_identifier.clone(), drops.counts()));
            }
        }
        taken
    }
}
