//! `$SYS`: the broker about itself, in Mosquitto's names.

use super::counters::{Counters, DropCause};
use super::forward::Forward;
use super::limits::LimitCause;
use super::timers::Timer;
use super::{Core, WorkerNumber};
use dunlin_protocol::codec::TopicName;
use dunlin_protocol::{Instant, Message};
use hashbrown::HashMap;
use std::time::Duration;

/// The averages of `$SYS/broker/load`: their names and minutes.
const LOADS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// Clients of which one update tells what was dropped for them; further ones wait for the next.
const DROPS_CLIENTS_MAX: usize = 100;

/// Whether the broker alone speaks here, about itself [MQTT-4.7.2-1 comment].
#[inline]
pub(super) fn is_sys(topic_name: &TopicName) -> bool {
    topic_name.starts_with("$SYS/")
}

/// What the first worker keeps for `$SYS`.
#[derive(Debug)]
pub(super) struct Sys {
    workers: Vec<Counters>,
    last: Counters,
    last_at: Instant,
    clients_maximum: u64,
    /// The values as they were last published.
    published: HashMap<String, String>,
    loads: HashMap<&'static str, [f64; LOADS.len()]>,
    /// What the shell around the core says of itself.
    reported: Vec<(&'static str, String)>,
}

impl Sys {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: vec![Counters::default(); workers],
            last: Counters::default(),
            last_at: Instant::ZERO,
            clients_maximum: 0,
            published: HashMap::new(),
            loads: HashMap::new(),
            reported: Vec::new(),
        }
    }

    pub(super) fn of_worker(&mut self, worker: WorkerNumber, counters: Counters) {
        self.workers[usize::from(worker.0)] = counters;
    }
}

impl Core {
    pub(super) fn start_sys(&mut self, now: Instant) {
        if self.endpoints.limits.sys_interval_secs > 0 {
            self.sys.last_at = now;
            // Before the first Client asks: it gets what is retained.
            self.timers.set_due(Timer::Sys);
        }
    }

    /// Takes what is to be said under `$SYS/broker/` from the next update on, by name, in place of
    /// what was told before; for the first worker. Nothing is said of a name without a value.
    pub fn report(&mut self, values: Vec<(&'static str, String)>) {
        self.sys.reported.retain(|(name, _)| values.iter().all(|(other, _)| other != name));
        self.sys.reported.extend(values.into_iter().filter(|(_, value)| !value.is_empty()));
    }

    /// The first worker publishes, the others tell it their counters.
    pub(super) fn publish_sys(&mut self, now: Instant) {
        let interval = Duration::from_secs(u64::from(self.endpoints.limits.sys_interval_secs));
        self.timers.set(now + interval, Timer::Sys);
        self.publish_drops(now);
        let counters = self.counters();
        if self.worker.0 > 0 {
            self.outbox.push(WorkerNumber(0), Forward::Counters(Box::new(counters)));
            return;
        }
        self.sys.of_worker(self.worker, counters);
        let mut sum = Counters::default();
        for counters in &self.sys.workers {
            sum.add(counters);
        }
        self.sys.clients_maximum = self.sys.clients_maximum.max(sum.clients_connected);
        for (name, value) in self.sys_values(now, &sum) {
            self.publish_sys_value(now, name, value);
        }
        self.sys.last = sum;
        self.sys.last_at = now;
    }

    /// Tells of some of the Clients for whom messages were dropped since the last time; by each
    /// worker of its own.
    fn publish_drops(&mut self, now: Instant) {
        let clients_max = (DROPS_CLIENTS_MAX / self.outbox.workers()).max(1);
        for (client_identifier, counts) in self.endpoints.take_drops(clients_max) {
            for (cause, count) in counts {
                let name = format!(
                    "$SYS/broker/clients/{}/dropped/{}",
                    client_identifier.as_str(),
                    cause.name()
                );
                // A Client Identifier may have characters that no Topic Name has.
                if let Ok(topic_name) = TopicName::try_from(name) {
                    self.publish_own(now, None, Message::new(topic_name, count.to_string()));
                }
            }
        }
    }

    fn sys_values(&mut self, now: Instant, sum: &Counters) -> Vec<(String, String)> {
        let uptime = now.saturating_since(self.started_at).as_secs();
        let retained = &self.endpoints.retained;
        let mut values = vec![
            ("version".to_owned(), format!("dunlin version {}", self.version)),
            ("uptime".to_owned(), format!("{uptime} seconds")),
        ];
        let numbers = [
            ("clients/connected", sum.clients_connected),
            ("clients/active", sum.clients_connected),
            ("clients/disconnected", sum.sessions.saturating_sub(sum.clients_connected)),
            ("clients/inactive", sum.sessions.saturating_sub(sum.clients_connected)),
            ("clients/total", sum.sessions),
            ("clients/maximum", self.sys.clients_maximum),
            ("clients/expired", sum.sessions_expired),
            ("logins/allowed", sum.logins_allowed),
            ("logins/refused", sum.logins_refused),
            ("logins/banned", sum.logins_banned),
            ("logins/busy", sum.logins_busy),
            ("logins/unavailable", sum.logins_unavailable),
            ("messages/received", sum.packets_received),
            ("messages/stored", sum.queued + retained.len() as u64),
            ("store/messages/count", sum.queued + retained.len() as u64),
            ("store/messages/bytes", sum.queued_bytes + retained.bytes() as u64),
            ("publish/messages/received", sum.publish_received),
            ("publish/messages/sent", sum.publish_sent),
            ("publish/messages/dropped", sum.dropped_total()),
            ("publish/bytes/received", sum.publish_bytes_received),
            ("publish/bytes/sent", sum.publish_bytes_sent),
            ("bytes/received", sum.bytes_received),
            ("bytes/sent", sum.bytes_sent),
            ("refused/given/bytes", sum.given_bytes),
            ("refused/given/forgotten", sum.given_forgotten),
            ("retained messages/count", retained.len() as u64),
            ("subscriptions/count", sum.subscriptions),
        ];
        values.extend(numbers.map(|(name, value)| (name.to_owned(), value.to_string())));
        // Why messages were not delivered: Dunlin's own.
        values.extend(DropCause::ALL.map(|cause| {
            (format!("dropped/{}", cause.name()), sum.dropped_for(cause).to_string())
        }));
        values.extend(
            LimitCause::ALL.map(|cause| {
                (format!("limits/{}", cause.name()), sum.limited_by(cause).to_string())
            }),
        );
        let reported = self.sys.reported.iter();
        values.extend(reported.map(|(name, value)| ((*name).to_owned(), value.clone())));
        let last = self.sys.last.clone();
        let loads = [
            ("load/connections", sum.connections_opened, last.connections_opened),
            ("load/messages/received", sum.packets_received, last.packets_received),
            ("load/publish/received", sum.publish_received, last.publish_received),
            ("load/publish/sent", sum.publish_sent, last.publish_sent),
            ("load/bytes/received", sum.bytes_received, last.bytes_received),
            ("load/bytes/sent", sum.bytes_sent, last.bytes_sent),
        ];
        let minutes = now.saturating_since(self.sys.last_at).as_secs_f64() / 60.0;
        for (name, value, last) in loads {
            let averages = self.sys.loads.entry(name).or_default();
            for ((period, length), average) in LOADS.iter().zip(averages) {
                if minutes > 0.0 {
                    let rate = value.saturating_sub(last) as f64 / minutes;
                    *average = rate + (-minutes / length).exp() * (*average - rate);
                }
                values.push((format!("{name}/{period}"), format!("{average:.2}")));
            }
        }
        values
    }

    fn publish_sys_value(&mut self, now: Instant, name: String, value: String) {
        if self.sys.published.get(&name) == Some(&value) {
            return;
        }
        if let Ok(topic_name) = TopicName::try_from(format!("$SYS/broker/{name}")) {
            let mut message = Message::new(topic_name, value.clone());
            message.retain = true;
            self.publish_own(now, None, message);
        }
        self.sys.published.insert(name, value);
    }
}
