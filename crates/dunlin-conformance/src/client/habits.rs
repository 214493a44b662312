//! What a client does by itself, found out before the checks, so that those which need something
//! else don't wait for it.

use super::visitor::matching;
use super::{Bench, Next, Target};
use crate::{Stop, encoded};
use dunlin_codec::{ConnAckProperties, Delivery, Packet, ProtocolVersion, QoS};
use std::time::{Duration, Instant};

/// A client that says nothing for so long has done what it does by itself.
const QUIET: Duration = Duration::from_millis(1500);

/// What a client does by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// The version that it speaks.
    pub version: ProtocolVersion,
    /// The highest QoS that it subscribes with.
    pub subscribes: Option<QoS>,
    /// Whether it publishes with QoS 0, 1 and 2.
    pub publishes: [bool; 3],
    /// Whether it publishes retained messages.
    pub retains: bool,
    /// The size in bytes of its smallest PUBLISH.
    pub publish_len: Option<usize>,
    /// Whether it connects again when the connection is lost.
    pub reconnects: bool,
    /// Whether it then goes on with its session.
    pub resumes: bool,
    /// Whether its program prints the messages that it receives.
    pub prints: bool,
    /// Its Keep Alive in seconds.
    pub keep_alive: u16,
    /// Its Client Identifier.
    pub client_identifier: String,
}

impl Habits {
    /// In one line each, for the report.
    pub fn notes(&self) -> Vec<String> {
        let mut does = Vec::new();
        if let Some(qos) = self.subscribes {
            does.push(format!("subscribes with QoS {}", qos.value()));
        }
        let levels = ["0", "1", "2"].into_iter().zip(self.publishes);
        let levels: Vec<&str> = levels.filter(|(_, does)| *does).map(|(level, _)| level).collect();
        if !levels.is_empty() {
            does.push(format!("publishes with QoS {}", levels.join(", ")));
        }
        does.push(match (self.reconnects, self.resumes) {
            (false, _) => "does not connect again".to_owned(),
            (true, false) => "connects again with a new session".to_owned(),
            (true, true) => "connects again and goes on with its session".to_owned(),
        });
        vec![format!(
            "MQTT {}, Keep Alive {} s: {}",
            self.version,
            self.keep_alive,
            does.join(", ")
        )]
    }
}

/// Lets the client play its part before a plain broker, and once more before one that is lost.
///
/// # Errors
/// [`Stop`] when it does not connect, can't be started, or sends what is no packet.
pub fn probe(target: &Target, version: ProtocolVersion) -> Result<Habits, Stop> {
    let mut bench = Bench::new(target, version, 0, "first look");
    let mut visitor = bench.any_arrival("the client")?;
    let connect = visitor.connect().clone();
    let mut habits = Habits {
        version: connect.protocol_version,
        subscribes: None,
        publishes: [false; 3],
        retains: false,
        publish_len: None,
        reconnects: false,
        resumes: false,
        prints: false,
        keep_alive: connect.keep_alive,
        client_identifier: connect.client_identifier.to_string(),
    };
    visitor.accept(false, ConnAckProperties::default());
    let deadline = Instant::now() + target.patience;
    let quiet = QUIET.min(target.patience);
    while let Next::Packet(packet) = visitor.next((Instant::now() + quiet).min(deadline))? {
        habits.see(&packet);
    }
    if let Some(subscription) = visitor.subscriptions().first() {
        const SHOWN: &str = "first-look";
        visitor.deliver(&matching(&subscription.topic_filter), QoS::AtMostOnce, SHOWN);
        let printed = bench.await_printed(SHOWN, 1, quiet);
        habits.prints = printed.is_some_and(|times| times > 0);
    }
    drop(bench);
    let mut bench = Bench::new(target, version, 1, "a lost connection");
    let mut visitor = bench.any_arrival("the client")?;
    visitor.accept(false, ConnAckProperties::default());
    visitor.answers_publishes = false;
    loop {
        match visitor.next(Instant::now() + quiet)? {
            Next::Packet(Packet::Subscribe(_)) | Next::Nothing => break,
            Next::Packet(Packet::Publish(publish)) if publish.delivery != Delivery::AtMostOnce => {
                break;
            }
            Next::Packet(_) => {}
            // It has nothing to come back for.
            Next::Closed => return Ok(habits),
        }
    }
    visitor.abort();
    match bench.any_arrival("the client") {
        Ok(visitor) => {
            habits.reconnects = true;
            habits.resumes = !visitor.connect().clean_start;
        }
        Err(Stop::Skipped(_)) => {}
        Err(stop) => return Err(stop),
    }
    Ok(habits)
}

impl Habits {
    fn see(&mut self, packet: &Packet) {
        match packet {
            Packet::Subscribe(subscribe) => {
                let levels = subscribe.subscriptions.iter().map(|held| held.options.maximum_qos);
                self.subscribes = self.subscribes.max(levels.max());
            }
            Packet::Publish(publish) => {
                self.publishes[usize::from(publish.delivery.qos().value())] = true;
                self.retains |= publish.retain;
                let len = encoded(publish.clone(), self.version).len();
                self.publish_len = Some(self.publish_len.map_or(len, |least| least.min(len)));
            }
            _ => {}
        }
    }
}
