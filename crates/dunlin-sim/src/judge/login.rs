//! Logins: who was let in as whom and until when, and whose sessions are.

use super::Judge;
use super::connections::Stage;
use super::deadlines::Deadline;
use super::moment::Presence;
use super::promise::Promise;
use super::sessions::LifeId;
use crate::history::{ConnectionId, LoginAnswer};
use dunlin_codec::{Auth, ReasonCode};
use dunlin_protocol::Instant;
use std::sync::Arc;
use std::time::Duration;

/// How long nothing is read of a Client that has authenticated again.
const REST: Duration = Duration::from_millis(100);

/// A user; `None` is anybody who is anonymous.
pub(super) type User = Option<Arc<str>>;

/// What is known of a connection's login.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    /// As whom it was let in.
    pub(super) user: User,
    pub(super) is_allowed: bool,
    /// Why it was not.
    pub(super) denied: Option<ReasonCode>,
    /// When it must be over.
    until: Option<Instant>,
    /// What it said when it authenticated again was of no use.
    must_end: bool,
    /// It authenticates again.
    is_again: bool,
    /// Whether the session that it asked for may have been another user's then.
    was_foreign: bool,
}

impl Judge {
    /// Whether somebody asks who Clients are.
    fn asks(&self) -> bool {
        self.rules.login_limit.is_some()
    }

    /// Whether a CONNECT may be decided about at all: nobody has to know more about its Client.
    pub(super) fn is_let_in(&self, id: ConnectionId) -> bool {
        !self.asks()
            || self.is_stranger(id)
            || self.connections.get(&id).is_some_and(|connection| connection.login.is_allowed)
    }

    pub(super) fn on_login_asked(&mut self, id: ConnectionId) {
        if let Some(limit) = self.rules.login_limit {
            let at = self.moment.at + limit + self.rules.lateness;
            self.set_deadline(at, Deadline::LoginDecided(id));
        }
    }

    pub(super) fn on_login_answered(&mut self, id: ConnectionId, answer: LoginAnswer<'_>) {
        let ends_by = self.moment.at + self.rules.lateness;
        let life = self.life_of(id);
        let owner = life.and_then(|life| self.sessions.life(life).owner.clone());
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.over.is_some() {
            return;
        }
        let is_accepted = connection.stage == Stage::Accepted;
        let login = &mut connection.login;
        // Whose session it is decides who is believed.
        login.is_again &= is_accepted && owner.is_none();
        let denied = match answer {
            LoginAnswer::Denied(reason_code) => Some(reason_code),
            // It has ended before anybody heard of it.
            LoginAnswer::Allowed { until: Some(until), .. } if until <= self.moment.at => {
                Some(ReasonCode::NotAuthorized)
            }
            LoginAnswer::Allowed { .. } => None,
        };
        let (user, until) = match (answer, denied) {
            (LoginAnswer::Allowed { user, until }, None) => (user, until),
            (_, denied) => {
                if is_accepted {
                    login.must_end = true;
                    self.set_deadline(ends_by, Deadline::LoginRefused(id));
                } else {
                    login.denied = denied;
                }
                return;
            }
        };
        let user: User = user.map(Arc::from);
        if is_accepted && owner.is_some_and(|owner| owner != user) {
            login.must_end = true;
            self.set_deadline(ends_by, Deadline::LoginRefused(id));
            return;
        }
        if !is_accepted {
            login.user = user;
        }
        login.is_allowed = true;
        if is_accepted {
            // The broker does not read it for a while: its silence is the broker's own until then.
            connection.last_heard = self.moment.at + REST;
        }
        let login = &mut connection.login;
        login.until = until;
        if let Some(until) = until {
            let at = until.max(self.moment.at) + self.rules.lateness;
            self.set_deadline(at, Deadline::LoginEnded { connection: id, until });
        }
    }

    /// Nobody has decided about a CONNECT by now: it must have been turned away.
    pub(super) fn check_login_decided(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let login = &connection.login;
        let is_decided = login.is_allowed || login.denied.is_some();
        if connection.stage == Stage::Open && connection.over.is_none() && !is_decided {
            let text = "nobody has decided about its login, and it still waits".into();
            self.breach(Promise::Login, &[id], text);
        }
    }

    /// A login has ended: its connection must have, too.
    pub(super) fn check_login_ended(&mut self, id: ConnectionId, until: Instant) {
        let Some(connection) = self.connections.get(&id) else { return };
        // One that is not accepted has nothing to lose.
        if connection.is_live() && connection.login.until == Some(until) {
            let text = format!("its login has ended at {until}, and it is still there");
            self.breach(Promise::Login, &[id], text);
        }
    }

    /// Its Client has authenticated again, and must not have been believed.
    pub(super) fn check_login_refused(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| connection.over.is_none()) {
            let text = "what it said about itself is refused, and it is still there".into();
            self.breach(Promise::Login, &[id], text);
        }
    }

    /// Something is taken from a connection: its login still counts.
    pub(super) fn watch_login(&mut self, id: ConnectionId) {
        let now = self.moment.at;
        let Some(connection) = self.connections.get(&id) else { return };
        let until = connection.login.until.filter(|_| connection.stage == Stage::Accepted);
        if let Some(until) = until.filter(|until| now > *until + self.rules.lateness) {
            let text = format!("taken after its login has ended at {until}");
            self.breach(Promise::Login, &[id], text);
        }
    }

    pub(super) fn on_auth_taken(&mut self, id: ConnectionId, auth: &Auth) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.login.is_again |= auth.reason_code == ReasonCode::ReAuthenticate;
        }
    }

    /// The broker ends a connection for the sake of its login.
    pub(super) fn watch_login_disconnect(&mut self, id: ConnectionId, reason_code: ReasonCode) {
        let now = self.moment.at;
        let Some(connection) = self.connections.get(&id) else { return };
        let login = &connection.login;
        let text = match reason_code {
            ReasonCode::MaximumConnectTime if login.until.is_none_or(|until| until > now) => {
                format!("ended at {now}, its login counts until {:?}", login.until)
            }
            ReasonCode::NotAuthorized
                if connection.is_v5() && !login.must_end && !login.is_again =>
            {
                "ended for want of a right, and nobody has refused it".to_owned()
            }
            _ => return,
        };
        if !self.is_stranger(id) {
            self.breach(Promise::Login, &[id], text);
        }
    }

    /// Whether the login of a connection may have ended before its CONNECT was decided about.
    pub(super) fn may_be_late(&self, id: ConnectionId) -> bool {
        let until = self.connections.get(&id).and_then(|connection| connection.login.until);
        until.is_some_and(|until| until <= self.moment.at)
    }

    /// Whether a session may be another user's, for a CONNECT that was taken then.
    pub(super) fn foreign(&self, id: ConnectionId) -> Presence {
        let Some(connection) = self.connections.get(&id) else { return Presence::Possible };
        let (Some(client), Some(asked)) = (connection.client, connection.asked.as_ref()) else {
            return Presence::Possible;
        };
        let known = &self.sessions.clients[client.0 as usize];
        let Some(life) = known.life else {
            return if known.is_tangled { Presence::Possible } else { Presence::Absent };
        };
        let life = self.sessions.life(life);
        let Some(owner) = &life.owner else { return Presence::Possible };
        let is_own = *owner == connection.login.user;
        let was_there = life.attached.iter().any(|attached| {
            self.connections.get(attached).is_some_and(|attached| attached.over.is_none())
        });
        let presence = match was_there {
            // It ends with its connection, and that is there.
            true => Presence::Certain,
            false => life.presence(asked.taken.at, self.moment.at, self.rules.lateness),
        };
        match presence {
            _ if known.is_tangled || (life.in_doubt && presence > Presence::Absent) => {
                Presence::Possible
            }
            Presence::Absent => Presence::Absent,
            _ if is_own => Presence::Absent,
            presence => presence,
        }
    }

    /// A CONNECT was taken.
    pub(super) fn note_foreign(&mut self, id: ConnectionId) {
        let was_foreign = self.asks() && self.foreign(id) > Presence::Absent;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.login.was_foreign = was_foreign;
        }
    }

    /// Whether a CONNECT may have been refused for whose the session is.
    pub(super) fn may_be_foreign(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.login.was_foreign)
            || self.foreign(id) > Presence::Absent
    }

    /// Who is let in was let in, and has a session of his own.
    pub(super) fn judge_connack_login(&mut self, id: ConnectionId, reason_code: ReasonCode) {
        if !self.asks() || self.is_stranger(id) {
            return;
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let is_accepted = !reason_code.is_error();
        let denied = connection.login.denied;
        let until = connection.login.until;
        let is_late = until.is_some_and(|until| until + self.rules.lateness < self.moment.at);
        let text = if is_accepted && denied.is_some() {
            "accepted, and its login was denied".to_owned()
        } else if is_accepted && !connection.login.is_allowed {
            "accepted, and nobody has said who it is".to_owned()
        } else if is_accepted && is_late && connection.over.is_none() {
            "accepted after its login has ended".to_owned()
        } else if is_accepted && self.foreign(id) == Presence::Certain {
            "accepted to the session of another user".to_owned()
        } else if let Some(denied) = denied.filter(|denied| *denied != reason_code)
            && connection.is_v5()
        {
            format!("refused with {reason_code}, and its login was denied with {denied}")
        } else {
            return;
        };
        self.breach(Promise::Login, &[id], text);
    }

    /// A session that somebody may have taken up whom nobody has told so: whose it is may not be
    /// known any more.
    pub(super) fn doubt_owner(&mut self, id: ConnectionId, life: LifeId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (user, subject) = (Some(connection.login.user.clone()), connection.subject);
        let asks = self.asks();
        let life = self.sessions.life_mut(life);
        if asks && life.owner != user {
            life.owner = None;
        }
        life.is_subject_unsure |= life.subject != subject;
    }
}
