//! What the judge looks at when its time has come.

use super::Judge;
use crate::history::ConnectionId;
use dunlin_protocol::Instant;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// The Will of this connection may be due.
    BeginWill(ConnectionId),
    /// The Will of this connection must have been published.
    SettleWill(ConnectionId),
    /// The peer of this connection may have been silent for too long.
    KeepAlive {
        /// Which connection.
        connection: ConnectionId,
        /// What it is known by: when something was taken from it the last time.
        overdue: Option<Instant>,
    },
    /// Somebody must have decided about the login of this connection.
    LoginDecided(ConnectionId),
    /// The login of a connection has ended, if it was to end then.
    LoginEnded {
        /// Which connection.
        connection: ConnectionId,
        /// When.
        until: Instant,
    },
    /// What a connection has said about itself anew was refused.
    LoginRefused(ConnectionId),
    /// The first of two members that were sent a message must be gone.
    OneMember {
        /// The message.
        number: u64,
        /// The second member's connection.
        connection: ConnectionId,
        /// The first member's.
        of: ConnectionId,
    },
}

impl Judge {
    pub(super) fn set_deadline(&mut self, at: Instant, deadline: Deadline) {
        self.deadlines.insert((at, deadline));
    }

    /// Looks at all whose time has come.
    pub(super) fn meet_deadlines(&mut self) {
        while let Some((at, deadline)) = self.deadlines.first().copied() {
            if at > self.moment.at {
                return;
            }
            self.deadlines.pop_first();
            match deadline {
                Deadline::BeginWill(id) => self.begin_due_will(id),
                Deadline::SettleWill(id) => self.settle_will(id),
                Deadline::KeepAlive { connection, overdue } => {
                    self.check_keep_alive(connection, overdue);
                }
                Deadline::LoginDecided(id) => self.check_login_decided(id),
                Deadline::LoginEnded { connection, until } => {
                    self.check_login_ended(connection, until);
                }
                Deadline::LoginRefused(id) => self.check_login_refused(id),
                Deadline::OneMember { number, connection, of } => {
                    self.judge_one_member(number, connection, of);
                }
            }
        }
    }
}
