//! Who Clients are: an authenticator that takes its time, answers in any order or never, turns away,
//! lets in as somebody else or for a while, and asks further.

use super::station::Mail;
use super::{Event, Happening, World, connection_id, note};
use crate::chance::{Purpose, random};
use crate::history::LoginAnswer;
use crate::plan::Logins;
use bytes::Bytes;
use core::time::Duration;
use dunlin_broker::core::{ConnectionKey, Decision, Enhanced, Grant, Identity, Login, owner};
use dunlin_codec::{Auth, AuthProperties, ReasonCode, Text};

/// How long the broker waits until it knows who a Client is.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The method of enhanced authentication in use.
pub(super) const METHOD: &str = "STEPS";
/// What a Client that has passed for somebody else is called.
const OTHER: &str = "somebody-else";
/// What a Client says first, and first of all when it logs in again.
pub(super) const BEGIN: &[u8] = b"begin";
const AGAIN: &[u8] = b"again";
/// An exchange has at most so many steps.
const STEPS_MAX: u8 = 3;

/// What the broker has asked, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Authenticator {
    questions: Vec<Question>,
    /// Of each challenge whose it is, and what is to be answered.
    challenges: Vec<(u32, String)>,
}

#[derive(Clone, Debug)]
struct Question {
    /// Which start of the broker has asked.
    start: u32,
    worker: usize,
    connection: ConnectionKey,
    exchange: u32,
    decision: Decision,
}

impl World {
    /// The broker asks who a Client is.
    pub(super) fn ask(
        &mut self,
        worker: usize,
        connection: ConnectionKey,
        exchange: u32,
        login: &Login,
    ) {
        let wire = self.wire_of(worker, connection);
        if let Some(wire) = wire {
            self.wires[wire as usize].broker.asked = Some(exchange);
        }
        let enhanced = login.enhanced.as_ref();
        let is_first = enhanced.is_none_or(|step| step.state.is_none() && !step.is_again);
        if let Some(wire) = wire.filter(|_| is_first) {
            self.tell(Event::LoginAsked { connection: connection_id(wire) });
        }
        let own = Some(login.client_identifier.as_str()).filter(|name| !name.is_empty());
        let device = wire.map(|wire| &self.devices[self.wires[wire as usize].device as usize]);
        let is_drawn = device.is_some_and(|device| !device.is_malformed);
        let attempts = device.map_or(0, |device| device.calm_attempts);
        let (decision, micros) = match (self.options.logins.clone(), wire) {
            (Some(logins), Some(wire)) if is_drawn && !self.calm => {
                let (decision, micros) = self.draw_decision(&logins, own, wire, enhanced);
                let Some(micros) = micros else { return };
                (decision, micros)
            }
            // A session may be another user's by now.
            (Some(_), Some(_)) if is_drawn && self.calm => {
                (allow([own, Some(OTHER), None][attempts as usize % 3], None), 0)
            }
            _ => (allow(own, None), 0),
        };
        let question = Question { start: self.start, worker, connection, exchange, decision };
        if let Some(wire) = wire.filter(|_| is_drawn && !self.calm) {
            self.say_twice(wire, &question, micros);
        }
        if micros == 0 {
            self.answer(question);
            return;
        }
        self.answer_after(question, micros);
    }

    fn answer_after(&mut self, question: Question, micros: u64) {
        let number = self.authenticator.questions.len() as u32;
        self.authenticator.questions.push(question);
        self.schedule.put(self.now + Duration::from_micros(micros), Happening::Answered(number));
    }

    /// Now and then an answer comes once more, and says the contrary.
    fn say_twice(&mut self, wire: u32, question: &Question, micros: u64) {
        let number = self.authenticator.questions.len() as u64;
        let mut random =
            random(self.seed, Purpose::Logins, 1 << 63 | u64::from(wire) << 32 | number);
        if self.options.logins.is_some() && random.chance(10) {
            let decision = match question.decision {
                Decision::Allow(_) => Decision::Deny(ReasonCode::Banned),
                _ => allow(Some(OTHER), None),
            };
            let later = micros + 1 + random.below(100_000);
            self.answer_after(Question { decision, ..question.clone() }, later);
        }
    }

    pub(super) fn answered(&mut self, number: u32) {
        let question = self.authenticator.questions[number as usize].clone();
        if question.start == self.start && self.is_up {
            self.answer(question);
        }
    }

    fn answer(&mut self, question: Question) {
        let Question { worker, connection, exchange, decision, .. } = question;
        self.post(worker, Mail::Decided(connection, exchange, decision));
    }

    /// What is said, and how long that takes; for ever if nothing is said.
    fn draw_decision(
        &mut self,
        logins: &Logins,
        own: Option<&str>,
        wire: u32,
        enhanced: Option<&Enhanced>,
    ) -> (Decision, Option<u64>) {
        let authenticator = &mut self.authenticator;
        let number = authenticator.questions.len() + authenticator.challenges.len();
        let place = u64::from(wire) << 32 | number as u64;
        let mut random = random(self.seed, Purpose::Logins, 1 + place);
        let micros = random.between(logins.delay.0..=logins.delay.1);
        let micros = (!random.chance(logins.silent)).then_some(micros);
        let mut steps = 0;
        if let Some(step) = enhanced {
            let state = step.state.as_deref();
            steps = state.and_then(|state| state.first().copied()).unwrap_or_default();
            let known = state
                .and_then(|state| Some(u32::from_be_bytes(state.get(1..5)?.try_into().ok()?)))
                .and_then(|place| authenticator.challenges.get(place as usize));
            let is_own = known.is_none_or(|(of, _)| *of == wire);
            let is_right =
                known.is_none_or(|(_, answer)| step.data.as_deref() == Some(answer.as_bytes()));
            let begins = matches!(step.data.as_deref(), Some(BEGIN | AGAIN));
            if step.method.as_str() != METHOD
                || (steps == 0) != begins
                || !is_own
                || (steps > 0 && known.is_none())
            {
                let what = format!("{step:?}, step {steps}, is not what was said on {wire}");
                let device = self.wires[wire as usize].device;
                self.fail("a login goes on as another one", what, vec![device]);
            }
            if !is_right {
                return (Decision::Deny(ReasonCode::NotAuthorized), micros);
            }
        }
        if enhanced.is_some() && steps < STEPS_MAX && random.chance(70) {
            let place = self.authenticator.challenges.len() as u32;
            let mut state = vec![steps + 1];
            state.extend(place.to_be_bytes());
            let data = format!("step {place}");
            self.authenticator.challenges.push((wire, right_answer(data.as_bytes())));
            let challenge = Decision::Challenge { data: data.into(), state: state.into() };
            return (challenge, micros);
        }
        if random.chance(logins.denied) {
            let reasons = [
                ReasonCode::BadUserNameOrPassword,
                ReasonCode::NotAuthorized,
                ReasonCode::ServerUnavailable,
                ReasonCode::ServerBusy,
                ReasonCode::Banned,
            ];
            return (Decision::Deny(*random.pick(&reasons)), micros);
        }
        let user = match random.chance(logins.other) {
            true => *random.pick(&[Some(OTHER), None]),
            false => own,
        };
        let until = random.chance(logins.limited).then(|| {
            self.now + Duration::from_micros(random.between(logins.lasts.0..=logins.lasts.1))
        });
        (allow(user, until), micros)
    }

    /// A worker is told what a login has come to.
    pub(super) fn decide(
        &mut self,
        worker: usize,
        key: ConnectionKey,
        exchange: u32,
        decision: Decision,
    ) {
        if let Some(wire) = self.wire_of(worker, key)
            && let end = &mut self.wires[wire as usize].broker
            // What is said a second time counts for nothing.
            && end.asked.take_if(|asked| *asked == exchange).is_some()
            && !end.is_closing
        {
            self.tell_decision(wire, &decision);
            let end = &mut self.wires[wire as usize].broker;
            let goes_on = matches!(decision, Decision::Challenge { .. });
            let is_let_in = !matches!(decision, Decision::Deny(_));
            // Who is let in may have to move to the worker that tells of it.
            if !(goes_on || is_let_in && end.moves) {
                self.tell_connect(wire);
            }
        }
        self.stations[worker].core.handle_decision(self.now, key, exchange, decision);
    }

    fn tell_decision(&mut self, wire: u32, decision: &Decision) {
        let answer = match decision {
            Decision::Allow(grant) | Decision::AllowWith(grant, _) => LoginAnswer::Allowed {
                user: grant.identity.user().map(Text::as_str),
                until: grant.expires_at,
            },
            Decision::Deny(reason_code) => LoginAnswer::Denied(*reason_code),
            _ => return,
        };
        note!(self, self.about(wire), "login    {answer:?}");
        self.tell(Event::LoginAnswered { connection: connection_id(wire), answer });
    }

    // ---- the Clients

    /// The answer of a Client to a challenge: right, wrong, or none.
    pub(super) fn draw_auth(&self, wire: u32, auth: &Auth) -> Option<Auth> {
        let challenge = auth.properties.authentication_data.clone().unwrap_or_default();
        let spread = crate::chance::mix(self.seed ^ u64::from(wire) << 32 ^ self.now.as_micros());
        let data = match spread % 20 {
            0 if !self.calm => return None,
            1 if !self.calm => "wrong".to_owned(),
            _ => right_answer(&challenge),
        };
        Some(auth_of(ReasonCode::ContinueAuthentication, data.into()))
    }

    /// A device logs in again on its connection, if its method can.
    pub(super) fn reauthenticate(&mut self, device: u32) {
        self.with_live(device, |world, live| {
            let auth = auth_of(ReasonCode::ReAuthenticate, Bytes::from_static(AGAIN));
            // One that isn't connected, or has no method, can't.
            let _ = live.connection.auth(world.now, auth, &mut live.out);
            world.flush(live);
        });
    }
}

fn right_answer(challenge: &[u8]) -> String {
    format!("{}!", String::from_utf8_lossy(challenge))
}

fn auth_of(reason_code: ReasonCode, data: Bytes) -> Auth {
    let properties =
        AuthProperties { authentication_data: Some(data), ..AuthProperties::default() };
    Auth { reason_code, properties }
}

/// Lets a Client in as this user, or as nobody, if that is a legal name.
fn allow(user: Option<&str>, expires_at: Option<dunlin_protocol::Instant>) -> Decision {
    match Identity::new(user, []) {
        Ok(identity) => Decision::Allow(Grant { expires_at, ..Grant::of(identity) }),
        Err(_) => Decision::Deny(ReasonCode::BadUserNameOrPassword),
    }
}

/// Whether a connection of this Client Identifier moves to another worker.
pub(super) fn moves(client_identifier: &Text, workers: usize, seed: u64, worker: usize) -> bool {
    let owner = owner(client_identifier, workers as u8, seed);
    !client_identifier.is_empty() && usize::from(owner.0) != worker
}
