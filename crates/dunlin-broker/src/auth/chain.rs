//! A chain of methods: the first that knows a Client decides about it.

use crate::core::{Decision, Grant, Identity, Login};
use dunlin_identity::UserName;
use dunlin_identity::certificate::CertificateField;
use dunlin_protocol::codec::ReasonCode;
use std::fmt;

/// A Client that wants to come in.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// What it says.
    pub(crate) login: Box<Login>,
    /// The certificate that it has shown and that TLS has verified, in DER.
    pub(crate) certificate: Option<Box<[u8]>>,
}

/// What one method says of a Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow(Grant),
    /// It is turned away. A method that fails says this, too: a back end that is down must not
    /// open what comes after it.
    Deny(ReasonCode),
    /// The method has never heard of it.
    NotMine,
}

/// A way to know Clients.
pub(crate) trait Method: Send + Sync + fmt::Debug {
    /// What it says without effort; `None` if it has to think.
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer>;

    /// What it says; may take a while.
    fn answer(&self, candidate: &Candidate) -> Answer;
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

    /// The decision, if it takes no effort.
    pub(crate) fn decide_at_once(&self, candidate: &Candidate) -> Option<Decision> {
        for method in &self.methods {
            if let Some(decision) = decided(method.answer_at_once(candidate)?) {
                return Some(decision);
            }
        }
        Some(UNKNOWN)
    }

    /// The decision, whatever it takes.
    pub(crate) fn decide(&self, candidate: &Candidate) -> Decision {
        let mut answers = self.methods.iter().map(|method| method.answer(candidate));
        answers.find_map(decided).unwrap_or(UNKNOWN)
    }
}

/// Nobody knows it.
const UNKNOWN: Decision = Decision::Deny(ReasonCode::BadUserNameOrPassword);

fn decided(answer: Answer) -> Option<Decision> {
    match answer {
        Answer::Allow(grant) => Some(Decision::Allow(grant)),
        Answer::Deny(reason_code) => Some(Decision::Deny(reason_code)),
        Answer::NotMine => None,
    }
}

/// Clients that have shown a certificate: its Common Name is the user.
#[derive(Debug)]
pub(crate) struct Certificate;

impl Method for Certificate {
    fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
        Some(self.answer(candidate))
    }

    fn answer(&self, candidate: &Candidate) -> Answer {
        let Some(certificate) = &candidate.certificate else { return Answer::NotMine };
        match CertificateField::CommonName.user(certificate) {
            Ok(user) => allowed(&user),
            Err(error) => {
                tracing::warn!("a client certificate names no user by its Common Name: {error}");
                Answer::Deny(ReasonCode::NotAuthorized)
            }
        }
    }
}

/// Lets in whom a method has found to be this user.
pub(super) fn allowed(user: &UserName) -> Answer {
    match Identity::new(Some(user.as_text()), []) {
        Ok(identity) => Answer::Allow(Grant::of(identity)),
        // Both have the same rules for names.
        Err(_) => Answer::Deny(ReasonCode::BadUserNameOrPassword),
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
        let Login { user_name, password, .. } = &*candidate.login;
        if self.ignores_names || (user_name.is_none() && password.is_none()) {
            return Answer::Allow(Grant::default());
        }
        Answer::NotMine
    }
}
