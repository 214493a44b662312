//! Who a Client is: asked of the shell once for each CONNECT, before anything of a session is
//! looked at and before the connection moves to the worker of its session.

use super::connect::will_message;
use super::timers::{Timer, Timers};
use super::{ConnectionKey, Core, Output};
use bytes::Bytes;
use core::net::IpAddr;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{Auth, AuthProperties, Connect, ReasonCode, Text};
use dunlin_rights::Identity;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// What it says in an exchange of enhanced authentication, if it asked for one: then this
    /// decides, and not User Name and Password.
    pub enhanced: Option<Enhanced>,
}

/// A step of enhanced authentication. Spec: §4.12.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enhanced {
    /// The Authentication Method.
    pub method: Text,
    /// The Authentication Data.
    pub data: Option<Box<[u8]>>,
    /// What the [`Decision::Challenge`] before this step wanted to be kept; `None` in the first one.
    pub state: Option<Box<[u8]>>,
    /// Whether the Client is connected already and authenticates again.
    pub is_again: bool,
}

/// Never shows the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client_identifier", &self.client_identifier)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("enhanced", &self.enhanced)
            .finish()
    }
}

/// Never shows the data.
impl fmt::Debug for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enhanced").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a login has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The Client may go on.
    Allow(Grant),
    /// The Client may go on, and gets the last Authentication Data of an exchange.
    AllowWith(Grant, Bytes),
    /// The exchange of enhanced authentication goes on.
    Challenge {
        /// The Authentication Data.
        data: Bytes,
        /// What comes back with the Client's answer, [`Enhanced::state`]; never shown to it.
        state: Box<[u8]>,
    },
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
    /// The Authentication Data of its CONNACK.
    pub(super) data: Option<Bytes>,
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
        let (owner, who) = (Owner::default(), Who::default());
        Self { connect, owner, who, expires_at: None, data: None }
    }
}

/// Where a connection is with its login.
#[derive(Debug)]
pub(super) enum LoginState {
    /// The decision is awaited, until then at the latest; so many AUTH packets have come.
    Awaited { exchange: u32, connect: Box<Connect>, until: Instant, rounds: u8 },
    /// The Client's answer to a challenge is awaited, with the same end.
    Challenged { connect: Box<Connect>, until: Instant, rounds: u8, state: Box<[u8]> },
    /// The Client, which is connected, authenticates again.
    Again(Again),
    /// The Client was let in for so long.
    Until(Instant),
    /// The Client is turned away, since the session is its owner's.
    Stranger(Box<Stranger>),
    /// The Client is turned away, since its login took too long.
    Late(LateLogin),
}

/// A Client that asked for the session of another one.
#[derive(Debug)]
pub struct Stranger {
    pub(super) client_identifier: Text,
    pub(super) owner: Owner,
    pub(super) client: Owner,
}

impl Stranger {
    /// The Client Identifier of the session.
    pub fn client_identifier(&self) -> &str {
        self.client_identifier.as_str()
    }

    /// Whose it is; empty for who is anonymous or not known.
    pub fn owner(&self) -> &str {
        self.owner.shown()
    }

    /// Who the Client is; empty for who is anonymous or not known.
    pub fn user(&self) -> &str {
        self.client.shown()
    }
}

/// Who has kept a login from its end for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LateLogin {
    /// The shell owed a decision.
    Undecided,
    /// The Client owed a step of its exchange.
    Unanswered,
}

impl LoginState {
    /// When it is to be looked at.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Awaited { until, .. } | Self::Challenged { until, .. } | Self::Until(until) => {
                Some(*until)
            }
            Self::Again(again) => Some(again.expires_at.unwrap_or(again.until).min(again.until)),
            Self::Stranger(_) | Self::Late(_) => None,
        }
    }
}

/// A re-authentication under way.
#[derive(Debug)]
pub(super) struct Again {
    /// The question that is asked; `None` while the Client's answer is awaited.
    exchange: Option<u32>,
    until: Instant,
    rounds: u8,
    state: Option<Box<[u8]>>,
    /// When the login that still counts ends.
    expires_at: Option<Instant>,
}

/// AUTH packets of a Client that one exchange may take.
const ROUNDS_MAX: u8 = 8;

/// How long nothing more is read of a Client that has authenticated again.
const REST_AFTER_LOGIN: Duration = Duration::from_millis(100);

impl Core {
    /// Asks the shell who a Client is, and holds its connection until that is known.
    pub(super) fn ask_who(&mut self, now: Instant, key: ConnectionKey, mut connect: Connect) {
        let Some(timeout) = self.login_timeout else { return };
        if let Err(reason_code) = self.check_form(&connect) {
            self.reject(now, key, reason_code);
            return;
        }
        detach(&mut connect);
        let exchange = self.next_exchange();
        let method = connect.properties.authentication_method.take();
        let data = connect.properties.authentication_data.take();
        let enhanced = method.map(|method| Enhanced {
            method: method.detached(),
            data: data.map(|data| data[..].into()),
            state: None,
            is_again: false,
        });
        let login = Box::new(Login {
            client_identifier: connect.client_identifier.clone(),
            user_name: connect.user_name.take().map(|user_name| user_name.detached()),
            password: connect.password.take().map(|password| password[..].into()),
            enhanced,
        });
        let until = now + timeout;
        let connect = Box::new(connect);
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.held = true;
        connection.login =
            Some(Box::new(LoginState::Awaited { exchange, connect, until, rounds: 0 }));
        self.watch_login(now, key);
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
        let is_awaited = connection.login.as_deref().is_some_and(|login| match login {
            LoginState::Awaited { exchange: own, .. } => *own == exchange,
            LoginState::Again(again) => again.exchange == Some(exchange),
            _ => false,
        });
        if !is_awaited {
            return;
        }
        let Some(login) = connection.login.take() else { return };
        // The broker may have ended it meanwhile.
        if connection.protocol.end().is_some() {
            return;
        }
        let (connect, until, rounds) = match *login {
            LoginState::Awaited { connect, until, rounds, .. } => (connect, until, rounds),
            LoginState::Again(again) => return self.decide_again(now, key, &again, decision),
            _ => return,
        };
        connection.held = false;
        connection.read_again_at = now;
        self.resumed.push(key);
        match decision {
            Decision::Allow(grant) => self.admit(now, key, *connect, grant, None),
            Decision::AllowWith(grant, data) => self.admit(now, key, *connect, grant, Some(data)),
            Decision::Challenge { data, state } => {
                let challenged = LoginState::Challenged { connect, until, rounds, state };
                connection.login = Some(Box::new(challenged));
                if !self.send_auth(now, key, ReasonCode::ContinueAuthentication, Some(data)) {
                    self.reject(now, key, ReasonCode::BadAuthenticationMethod);
                }
            }
            Decision::Deny(reason_code) => {
                let counters = &mut self.endpoints.counters;
                counters.logins_refused += 1;
                match reason_code {
                    ReasonCode::Banned => counters.logins_banned += 1,
                    ReasonCode::ServerBusy => counters.logins_busy += 1,
                    ReasonCode::ServerUnavailable => counters.logins_unavailable += 1,
                    _ => {}
                }
                self.reject(now, key, reason_code);
            }
        }
        self.watch(now, key);
    }

    fn admit(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        connect: Connect,
        grant: Grant,
        data: Option<Bytes>,
    ) {
        self.endpoints.counters.logins_allowed += 1;
        let Grant { identity, expires_at, address, listener } = grant;
        let owner = Owner::of(identity.user());
        let who = Who { identity, address, listener };
        self.place_connect(now, key, Admitted { connect, owner, who, expires_at, data });
    }

    fn next_exchange(&mut self) -> u32 {
        self.last_exchange = self.last_exchange.wrapping_add(1);
        self.last_exchange
    }

    /// Sends AUTH; whether that was possible.
    fn send_auth(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        reason_code: ReasonCode,
        data: Option<Bytes>,
    ) -> bool {
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return false };
        let properties = AuthProperties { authentication_data: data, ..AuthProperties::default() };
        let auth = Auth { reason_code, properties };
        connection.protocol.auth(now, auth, &mut connection.out).is_ok()
    }

    /// A step of the Client in an exchange, before its CONNACK or on the connection that stands.
    pub(super) fn handle_auth(&mut self, now: Instant, key: ConnectionKey, auth: Auth) {
        let Some(timeout) = self.login_timeout else { return };
        let exchange = self.next_exchange();
        let Some(connection) = self.endpoints.connection(key) else { return };
        let session = connection.session;
        let (client_identifier, state) = match connection.login.take().map(|login| *login) {
            Some(LoginState::Challenged { connect, until, rounds, state }) => {
                if rounds == ROUNDS_MAX {
                    return self.reject(now, key, ReasonCode::NotAuthorized);
                }
                let client_identifier = connect.client_identifier.clone();
                let rounds = rounds + 1;
                connection.held = true;
                connection.login =
                    Some(Box::new(LoginState::Awaited { exchange, connect, until, rounds }));
                (client_identifier, Some(state))
            }
            login => {
                let Some(session) = session else { return };
                let until = now + timeout;
                let (until, rounds, state, expires_at) = match login {
                    Some(LoginState::Again(Again {
                        exchange: None,
                        until,
                        rounds,
                        state,
                        expires_at,
                    })) if rounds < ROUNDS_MAX => (until, rounds + 1, state, expires_at),
                    Some(LoginState::Again(again)) => {
                        // It does not wait for our answer, or there is no end of it.
                        let is_early = again.exchange.is_some();
                        let reason_code = match is_early {
                            true => ReasonCode::ProtocolError,
                            false => ReasonCode::NotAuthorized,
                        };
                        return self.disconnect(now, key, reason_code);
                    }
                    Some(LoginState::Until(expires_at)) => (until, 0, None, Some(expires_at)),
                    _ => (until, 0, None, None),
                };
                let asked = Some(exchange);
                let again = Again { exchange: asked, until, rounds, state: None, expires_at };
                connection.login = Some(Box::new(LoginState::Again(again)));
                self.watch_login(now, key);
                (self.endpoints.sessions[session.0].client_identifier.clone(), state)
            }
        };
        let properties = auth.properties;
        let enhanced = Enhanced {
            method: properties.authentication_method.unwrap_or_default().detached(),
            data: properties.authentication_data.map(|data| data[..].into()),
            state,
            is_again: session.is_some(),
        };
        let enhanced = Some(enhanced);
        let login = Login { client_identifier, user_name: None, password: None, enhanced };
        let login = Box::new(login);
        self.outputs.push_back(Output::Authenticate { connection: key, exchange, login });
    }

    /// What a re-authentication has come to: the connection goes on as the user that it was, for
    /// as long as the new login says, or ends.
    fn decide_again(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        again: &Again,
        decision: Decision,
    ) {
        let (grant, data) = match decision {
            Decision::Allow(grant) => (grant, None),
            Decision::AllowWith(grant, data) => (grant, Some(data)),
            Decision::Challenge { data, state } => {
                let again = Again { exchange: None, state: Some(state), ..*again };
                if let Some(connection) = self.endpoints.connection(key) {
                    connection.login = Some(Box::new(LoginState::Again(again)));
                }
                if !self.send_auth(now, key, ReasonCode::ContinueAuthentication, Some(data)) {
                    self.disconnect(now, key, ReasonCode::BadAuthenticationMethod);
                }
                return;
            }
            Decision::Deny(reason_code) => {
                self.endpoints.counters.logins_refused += 1;
                let reason_code = match reason_code {
                    // CONNACK alone has it.
                    ReasonCode::BadUserNameOrPassword => ReasonCode::NotAuthorized,
                    reason_code => reason_code,
                };
                return self.disconnect(now, key, reason_code);
            }
        };
        let session = self.endpoints.connection(key).and_then(|connection| connection.session);
        let Some(session) = session else { return };
        let Grant { identity, expires_at, address, listener } = grant;
        let is_another = self.endpoints.sessions[session.0].owner != Owner::of(identity.user());
        if is_another || has_ended(now, expires_at) {
            self.endpoints.counters.logins_refused += 1;
            return self.disconnect(now, key, ReasonCode::NotAuthorized);
        }
        self.endpoints.counters.logins_allowed += 1;
        let who = Who { identity, address, listener };
        let client_identifier = self.endpoints.sessions[session.0].client_identifier.clone();
        if let Some(subject) = self.subject_of(&who, &client_identifier) {
            self.endpoints.set_subject(session, subject);
        }
        self.limit_login(now, key, expires_at);
        if !self.send_auth(now, key, ReasonCode::Success, data) {
            self.disconnect(now, key, ReasonCode::NotAuthorized);
            return;
        }
        // An exchange costs more than a message, and nothing else limits how many there are.
        self.rest(now, key, now + REST_AFTER_LOGIN);
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
        }
        self.watch_login(now, key);
    }

    /// Sets the timer of a login. However often a Client authenticates again, one counts.
    fn watch_login(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if let Some(deadline) = connection.login.as_deref().and_then(LoginState::deadline) {
            let timer_at = &mut connection.login_timer_at;
            self.timers.watch(now, deadline, timer_at, Timer::Login(key));
        }
    }

    /// Turns a Client away about which nobody has decided in time, or whose login has ended.
    pub(super) fn check_login(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if !Timers::fires(now, &mut connection.login_timer_at) {
            return;
        }
        // It has been turned away already, and its socket is about to be closed.
        if connection.protocol.end().is_some() {
            return;
        }
        match connection.login.as_deref() {
            Some(LoginState::Awaited { exchange, until, .. }) if *until <= now => {
                let exchange = *exchange;
                let decision = Decision::Deny(ReasonCode::ServerUnavailable);
                self.handle_decision(now, key, exchange, decision);
                self.note_late(key, LateLogin::Undecided);
            }
            Some(LoginState::Challenged { until, .. }) if *until <= now => {
                self.note_late(key, LateLogin::Unanswered);
                self.endpoints.counters.logins_refused += 1;
                self.reject(now, key, ReasonCode::NotAuthorized);
            }
            Some(
                LoginState::Until(expires_at)
                | LoginState::Again(Again { expires_at: Some(expires_at), .. }),
            ) if *expires_at <= now => {
                self.disconnect(now, key, ReasonCode::MaximumConnectTime);
            }
            Some(LoginState::Again(again)) if again.until <= now => {
                let (reason_code, late) = match again.exchange {
                    Some(_) => (ReasonCode::ServerBusy, LateLogin::Undecided),
                    None => (ReasonCode::NotAuthorized, LateLogin::Unanswered),
                };
                self.note_late(key, late);
                self.endpoints.counters.logins_refused += 1;
                self.disconnect(now, key, reason_code);
            }
            _ => self.watch_login(now, key),
        }
    }

    fn note_late(&mut self, key: ConnectionKey, late: LateLogin) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.login = Some(Box::new(LoginState::Late(late)));
        }
    }

    /// Whose doing it was that a login took too long, if its Client was turned away for that.
    pub fn late_login(&mut self, key: ConnectionKey) -> Option<LateLogin> {
        match self.endpoints.connection(key)?.login.as_deref() {
            Some(LoginState::Late(late)) => Some(*late),
            _ => None,
        }
    }

    /// Turns a Client away that asks for the session of another one.
    pub(super) fn reject_stranger(&mut self, now: Instant, key: ConnectionKey, stranger: Stranger) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.login = Some(Box::new(LoginState::Stranger(Box::new(stranger))));
        }
        self.reject(now, key, ReasonCode::NotAuthorized);
    }

    /// Whom a Client was turned away for the sake of, and who it is; `None` if it was not.
    pub fn stranger(&mut self, key: ConnectionKey) -> Option<&Stranger> {
        match self.endpoints.connection(key)?.login.as_deref() {
            Some(LoginState::Stranger(stranger)) => Some(stranger),
            _ => None,
        }
    }
}

/// Whether a login has ended before it was of use: on its way here, or while its CONNECT waited.
pub(super) fn has_ended(now: Instant, expires_at: Option<Instant>) -> bool {
    expires_at.is_some_and(|expires_at| expires_at <= now)
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
