//! One client with a persistent session: connected through a gate, its events watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dunlin_client::{
    Client, ClientBuilder, ConnectError, DisconnectCause, Event, Events, ProtocolVersion, Received,
    Reconnect,
};

use super::Stage;
use super::gate::Gate;
use super::payload;
use crate::ledger::{Delivery, Kind, Ledger, Receiver};

/// A client of the run.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) gate: Gate,
    pub(crate) connection: Arc<AtomicU32>,
}

/// Whose state the broker keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_v5: bool,
}

/// Where what a client receives is entered.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) receiver: Receiver,
    pub(crate) member: usize,
    pub(crate) connection: Arc<AtomicU32>,
}

impl Receiving {
    pub(crate) fn enter(&self, received: &Received) {
        let Some((stream, sequence)) = payload::read(received.payload()) else {
            let what = format!("{} bytes of {}", received.payload().len(), received.topic_name());
            return self.ledger.finding(Kind::Corrupt, &what);
        };
        let delivery = Delivery {
            stream,
            sequence,
            qos: received.qos(),
            dup: received.dup(),
            member: self.member,
            connection: self.connection.load(Ordering::Relaxed),
        };
        self.ledger.receive(self.receiver, delivery);
    }
}

impl Link {
    /// Connects; from then on the client comes back by itself.
    pub(crate) async fn connect(
        stage: &Stage,
        session: Session<'_>,
        receiver: Option<(Receiver, usize)>,
    ) -> Result<Self> {
        let name = session.name.to_owned();
        let gate = Gate::open();
        let builder = builder(stage, session)?;
        let connecting = builder.connect_over(gate.transport(stage.address));
        let (client, events) = connecting.await.with_context(|| format!("connecting {name}"))?;
        let connection = Arc::new(AtomicU32::new(0));
        let receiving = receiver.map(|(receiver, member)| Receiving {
            ledger: Arc::clone(&stage.ledger),
            receiver,
            member,
            connection: Arc::clone(&connection),
        });
        let watched = watch(
            events,
            name.clone(),
            Arc::clone(&stage.ledger),
            Arc::clone(&connection),
            receiving,
        );
        tokio::spawn(watched);
        Ok(Self { name, client, gate, connection })
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.state().is_connected()
    }

    pub(crate) fn receiving(&self, stage: &Stage, receiver: Receiver, member: usize) -> Receiving {
        let ledger = Arc::clone(&stage.ledger);
        Receiving { ledger, receiver, member, connection: Arc::clone(&self.connection) }
    }
}

/// The settings of a client whose session outlives its connections and that comes back soon.
pub(crate) fn builder(stage: &Stage, session: Session<'_>) -> Result<ClientBuilder> {
    let soon = Reconnect {
        initial_delay: Duration::from_millis(10),
        maximum_delay: Duration::from_millis(100),
        attempts_max: None,
        stable_after: Duration::from_millis(100),
    };
    let version = if session.is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
    let builder = Client::builder(&format!("mqtt://{}", stage.address))?
        .client_identifier(session.name)
        .protocol_version(version)
        .clean_start(false)
        .connect_timeout(Duration::from_secs(5))
        .reconnect(soon)
        // A broker that recovers badly may send beyond a window: that is not what is compared here.
        .receive_maximum(u16::MAX)
        .events_buffer(1_000_000);
    Ok(if session.is_v5 {
        builder.session_expiry_interval(Duration::from_secs(24 * 3600))
    } else {
        builder
    })
}

/// Follows a client's events: its session must be there each time it comes back.
async fn watch(
    mut events: Events,
    name: String,
    ledger: Arc<Ledger>,
    connection: Arc<AtomicU32>,
    receiving: Option<Receiving>,
) {
    while let Some(event) = events.next().await {
        match event {
            Event::Connected { session_present, .. } => {
                let number = connection.fetch_add(1, Ordering::Relaxed) + 1;
                let present = u8::from(session_present);
                ledger.happened(format!("{name} connected, session present {present}"));
                if number > 1 && !session_present {
                    let what = format!("{name} came back and its session was not there");
                    ledger.finding(Kind::SessionLost, &what);
                }
            }
            // Where nobody listens there is nothing to tell: the broker's own lines say since when.
            Event::Disconnected {
                cause: DisconnectCause::Connect(ConnectError::Transport { .. }),
                ..
            } => {}
            Event::Disconnected { will_reconnect, cause, .. } => {
                let end = if will_reconnect { "is disconnected" } else { "is over" };
                ledger.happened(format!("{name} {end}: {}", chain(&cause)));
            }
            Event::Message(received) => {
                if let Some(receiving) = &receiving {
                    receiving.enter(&received);
                }
            }
            Event::SubscriptionRefused { .. } | Event::Dropped { .. } => {
                ledger.finding(Kind::Stuck, &format!("{name}: {event:?}"));
            }
            _ => {}
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
