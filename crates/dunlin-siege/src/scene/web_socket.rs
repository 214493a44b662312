//! WebSocket: requests and frames of every odd shape, legal and not.

mod shapes;

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_bench::frame::CONNACK;

use super::{KEPT_MAX, Scene, Stage};
use crate::swarm::{self, Course, Crowd, Next, Script, Tally};
use shapes::{Shape, shapes};

pub(crate) const SCENE: Scene = Scene {
    name: "web-socket-shapes",
    what: "200 connections that try odd requests and frames in turn, sent with the request or after its \
           answer: what RFC 6455 allows must be served, anything else must end",
    settings: &["limits.connect_timeout_secs=3", "limits.handshake_timeout_secs=3"],
    stores: false,
    growth_max: 32,
    growth_reason: "128 KiB for each connection",
    kept_max: KEPT_MAX,
    is_short: true,
    play,
};

/// The first byte of a server's frames that are whole messages.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// Between two connections of a client.
const REST: Duration = Duration::from_millis(20);

/// How long a connection may stay without an answer.
const STUCK_AFTER: Duration = Duration::from_secs(6);

struct Shapes {
    shapes: Vec<Shape>,
    results: Vec<Results>,
    clients: Vec<Client>,
    /// Whose turn it is next.
    next: usize,
}

#[derive(Clone, Copy, Default)]
struct Results {
    served: u64,
    ended: u64,
    stuck: u64,
}

#[derive(Clone, Copy)]
struct Client {
    shape: usize,
    /// Whether the frames wait for the answer to the request.
    is_patient: bool,
    has_sent: bool,
    began: Option<Instant>,
}

/// What the broker has answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing that says how it ends.
    Nothing,
    /// The request was granted.
    Granted,
    /// A CONNACK that accepts.
    Served,
    /// The request was refused, or a close frame came.
    Ended,
}

impl Script for Shapes {
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, _tally: &mut Tally) {
        let shape = self.next % self.shapes.len();
        let is_patient = (self.next / self.shapes.len()).is_multiple_of(2);
        self.next += 1;
        out.extend_from_slice(&self.shapes[shape].request);
        if !is_patient {
            out.extend_from_slice(&self.shapes[shape].frames);
        }
        let began = Some(Instant::now());
        self.clients[client] = Client { shape, is_patient, has_sent: !is_patient, began };
    }

    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next) {
        let state = &mut self.clients[client];
        let results = &mut self.results[state.shape];
        match answer(input) {
            Answer::Nothing => {}
            Answer::Granted if state.is_patient && !state.has_sent => {
                state.has_sent = true;
                out.extend_from_slice(&self.shapes[state.shape].frames);
            }
            Answer::Granted => {}
            Answer::Served => {
                tally.served += 1;
                results.served += 1;
                state.began = None;
                return (input.len(), Next::Again(REST));
            }
            Answer::Ended => {
                tally.refused += 1;
                results.ended += 1;
                state.began = None;
                return (input.len(), Next::Again(REST));
            }
        }
        // It is short, and looked at as a whole when more comes.
        (0, Next::Stay)
    }

    fn ended(&mut self, client: usize, _tally: &mut Tally) -> Next {
        let state = &mut self.clients[client];
        state.began = None;
        self.results[state.shape].ended += 1;
        Next::Again(REST)
    }

    fn tick(&mut self, now: Instant, crowd: &mut Crowd<'_>) {
        for (client, state) in self.clients.iter_mut().enumerate() {
            if state.began.is_some_and(|began| now.duration_since(began) > STUCK_AFTER) {
                state.began = None;
                self.results[state.shape].stuck += 1;
                crowd.leave(client, Next::Again(REST));
            }
        }
    }
}

/// Reads what a server sends: the head of an HTTP answer, then frames.
fn answer(input: &[u8]) -> Answer {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let Some(end) = input.windows(HEAD_END.len()).position(|part| part == HEAD_END) else {
        return Answer::Nothing;
    };
    if !input.starts_with(b"HTTP/1.1 101 ") {
        return Answer::Ended;
    }
    let mut rest = &input[end + HEAD_END.len()..];
    while let Some((&[first, len], behind)) = rest.split_first_chunk() {
        // A short length is its own; what has a longer one is looked at by its beginning alone.
        let Some((payload, next)) = behind.split_at_checked(usize::from(len)) else { break };
        match first {
            CLOSE => return Answer::Ended,
            BINARY if payload.first() == Some(&CONNACK) && payload.get(3) == Some(&0) => {
                return Answer::Served;
            }
            BINARY => return Answer::Ended,
            _ => {}
        }
        rest = next;
    }
    Answer::Granted
}

fn play(stage: &Stage<'_>) -> Result<Tally> {
    let shapes = shapes();
    let clients = stage.size(200, 40);
    let idle = Client { shape: 0, is_patient: false, has_sent: false, began: None };
    let mut script = Shapes {
        results: vec![Results::default(); shapes.len()],
        shapes,
        clients: vec![idle; clients],
        next: 0,
    };
    let course = Course { address: stage.doors.ws, ..stage.course(clients) };
    let mut tally = swarm::run(course, &mut script)?;
    for (shape, results) in script.shapes.iter().zip(&script.results) {
        let Results { served, ended, stuck } = *results;
        let (is_due, is_wrong) = match shape.is_legal {
            true => (served, ended + stuck),
            false => (ended, served + stuck),
        };
        if is_wrong > 0 || (is_due == 0 && !shape.takes_time) {
            let name = shape.name;
            tally.blame(format!("{name}: {served} served, {ended} ended, {stuck} stuck"));
        }
    }
    tally.note("shapes", script.shapes.len() as f64);
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let head: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let check = |frames: &[u8]| answer(&[head, frames].concat());
        assert_eq!(answer(b"HTTP/1.1 101 Swi"), Answer::Nothing);
        assert_eq!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Answer::Ended);
        assert_eq!(check(b""), Answer::Granted);
        assert_eq!(check(b"\x8A\x02hi"), Answer::Granted);
        assert_eq!(check(b"\x8A\x02hi\x82\x05\x20\x03\x00\x00\x00"), Answer::Served);
        assert_eq!(check(b"\x82\x05\x20\x03\x00\x97\x00"), Answer::Ended);
        assert_eq!(check(b"\x82\x05\x20\x03"), Answer::Granted);
        assert_eq!(check(b"\x88\x02\x03\xEA"), Answer::Ended);
    }

    #[test]
    fn each_shape_has_a_name_of_its_own() {
        let shapes = shapes();
        let names: std::collections::BTreeSet<_> = shapes.iter().map(|shape| shape.name).collect();
        assert_eq!(names.len(), shapes.len());
        assert!(shapes.iter().filter(|shape| shape.is_legal).count() >= 8);
    }
}
