//! Judges logins by a chain, tells of those that fail, and slows those that fail again and again.

use super::chain::{Candidate, Chain, Step, Verdict, Why};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) decision: Decision,
    pub(crate) delay: Duration,
}

/// How a login goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Ruled(Ruling),
    /// The method of this place has to think, on a thread of its own.
    Asks(usize),
}

/// Whose address is refused.
const BANNED: Verdict = Verdict::Deny(
    ReasonCode::Banned,
    Why::Borrowed("too many logins from its address have failed"),
);

impl Judge {
    pub(crate) fn new(chain: Chain, damping: Option<Damping>, now: Clock) -> Self {
        Self { chain, refusals: RefusalLog::new(now), damping }
    }

    /// The log of those that are refused.
    pub(crate) const fn refusals(&self) -> &RefusalLog {
        &self.refusals
    }

    /// The methods, in their order.
    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// As far as it takes no effort.
    pub(crate) fn decide_at_once(&self, now: Clock, candidate: &Candidate) -> Course {
        self.decide(now, candidate, |chain| chain.decide_at_once(candidate))
    }

    /// Lets one method think.
    pub(crate) fn ask(&self, now: Clock, method: usize, candidate: &Candidate) -> Course {
        // Others from its address may have failed while it waited.
        self.decide(now, candidate, |chain| chain.ask(method, candidate))
    }

    fn decide(
        &self,
        now: Clock,
        candidate: &Candidate,
        step: impl FnOnce(&Chain) -> Step,
    ) -> Course {
        if self.refuses(now, candidate) {
            return Course::Ruled(self.pronounce(now, candidate, BANNED));
        }
        match step(&self.chain) {
            Step::Decided(verdict) => Course::Ruled(self.pronounce(now, candidate, verdict)),
            Step::Asks(method) => Course::Asks(method),
        }
    }

    fn refuses(&self, now: Clock, candidate: &Candidate) -> bool {
        let (Some(damping), Some(address)) = (&self.damping, candidate.address) else {
            return false;
        };
        candidate.may_guess() && damping.refuses(now, address.ip())
    }

    fn pronounce(&self, now: Clock, candidate: &Candidate, verdict: Verdict) -> Ruling {
        if let Verdict::Deny(_, why) | Verdict::Lapsed(why) = &verdict {
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
                // A ban is no failure of its own, a back end that is down none of the Client, and what
                // was right once no guess.
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
    use crate::core::{Enhanced, Grant, Identity};

    /// Knows who has the right password; that of nobody takes thought.
    #[derive(Debug)]
    struct Password;

    impl Method for Password {
        fn answer_at_once(&self, candidate: &Candidate) -> Option<Answer> {
            candidate.login.password.as_ref()?;
            Some(self.answer(candidate))
        }

        fn answer(&self, candidate: &Candidate) -> Answer {
            match candidate.login.password.as_deref() {
                Some(b"right") => {
                    return Answer::Allow(Grant::of(Identity::new(Some("gauge"), []).unwrap()));
                }
                Some(b"old") => return Answer::Lapsed("it was right".into()),
                _ => {}
            }
            Answer::deny(ReasonCode::BadUserNameOrPassword, "wrong")
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
        let address = address.map(|address| address.parse().unwrap());
        Candidate { address, ..Candidate::local(Some("gauge"), password.map(str::as_bytes)) }
    }

    /// The ruling that takes no effort.
    fn at_once(judge: &Judge, now: Clock, candidate: &Candidate) -> Ruling {
        match judge.decide_at_once(now, candidate) {
            Course::Ruled(ruling) => ruling,
            Course::Asks(method) => panic!("method {method} has to think"),
        }
    }

    /// The ruling, whatever it takes.
    fn decide(judge: &Judge, now: Clock, candidate: &Candidate) -> Ruling {
        let mut course = judge.decide_at_once(now, candidate);
        loop {
            match course {
                Course::Ruled(ruling) => return ruling,
                Course::Asks(method) => course = judge.ask(now, method, candidate),
            }
        }
    }

    #[test]
    fn an_address_that_guesses_is_not_listened_to_any_more() {
        let mut chain = Chain::default();
        chain.push(Password);
        let now = Clock::now();
        let judge = Judge::new(chain, Some(Damping::new(Vec::new())), now);
        let guesser = Some("192.0.2.1:1000");
        let wrong = candidate(guesser, Some("wrong"));
        let mut rulings = (0..10).map(|_| at_once(&judge, now, &wrong));
        let denied = Decision::Deny(ReasonCode::BadUserNameOrPassword);
        let delay = Duration::from_millis(100);
        assert_eq!(rulings.next(), Some(Ruling { decision: denied.clone(), delay }));
        assert!(rulings.all(|ruling| ruling.decision == denied && ruling.delay > delay));

        let banned = Ruling { decision: Decision::Deny(ReasonCode::Banned), delay: Duration::ZERO };
        for password in [Some("right"), Some("wrong"), None] {
            let candidate = candidate(guesser, password);
            assert_eq!(at_once(&judge, now, &candidate), banned);
            assert_eq!(judge.ask(now, 0, &candidate), Course::Ruled(banned.clone()));
        }
        let elsewhere = candidate(Some("192.0.2.2:1000"), Some("right"));
        let inside = candidate(None, Some("right"));
        for candidate in [elsewhere, inside] {
            let ruling = at_once(&judge, now, &candidate);
            assert!(matches!(ruling.decision, Decision::Allow(_)));
            assert_eq!(ruling.delay, Duration::ZERO);
        }
        let later = now + Duration::from_secs(60);
        let ruling = at_once(&judge, later, &candidate(guesser, Some("right")));
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
        let decided = |candidate: &Candidate| decide(&judge, now, candidate).decision;

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
    fn what_was_right_once_bans_nobody() {
        let mut chain = Chain::default();
        chain.push(Password);
        let now = Clock::now();
        let judge = Judge::new(chain, Some(Damping::new(Vec::new())), now);
        let sleeper = Some("192.0.2.1:1000");
        for _ in 0..100 {
            let ruling = decide(&judge, now, &candidate(sleeper, Some("old")));
            let decision = Decision::Deny(ReasonCode::BadUserNameOrPassword);
            assert_eq!(ruling, Ruling { decision, delay: Duration::ZERO });
        }
        let decision = decide(&judge, now, &candidate(sleeper, Some("right"))).decision;
        assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
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
            decide(&judge, now, &candidate(guesser, Some("wrong")));
            let decision = decide(&judge, now, &again).decision;
            assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
        }
        let decision = decide(&judge, now, &candidate(guesser, Some("right"))).decision;
        assert_eq!(decision, Decision::Deny(ReasonCode::Banned));
    }
}
