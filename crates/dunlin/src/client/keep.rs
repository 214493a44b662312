//! `dunlin pub --session-file`: publishes through the async client, whose Session lives in a file.

use super::args::Target;
use super::publish::Contents;
use super::stop_signal;
use crate::failure::Failure;
use dunlin_client::{
    Client, ConnectError, Delivery, DisconnectError, FileStore, Publish, PublishError, WhenFull,
};
use dunlin_codec::{ConnectProperties, DisconnectProperties, MessageProperties};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

/// Outcomes that are awaited before more is published.
const DELIVERIES_MAX: usize = 1000;

/// How long the end waits for acknowledgements: until the user has enough.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A publisher whose messages outlive the process.
pub(super) struct Keeper {
    client: Client,
    deliveries: VecDeque<Delivery>,
    /// The first refusal.
    refused: Option<Failure>,
}

impl Keeper {
    pub(super) async fn connect(target: &Target, path: &Path) -> Result<Self, Failure> {
        let connect = &target.connect;
        if connect.client_identifier.is_empty() {
            return Err(Failure::usage(
                "--session-file keeps a session, which needs a name; add -i ID",
            ));
        }
        let properties = &connect.properties;
        let session_expiry_interval = properties.session_expiry_interval;
        let plain = ConnectProperties { session_expiry_interval, ..ConnectProperties::default() };
        let plain_end = target.properties.disconnect == DisconnectProperties::default();
        if *properties != plain || !plain_end || connect.will.is_some() {
            return Err(Failure::usage(
                "--session-file takes no Will, and of the properties those of publish alone",
            ));
        }
        let store = FileStore::open(path).map_err(|error| Failure::of(&error))?;
        let mut builder = Client::builder(&target.url)
            .map_err(|error| Failure::usage(error.to_string()))?
            .client_identifier(connect.client_identifier.clone())
            .protocol_version(connect.protocol_version)
            .keep_alive(Duration::from_secs(u64::from(connect.keep_alive)))
            .when_full(WhenFull::Wait)
            .tls(target.tls.clone())
            .session_store(store);
        if let Some(proxy) = &target.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(secs) = session_expiry_interval {
            builder = builder.session_expiry_interval(Duration::from_secs(u64::from(secs)));
        }
        if let Some(scram) = &target.scram {
            builder = builder.authenticator(scram.exchange());
        }
        if let Some(user_name) = &connect.user_name {
            builder = builder.user_name(user_name.clone());
        }
        if let Some(password) = &connect.password {
            builder = builder.password(password.clone());
        }
        let (client, _) =
            builder.connect().await.map_err(|error| connect_failure(&error, target))?;
        Ok(Self { client, deliveries: VecDeque::new(), refused: None })
    }

    /// Publishes all contents and waits until they, and what an earlier run has left, are
    /// acknowledged.
    pub(super) async fn publish(
        mut self,
        mut contents: Contents,
        delay: Duration,
        message: impl Fn(&Client, bytes::Bytes) -> Publish,
        path: &Path,
    ) -> Result<(), Failure> {
        let sending = async {
            let mut is_first = true;
            while let Some(payload) = contents.next().await? {
                if !std::mem::take(&mut is_first) && !delay.is_zero() {
                    self.settle(0).await?;
                    tokio::time::sleep(delay).await;
                }
                let sending = message(&self.client, payload).send();
                let delivery = sending.await.map_err(|error| publish_failure(&error))?;
                self.deliveries.push_back(delivery);
                self.settle(DELIVERIES_MAX).await?;
            }
            self.settle(0).await?;
            let left = self.client.disconnect().timeout(LEAVE_TIMEOUT).await;
            left.map_err(|error: DisconnectError| Failure::of(&error))
        };
        tokio::select! {
            outcome = sending => outcome?,
            () = stop_signal() => {
                let path = path.display();
                let why = format!("interrupted; what is not acknowledged is kept in {path}");
                return Err(Failure::new(why));
            }
        }
        self.refused.map_or(Ok(()), Err)
    }

    /// Waits for outcomes until so many are left.
    async fn settle(&mut self, left: usize) -> Result<(), Failure> {
        while self.deliveries.len() > left {
            let Some(delivery) = self.deliveries.pop_front() else { break };
            match delivery.await {
                Ok(_) => {}
                Err(error @ PublishError::Refused { .. }) => {
                    self.refused.get_or_insert(publish_failure(&error));
                }
                Err(error) => return Err(publish_failure(&error)),
            }
        }
        Ok(())
    }
}

/// Gives the message the properties that the user asked for.
pub(super) fn with_properties(
    mut publish: Publish,
    properties: &MessageProperties,
    expiry_interval_secs: Option<u32>,
) -> Publish {
    if let Some(is_utf8) = properties.payload_format_indicator {
        publish = publish.payload_format_indicator(is_utf8);
    }
    if let Some(content_type) = &properties.content_type {
        publish = publish.content_type(content_type.clone());
    }
    if let Some(response_topic) = &properties.response_topic {
        publish = publish.response_topic(response_topic.clone());
    }
    if let Some(correlation_data) = &properties.correlation_data {
        publish = publish.correlation_data(correlation_data.clone());
    }
    for (name, value) in &properties.user_properties {
        publish = publish.user_property(name.clone(), value.clone());
    }
    match expiry_interval_secs {
        Some(secs) => publish.message_expiry_interval(Duration::from_secs(u64::from(secs))),
        None => publish,
    }
}

fn connect_failure(error: &ConnectError, target: &Target) -> Failure {
    match error {
        ConnectError::Refused { reason_code, .. } => {
            let why = format!("the broker refused the connection: {reason_code}");
            Failure::refused(*reason_code, why)
        }
        ConnectError::UnsupportedVersion(_) => {
            let version = target.connect.protocol_version;
            Failure::new(format!("the broker does not support MQTT {version}; try -V 311"))
        }
        ConnectError::Config(error) => Failure::usage(error.to_string()),
        error => target.asked.unconnected(error),
    }
}

fn publish_failure(error: &PublishError) -> Failure {
    match error {
        PublishError::Refused { reason_code, .. } => {
            Failure::refused(*reason_code, error.to_string())
        }
        error => Failure::of(error),
    }
}
