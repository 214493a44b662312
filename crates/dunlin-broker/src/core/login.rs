//! Who a Client is: asked of the shell once for each CONNECT, before anything of a session is
//! looked at and before the connection moves to the worker of its session.

use super::connect::will_message;
use super::timers::Timer;
use super::{ConnectionKey, Core, Output};
use core::net::IpAddr;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{Connect, ReasonCode, Text};
use dunlin_rights::Identity;
use std::fmt;
use std::sync::Arc;

/// What a Client says about itself when it connects. The shell knows more: where it comes from,
/// and the certificate that it has shown.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// Its Client Identifier; empty if the broker is to choose one.
    pub client_identifier: Text,
    /// Its User Name.
    pub user_name: Option<Text>,
    /// Its Password.
    pub password: Option<Box<[u8]>>,
}

/// Never shows the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client_identifier", &self.client_identifier)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}

/// What a login has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The Client may go on.
    Allow(Grant),
    /// The Client is turned away with this Reason Code, or what MQTT 3.x has in its place.
    Deny(ReasonCode),
}

/// What a Client that is let in gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// When it must have logged in again: its connection ends then with 0xA0 (Maximum connect
    /// time).
    pub expires_at: Option<Instant>,
    /// The address that it comes from, for rules that ask for it.
    pub address: Option<IpAddr>,
    /// The listener that it came in by, for rules that ask for it.
    pub listener: Option<Arc<str>>,
}

impl Grant {
    /// For a Client that is this one, until it leaves.
    pub fn of(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), ..Self::default() }
    }
}

/// Whose a session is. Nobody else gets at it by its Client Identifier.
///
/// Not known is the owner of a session that was made while nobody was asked: it goes to the first
/// who logs in for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner(Option<Arc<Text>>);

impl Owner {
    /// A user, or all who are anonymous; no user's name is empty.
    fn of(user: Option<&Text>) -> Self {
        Self(Some(Arc::new(user.cloned().unwrap_or_default())))
    }

    /// As it is stored.
    pub(super) fn stored(name: Option<Text>) -> Self {
        Self(name.map(Arc::new))
    }

    /// The user, empty for all who are anonymous; `None` if nobody knows.
    pub(super) fn name(&self) -> Option<&Text> {
        self.0.as_deref()
    }

    /// Whether a session of this owner may go to a Client that logged in as that one. Where nobody
    /// is asked any more, it goes to anybody.
    pub(super) fn admits(&self, client: &Self, anonymous_may_claim: bool) -> bool {
        match (self.name(), client.name()) {
            (_, None) => true,
            (None, Some(user)) => anonymous_may_claim || !user.is_empty(),
            (Some(owner), Some(user)) => owner == user,
        }
    }

    fn shown(&self) -> &str {
        self.name().map_or("", Text::as_str)
    }

    /// A session whose owner is not known goes to who takes it up.
    pub(super) fn claim(&mut self, client: &Self) {
        if self.0.is_none() {
            self.0.clone_from(&client.0);
        }
    }
}

/// A CONNECT and who has sent it.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) connect: Connect,
    pub(super) owner: Owner,
    pub(super) who: Who,
    pub(super) expires_at: Option<Instant>,
}

/// What rules may ask of a Client beside its Client Identifier.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) identity: Arc<Identity>,
    pub(super) address: Option<IpAddr>,
    pub(super) listener: Option<Arc<str>>,
}

impl Admitted {
    /// A Client that nobody asks who it is.
    pub(super) fn unasked(connect: Connect) -> Self {
        Self { connect, owner: Owner::default(), who: Who::default(), expires_at: None }
    }
}

/// Where a connection is with its login.
#[derive(Debug)]
pub(super) enum LoginState {
    /// The decision is awaited, until then at the latest.
    Awaited { exchange: u32, connect: Box<Connect>, until: Instant },
    /// The Client was let in for so long.
    Until(Instant),
    /// The Client is turned away, since the session is its owner's.
    Stranger { owner: Owner, client: Owner },
}

impl Core {
    /// Asks the shell who a Client is, and holds its connection until that is known.
    pub(super) fn ask_who(&mut self, now: Instant, key: ConnectionKey, mut connect: Connect) {
        let Some(timeout) = self.login_timeout else { return };
        if let Err(reason_code) = self.check_form(&connect) {
            self.reject(now, key, reason_code);
            return;
        }
        detach(&mut connect);
        self.last_exchange = self.last_exchange.wrapping_add(1);
        let exchange = self.last_exchange;
        let login = Box::new(Login {
            client_identifier: connect.client_identifier.clone(),
            user_name: connect.user_name.take().map(|user_name| user_name.detached()),
            password: connect.password.take().map(|password| password[..].into()),
        });
        let until = now + timeout;
        let connect = Box::new(connect);
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.held = true;
        connection.login = Some(Box::new(LoginState::Awaited { exchange, connect, until }));
        self.timers.set(until, Timer::Login(key));
        self.outputs.push_back(Output::Authenticate { connection: key, exchange, login });
    }

    /// What [`Output::Authenticate`] has come to. A decision that comes too late, twice, or for a
    /// connection that is gone changes nothing.
    pub fn handle_decision(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        exchange: u32,
        decision: Decision,
    ) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        let is_awaited = connection.login.as_deref().is_some_and(
            |login| matches!(login, LoginState::Awaited { exchange: own, .. } if *own == exchange),
        );
        if !is_awaited {
            return;
        }
        let Some(login) = connection.login.take() else { return };
        let LoginState::Awaited { connect, .. } = *login else { return };
        // The broker may have ended it meanwhile.
        if connection.protocol.end().is_some() {
            return;
        }
        connection.held = false;
        connection.read_again_at = now;
        self.resumed.push(key);
        match decision {
            Decision::Allow(Grant { identity, expires_at, address, listener }) => {
                self.endpoints.counters.logins_allowed += 1;
                let owner = Owner::of(identity.user());
                let who = Who { identity, address, listener };
                let admitted = Admitted { connect: *connect, owner, who, expires_at };
                self.place_connect(now, key, admitted);
            }
            Decision::Deny(reason_code) => {
                let counters = &mut self.endpoints.counters;
                counters.logins_refused += 1;
                counters.logins_banned += u64::from(reason_code == ReasonCode::Banned);
                self.reject(now, key, reason_code);
            }
        }
        self.watch(now, key);
    }

    /// From now on the connection ends when its login does.
    pub(super) fn limit_login(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        expires_at: Option<Instant>,
    ) {
        let Some(expires_at) = expires_at else { return };
        if let Some(connection) = self.endpoints.connection(key) {
            connection.login = Some(Box::new(LoginState::Until(expires_at)));
            self.timers.set_towards(now, expires_at, Timer::LoginEnd(key));
        }
    }

    /// Turns a Client away about which nobody has decided in time.
    pub(super) fn check_login(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if let Some(LoginState::Awaited { exchange, until, .. }) = connection.login.as_deref()
            && *until <= now
        {
            let exchange = *exchange;
            let decision = Decision::Deny(ReasonCode::ServerUnavailable);
            self.handle_decision(now, key, exchange, decision);
        }
    }

    /// Turns a Client away that asks for the session of another one.
    pub(super) fn reject_stranger(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        owner: Owner,
        client: Owner,
    ) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.login = Some(Box::new(LoginState::Stranger { owner, client }));
        }
        self.reject(now, key, ReasonCode::NotAuthorized);
    }

    /// The owner of the session that a Client was turned away for the sake of, and who that Client
    /// is; names are empty for who is anonymous or not known. `None` if it was not.
    pub fn stranger(&mut self, key: ConnectionKey) -> Option<(&str, &str)> {
        let connection = self.endpoints.connection(key)?;
        let Some(LoginState::Stranger { owner, client }) = connection.login.as_deref() else {
            return None;
        };
        Some((owner.shown(), client.shown()))
    }

    /// Ends a connection whose login has.
    pub(super) fn check_login_end(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        let Some(LoginState::Until(expires_at)) = connection.login.as_deref() else { return };
        let expires_at = *expires_at;
        if expires_at <= now {
            self.disconnect(now, key, ReasonCode::MaximumConnectTime);
        } else {
            self.timers.set_towards(now, expires_at, Timer::LoginEnd(key));
        }
    }
}

/// What waits for a decision must not pin the buffer that it was read into.
fn detach(connect: &mut Connect) {
    connect.client_identifier = connect.client_identifier.detached();
    connect.properties.user_properties = Default::default();
    if let Some(will) = &mut connect.will {
        let message = will_message(will).detached();
        will.topic_name = message.topic_name;
        will.payload = message.payload;
        if let Some(properties) = message.properties {
            will.properties.message = Arc::unwrap_or_clone(properties);
        }
    }
}
