//! Judges logins by a chain, tells of those that fail, and slows those that fail again and again.

use super::chain::{Candidate, Chain, Verdict};
use super::damping::Damping;
use super::refusals::RefusalLog;
use crate::core::Decision;
use dunlin_protocol::codec::ReasonCode;
use std::time::{Duration, Instant as Clock};

/// Who decides about logins, on whatever thread.
#[derive(Debug)]
pub(crate) struct Judge {
    chain: Chain,
    refusals: RefusalLog,
    damping: Option<Damping>,
}

/// A decision, and how long it is to wait before it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) decision: Decision,
    pub(crate) delay: Duration,
}

/// Whose address is refused.
const BANNED: Verdict =
    Verdict::Deny(ReasonCode::Banned, "too many logins from its address have failed");

impl Judge {
    pub(crate) fn new(chain: Chain, damping: Option<Damping>, now: Clock) -> Self {
        Self { chain, refusals: RefusalLog::new(now), damping }
    }

    /// The log of those that are refused.
    pub(crate) const fn refusals(&self) -> &RefusalLog {
        &self.refusals
    }

    /// The ruling, if it takes no effort.
    pub(crate) fn decide_at_once(&self, now: Clock, candidate: &Candidate) -> Option<Ruling> {
        let verdict = match self.refuses(now, candidate) {
            true => BANNED,
            false => self.chain.decide_at_once(candidate)?,
        };
        Some(self.pronounce(now, candidate, verdict))
    }

    /// The ruling, whatever it takes.
    pub(crate) fn decide(&self, now: Clock, candidate: &Candidate) -> Ruling {
        // Others from its address may have failed while it waited.
        let verdict = match self.refuses(now, candidate) {
            true => BANNED,
            false => self.chain.decide(candidate),
        };
        self.pronounce(now, candidate, verdict)
    }

    fn refuses(&self, now: Clock, candidate: &Candidate) -> bool {
        let (Some(damping), Some(address)) = (&self.damping, candidate.address) else {
            return false;
        };
        candidate.may_guess() && damping.refuses(now, address.ip())
    }

    fn pronounce(&self, now: Clock, candidate: &Candidate, verdict: Verdict) -> Ruling {
        if let Verdict::Deny(_, why) = verdict {
            self.refusals.tell(candidate, why);
        }
        let mut delay = Duration::ZERO;
        if let (Some(damping), Some(address)) = (&self.damping, candidate.address) {
            match &verdict {
                Verdict::Allow(grant) | Verdict::AllowWith(grant, _)
                    if grant.identity.user().is_some() && candidate.may_guess() =>
                {
                    damping.handle_success(now, address.ip());
                }
                Verdict::Deny(ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized, _) => {
                    delay = damping.handle_failure(now, address.ip());
                }
                // A ban is no failure of its own, and a back end that is down none of the Client.
                _ => {}
            }
        }
        Ruling { decision: verdict.into(), delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::chain::{Answer, Method};
    use crate::core::{Enhanced, Grant, Identity, Login};
    use dunlin_protocol::Instant;

    /// Knows who has the right password; that of nobody takes thought.
    #[derive(Debug)]
    struct Password;

    impl Method for Password {
        fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
            candidate.login.password.as_ref()?;
            Some(self.answer(candidate))
        }

        fn answer(&self, candidate: &Candidate) -> Answer {
            if candidate.login.password.as_deref() == Some(b"right") {
                return Answer::Allow(Grant::of(Identity::new(Some("gauge"), []).unwrap()));
            }
            Answer::Deny(ReasonCode::BadUserNameOrPassword, "wrong")
        }
    }

    /// Everybody proves who they are.
    #[derive(Debug)]
    struct Proven;

    impl Method for Proven {
        fn is_enhanced(&self) -> bool {
            true
        }

        fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
            Some(self.answer(candidate))
        }

        fn answer(&self, _: &Candidate) -> Answer {
            Answer::Allow(Grant::of(Identity::new(Some("gauge"), []).unwrap()))
        }
    }

    fn candidate(address: Option<&str>, password: Option<&str>) -> Candidate {
        let login = Login {
            client_identifier: "one".parse().unwrap(),
            user_name: Some("gauge".parse().unwrap()),
            password: password.map(|password| password.as_bytes().into()),
            enhanced: None,
        };
        let address = address.map(|address| address.parse().unwrap());
        let clocks = (Clock::now(), Instant::ZERO);
        Candidate { login: Box::new(login), certificate: None, address, clocks }
    }

    #[test]
    fn an_address_that_guesses_is_not_listened_to_any_more() {
        let mut chain = Chain::default();
        chain.push(Password);
        let now = Clock::now();
        let judge = Judge::new(chain, Some(Damping::new(Vec::new())), now);
        let guesser = Some("192.0.2.1:1000");
        let wrong = candidate(guesser, Some("wrong"));
        let mut rulings = (0..10).map(|_| judge.decide_at_once(now, &wrong).unwrap());
        let denied = Decision::Deny(ReasonCode::BadUserNameOrPassword);
        let delay = Duration::from_millis(100);
        assert_eq!(rulings.next(), Some(Ruling { decision: denied.clone(), delay }));
        assert!(rulings.all(|ruling| ruling.decision == denied && ruling.delay > delay));

        let banned = Ruling { decision: Decision::Deny(ReasonCode::Banned), delay: Duration::ZERO };
        for password in [Some("right"), Some("wrong"), None] {
            let candidate = candidate(guesser, password);
            assert_eq!(judge.decide_at_once(now, &candidate).as_ref(), Some(&banned));
            assert_eq!(judge.decide(now, &candidate), banned);
        }
        let elsewhere = candidate(Some("192.0.2.2:1000"), Some("right"));
        let inside = candidate(None, Some("right"));
        for candidate in [elsewhere, inside] {
            let ruling = judge.decide_at_once(now, &candidate).unwrap();
            assert!(matches!(ruling.decision, Decision::Allow(_)));
            assert_eq!(ruling.delay, Duration::ZERO);
        }
        let later = now + Duration::from_secs(60);
        let ruling = judge.decide_at_once(later, &candidate(guesser, Some("right"))).unwrap();
        assert!(matches!(ruling.decision, Decision::Allow(_)));
    }

    #[test]
    fn what_cannot_be_guessed_is_neither_refused_nor_a_reason_to_forgive() {
        let mut chain = Chain::default();
        chain.push(Password);
        let now = Clock::now();
        let judge = Judge::new(chain, Some(Damping::new(Vec::new())), now);
        let guesser = Some("192.0.2.1:1000");
        let mut certified = candidate(guesser, Some("right"));
        certified.certificate = Some([].into());
        assert!(certified.may_guess(), "it is known by its password");
        certified.login.user_name = None;
        let decided = |candidate: &Candidate| judge.decide(now, candidate).decision;

        certified.login.password = None;
        let mut again = candidate(guesser, None);
        let step =
            Enhanced { method: "m".parse().unwrap(), data: None, state: None, is_again: true };
        again.login.enhanced = Some(step);
        for _ in 0..10 {
            assert_ne!(
                decided(&candidate(guesser, Some("wrong"))),
                Decision::Deny(ReasonCode::Banned)
            );
        }
        assert_eq!(decided(&candidate(guesser, Some("right"))), Decision::Deny(ReasonCode::Banned));
        for candidate in [&certified, &again] {
            assert_ne!(decided(candidate), Decision::Deny(ReasonCode::Banned));
        }
        again.login.enhanced.as_mut().unwrap().is_again = false;
        assert_eq!(decided(&again), Decision::Deny(ReasonCode::Banned));
    }

    #[test]
    fn who_authenticates_again_is_not_forgiven_what_others_guessed() {
        let mut chain = Chain::default();
        chain.push(Password);
        chain.push(Proven);
        let now = Clock::now();
        let judge = Judge::new(chain, Some(Damping::new(Vec::new())), now);
        let guesser = Some("192.0.2.1:1000");
        let mut again = candidate(guesser, None);
        let step =
            Enhanced { method: "m".parse().unwrap(), data: None, state: None, is_again: true };
        again.login.enhanced = Some(step);
        for _ in 0..10 {
            judge.decide(now, &candidate(guesser, Some("wrong")));
            let decision = judge.decide(now, &again).decision;
            assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
        }
        let decision = judge.decide(now, &candidate(guesser, Some("right"))).decision;
        assert_eq!(decision, Decision::Deny(ReasonCode::Banned));
    }
}
