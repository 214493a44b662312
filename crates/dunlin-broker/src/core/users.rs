//! How many connections each user has, over all workers.

use super::limits::LimitCause;
use super::login::Owner;
use super::{ConnectionKey, Core};
use dunlin_protocol::codec::Text;
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections each user has; shared by all workers of a broker, and looked at when
/// somebody comes or goes, if there is a limit.
#[derive(Clone, Debug, Default)]
pub struct UserConnections(Arc<Mutex<HashMap<Text, usize>>>);

impl UserConnections {
    fn lock(&self) -> MutexGuard<'_, HashMap<Text, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection more, unless there are so many; whether it did.
    fn enter(&self, user: &Text, max: usize) -> bool {
        let mut connections = self.lock();
        match connections.get_mut(user) {
            Some(count) if *count >= max => false,
            Some(count) => {
                *count += 1;
                true
            }
            None => {
                connections.insert(user.detached(), 1);
                true
            }
        }
    }

    fn leave(&self, user: &Text) {
        let mut connections = self.lock();
        if let Some(count) = connections.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                connections.remove(user);
            }
        }
    }
}

/// A user is known by a name that is not empty.
fn user_of(owner: &Owner) -> Option<&Text> {
    owner.name().filter(|name| !name.is_empty())
}

impl Core {
    /// Counts the connections of users together with other workers.
    pub fn share_users(&mut self, users: UserConnections) {
        self.users = users;
    }

    /// Counts a connection of a user, unless there are too many; whether it did. One that takes over
    /// from another of the same user is none more.
    pub(super) fn enter_user(&mut self, owner: &Owner, takes_over: bool) -> bool {
        let max = self.endpoints.limits.connections_per_user_max;
        let Some(user) = user_of(owner).filter(|_| max > 0) else { return true };
        // The one that it takes over from leaves right after.
        let max = max.saturating_add(usize::from(takes_over));
        let may_enter = self.users.enter(user, max);
        if !may_enter {
            self.count_limit(LimitCause::ConnectionsPerUser, 1);
        }
        may_enter
    }

    /// A connection that was counted is over, or has come to nothing.
    pub(super) fn leave_user(&self, owner: &Owner) {
        if self.endpoints.limits.connections_per_user_max > 0
            && let Some(user) = user_of(owner)
        {
            self.users.leave(user);
        }
    }

    /// Refuses the CONNECT of a connection with this Reason Code, whatever it says.
    pub(super) fn take_refusal(
        &mut self,
        key: ConnectionKey,
    ) -> Option<dunlin_protocol::codec::ReasonCode> {
        if self.refusals.is_empty() { None } else { self.refusals.remove(&key) }
    }
}
