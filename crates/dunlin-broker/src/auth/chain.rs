//! A chain of methods: the first that knows a Client decides about it.

use crate::core::{Decision, Grant, Identity, Login};
use dunlin_identity::UserName;
use dunlin_identity::certificate::CertificateField;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant as Clock;

/// A Client that wants to come in.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// What it says.
    pub(crate) login: Box<Login>,
    /// The certificate that it has shown and that TLS has verified, in DER.
    pub(crate) certificate: Option<Box<[u8]>>,
    /// Where it comes from; `None` if it lives in this process.
    pub(crate) address: Option<SocketAddr>,
    /// The URL of its listener, if somebody may ask for that.
    pub(crate) listener: Option<Arc<str>>,
    /// The number of its listener.
    pub(crate) listener_number: u16,
    /// One moment by two clocks: the system's, and the one that the core reckons with.
    pub(crate) clocks: (Clock, Instant),
}

impl Candidate {
    /// The time now, as the core reckons.
    pub(super) fn now(&self) -> Instant {
        let (clock, instant) = self.clocks;
        instant + clock.elapsed()
    }

    /// One of this process that says so much.
    #[cfg(test)]
    pub(super) fn local(user_name: Option<&str>, password: Option<&[u8]>) -> Self {
        let login = Login {
            client_identifier: "one".parse().expect("text"),
            user_name: user_name.map(|user_name| user_name.parse().expect("text")),
            password: password.map(Into::into),
            enhanced: None,
        };
        Self {
            login: Box::new(login),
            certificate: None,
            address: None,
            listener: None,
            listener_number: 0,
            clocks: (Clock::now(), Instant::ZERO),
        }
    }
}

impl Candidate {
    /// Whether it may be a guess: not the certificate of a Client that says nothing else of who it
    /// is, and not an exchange on a connection that stands, which a wrong answer ends.
    pub(crate) fn may_guess(&self) -> bool {
        match &self.login.enhanced {
            Some(step) => !step.is_again,
            None => self.certificate.is_none() || has_names(&self.login),
        }
    }
}

/// Why a Client is turned away: for the log alone, the Client is never told.
pub(crate) type Why = Cow<'static, str>;

/// What one method says of a Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow(Grant),
    /// It is turned away; the log tells why. A method that fails says this, too: a back end that is
    /// down must not open what comes after it.
    Deny(ReasonCode, Why),
    /// It has proved who it is, but not in its time: it is turned away, and was no guess.
    Lapsed(Why),
    /// The exchange goes on.
    Challenge {
        data: Vec<u8>,
        state: Box<[u8]>,
    },
    /// It is let in, and gets the last data of the exchange.
    AllowWith(Grant, Vec<u8>),
    /// The method has never heard of it.
    NotMine,
}

impl Answer {
    pub(super) fn deny(reason_code: ReasonCode, why: impl Into<Why>) -> Self {
        Self::Deny(reason_code, why.into())
    }
}

/// What a chain says of a Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow(Grant),
    AllowWith(Grant, Vec<u8>),
    Challenge { data: Vec<u8>, state: Box<[u8]> },
    Deny(ReasonCode, Why),
    Lapsed(Why),
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(grant) => Self::Allow(grant),
            Verdict::AllowWith(grant, data) => Self::AllowWith(grant, data.into()),
            Verdict::Challenge { data, state } => Self::Challenge { data: data.into(), state },
            Verdict::Deny(reason_code, _) => Self::Deny(reason_code),
            Verdict::Lapsed(_) => Self::Deny(ReasonCode::BadUserNameOrPassword),
        }
    }
}

/// A way to know Clients.
pub(crate) trait Method: Send + Sync + fmt::Debug {
    /// Whether it speaks in exchanges of enhanced authentication, and there alone.
    fn is_enhanced(&self) -> bool {
        false
    }

    /// What it says without effort; `None` if it has to think.
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer>;

    /// What it says; may take a while.
    fn answer(&self, candidate: &Candidate) -> Answer;

    /// The threads on which it thinks; nothing if it never has to.
    fn bulkhead(&self) -> Option<Bulkhead> {
        None
    }

    /// What is to be said of it under `$SYS/broker/`, if that has changed since this was asked last.
    fn news(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Threads that one method has to itself: whatever it takes, others don't wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulkhead {
    /// What the threads are called.
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    /// Whether it waits for somebody who may never answer: the end of the broker does not wait for it.
    pub(crate) may_hang: bool,
}

/// Where a chain is with a Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Decided(Verdict),
    /// The method of this place has to think.
    Asks(usize),
}

/// Methods in their order.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    methods: Vec<Box<dyn Method>>,
}

impl Chain {
    pub(crate) fn push(&mut self, method: impl Method + 'static) {
        self.methods.push(Box::new(method));
    }

    /// As far as it takes no effort.
    pub(crate) fn decide_at_once(&self, candidate: &Candidate) -> Step {
        self.go_on(0, candidate)
    }

    /// Lets one method think, and goes on as far as it takes no more effort.
    pub(crate) fn ask(&self, place: usize, candidate: &Candidate) -> Step {
        match decided(self.methods[place].answer(candidate)) {
            Some(verdict) => Step::Decided(verdict),
            None => self.go_on(place + 1, candidate),
        }
    }

    fn go_on(&self, from: usize, candidate: &Candidate) -> Step {
        let is_enhanced = candidate.login.enhanced.is_some();
        for (place, method) in self.methods.iter().enumerate().skip(from) {
            if method.is_enhanced() != is_enhanced {
                continue;
            }
            let Some(answer) = method.answer_at_once(candidate) else { return Step::Asks(place) };
            if let Some(verdict) = decided(answer) {
                return Step::Decided(verdict);
            }
        }
        Step::Decided(unknown(candidate))
    }

    /// The methods, in their order.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &dyn Method> {
        self.methods.iter().map(|method| &**method)
    }
}

/// Nobody knows it.
const fn unknown(candidate: &Candidate) -> Verdict {
    match candidate.login.enhanced {
        Some(_) => Verdict::Deny(
            ReasonCode::BadAuthenticationMethod,
            Why::Borrowed(
                "nobody can log in by its Authentication Method; for SCRAM `dunlin passwd --scram` \
                 adds what users need",
            ),
        ),
        None => Verdict::Deny(
            ReasonCode::BadUserNameOrPassword,
            Why::Borrowed("nobody of this name is known"),
        ),
    }
}

fn decided(answer: Answer) -> Option<Verdict> {
    match answer {
        Answer::Allow(grant) => Some(Verdict::Allow(grant)),
        Answer::AllowWith(grant, data) => Some(Verdict::AllowWith(grant, data)),
        Answer::Challenge { data, state } => Some(Verdict::Challenge { data, state }),
        Answer::Deny(reason_code, why) => Some(Verdict::Deny(reason_code, why)),
        Answer::Lapsed(why) => Some(Verdict::Lapsed(why)),
        Answer::NotMine => None,
    }
}

/// Clients that have shown a certificate: a part of it is the user.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Which part, for each listener.
    pub(crate) fields: Vec<CertificateField>,
    /// Whether another method checks User Name and Password: who sends them is known by them, and
    /// the certificate has only opened the way.
    pub(crate) yields_to_names: bool,
}

impl Method for Certificate {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        Some(self.answer(candidate))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        let Some(certificate) = &candidate.certificate else { return Answer::NotMine };
        if self.yields_to_names && has_names(&candidate.login) {
            return Answer::NotMine;
        }
        let field = self.fields.get(usize::from(candidate.listener_number));
        let field = field.copied().unwrap_or_default();
        match field.user(certificate) {
            Ok(user) => allowed(&user),
            Err(error) => {
                let part = field.name();
                tracing::debug!("a client certificate names no user by its {part}: {error}");
                Answer::deny(ReasonCode::NotAuthorized, nameless(field))
            }
        }
    }
}

const fn nameless(field: CertificateField) -> &'static str {
    match field {
        CertificateField::Dns => "the certificate names no user by a DNS name",
        CertificateField::Uri => "the certificate names no user by a URI",
        CertificateField::Email => "the certificate names no user by an e-mail address",
        CertificateField::Subject => "the certificate names no user by its subject",
        _ => "the certificate names no user by its Common Name",
    }
}

/// Lets in whom a method has found to be this user.
pub(super) fn allowed(user: &UserName) -> Answer {
    match Identity::new(Some(user.as_text()), []) {
        Ok(identity) => Answer::Allow(Grant::of(identity)),
        // Both have the same rules for names.
        Err(_) => Answer::deny(ReasonCode::BadUserNameOrPassword, "the user has no legal name"),
    }
}

/// Clients that say nothing of who they are.
#[derive(Debug)]
pub(crate) struct Anonymous {
    /// Whether User Name and Password mean nothing, since nobody checks them.
    pub(crate) ignores_names: bool,
}

impl Method for Anonymous {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        Some(self.answer(candidate))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        if self.ignores_names || !has_names(&candidate.login) {
            return Answer::Allow(Grant::default());
        }
        Answer::NotMine
    }
}

/// Whether a Client says who it is.
fn has_names(login: &Login) -> bool {
    login.user_name.is_some() || login.password.is_some()
}
