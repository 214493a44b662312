//! What a scenario lies on: a broker, the version and Quality of Service that it is played with,
//! and the waiting for things with a deadline.

use crate::proxy::Proxy;
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, Limits};
use dunlin_client::{
    Client, ClientBuilder, Delivery, Event, Events, ProtocolVersion, Publish, QoS, Received,
    Reconnect, Subscription,
};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a whole scenario may take. Only one that hangs takes so long.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a scenario is played with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) version: ProtocolVersion,
    pub(crate) qos: QoS,
    pub(crate) workers: usize,
}

/// A running broker, and how to speak to it.
pub(crate) struct Bed {
    pub(crate) case: Case,
    pub(crate) address: SocketAddr,
    pub(crate) limits: Limits,
    broker: Option<Broker>,
}

/// Plays a scenario on a runtime of one thread, so that a task which blocks it is noticed.
pub(crate) fn play(case: Case, scenario: impl AsyncFnOnce(&mut Bed)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(within_deadline(async {
        let mut bed = Bed::start(case, Limits::default());
        scenario(&mut bed).await;
        bed.stop().await;
    }));
}

/// # Panics
/// At the deadline.
pub(crate) async fn within_deadline<F: Future>(scenario: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, scenario).await {
        Ok(output) => output,
        Err(_) => panic!("not done after {DEADLINE:?}: something hangs"),
    }
}

impl Bed {
    pub(crate) fn start(case: Case, limits: Limits) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = start_broker(case, limits.clone(), any_port);
        Self { case, address: broker.addresses()[0], limits, broker: Some(broker) }
    }

    /// Goes on with a broker that has other limits.
    pub(crate) async fn set_limits(&mut self, limits: Limits) {
        self.stop().await;
        self.limits = limits;
        self.start_again();
    }

    /// Stops the broker, gracefully.
    pub(crate) async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            tokio::task::spawn_blocking(|| broker.stop()).await.expect("the broker stops");
        }
    }

    /// Starts another broker at the same address.
    pub(crate) fn start_again(&mut self) {
        self.broker = Some(start_broker(self.case, self.limits.clone(), self.address));
    }

    /// A client of the broker.
    pub(crate) fn client(&self, client_identifier: &str) -> ClientBuilder {
        self.client_at(self.address, client_identifier)
    }

    /// A client that reaches the broker through a proxy.
    pub(crate) fn client_through(&self, proxy: &Proxy, client_identifier: &str) -> ClientBuilder {
        self.client_at(proxy.address(), client_identifier)
    }

    fn client_at(&self, address: SocketAddr, client_identifier: &str) -> ClientBuilder {
        Client::builder(&format!("mqtt://{address}"))
            .expect("a legal URL")
            .client_identifier(client_identifier)
            .protocol_version(self.case.version)
            .reconnect(soon())
    }

    /// Lets a client have a Session that outlives its connections.
    pub(crate) fn persistent(&self, builder: ClientBuilder) -> ClientBuilder {
        if self.case.version.is_v5() {
            builder.session_expiry_interval(Duration::from_secs(3600))
        } else {
            builder.clean_start(false)
        }
    }

    /// A client of the broker that is connected and whose events are of no interest.
    pub(crate) async fn connect(&self, client_identifier: &str) -> Client {
        self.client(client_identifier).connect().await.expect("connected").0
    }

    pub(crate) async fn subscribe(&self, client: &Client, topic_filter: &str) -> Subscription {
        client.subscribe(topic_filter, self.case.qos).await.expect("subscribed")
    }

    /// A message of the Quality of Service that is tried.
    pub(crate) fn message(&self, client: &Client, topic_name: &str, number: usize) -> Publish {
        client.publish(topic_name, number.to_string()).qos(self.case.qos)
    }

    /// Publishes the numbers of the range, all under way at once.
    pub(crate) async fn publish_numbers(
        &self,
        client: &Client,
        topic_name: &str,
        numbers: std::ops::Range<usize>,
    ) {
        let mut deliveries: Vec<Delivery> = Vec::new();
        for number in numbers {
            let sending = self.message(client, topic_name, number).send();
            deliveries.push(sending.await.expect("queued"));
        }
        for delivery in deliveries {
            delivery.await.expect("published");
        }
    }
}

fn start_broker(case: Case, limits: Limits, address: SocketAddr) -> Broker {
    let config = Config {
        listeners: vec![Listener::tcp(address)],
        workers: case.workers,
        limits,
        ..Config::default()
    };
    Broker::builder().config(config).start().expect("the broker starts")
}

/// Reconnects so soon that a test does not wait for it.
pub(crate) fn soon() -> Reconnect {
    Reconnect {
        initial_delay: Duration::from_millis(5),
        maximum_delay: Duration::from_millis(40),
        ..Reconnect::default()
    }
}

/// The next message of a stream that has not ended.
pub(crate) async fn next(stream: &mut Subscription) -> Received {
    stream.next().await.expect("the stream goes on")
}

/// The number that a message carries.
pub(crate) fn number(received: &Received) -> usize {
    let text = std::str::from_utf8(received.payload()).expect("digits");
    text.parse().expect("a number")
}

/// Reads numbers, which must come exactly in this order.
pub(crate) async fn expect_numbers(stream: &mut Subscription, numbers: std::ops::Range<usize>) {
    for expected in numbers {
        let received = next(stream).await;
        assert_eq!(number(&received), expected, "{received:?}");
    }
}

/// Waits for an event that `take` has a use for, and passes over all others.
pub(crate) async fn event<T: fmt::Debug>(
    events: &mut Events,
    mut take: impl FnMut(Event) -> Option<T>,
) -> T {
    loop {
        let event = events.next().await.expect("events go on");
        if let Some(wanted) = take(event) {
            return wanted;
        }
    }
}

/// Waits until the connection is lost.
pub(crate) async fn lost(events: &mut Events) {
    event(events, |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
}

/// Waits for the next connection; gives whether it goes on with the Session.
pub(crate) async fn connected_again(events: &mut Events) -> bool {
    event(events, |event| match event {
        Event::Connected { session_present, .. } => Some(session_present),
        _ => None,
    })
    .await
}
