//! Subscribing: the builder, and the stream that it gives.

use crate::shared::{Control, NewRoute, RouteId, Shared};
use crate::stream::{Bound, Overflow, StreamQueue};
use crate::{Client, Received, SubscribeError};
use dunlin_protocol::codec::{
    QoS, ReasonCode, RetainHandling, Subscription as FilterWithOptions, SubscriptionOptions, Text,
    TopicFilter, UserProperties,
};
use futures_core::Stream;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How many messages a stream holds unless told otherwise.
const BUFFER_MESSAGES: usize = 1024;

/// How many bytes of messages a stream holds unless told otherwise.
const BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// A subscription in the making. Await it to subscribe; it resolves to the [`Subscription`] once
/// the Server has answered, which may be after a reconnect.
///
/// [`Subscribe::no_local`], [`Subscribe::retain_as_published`] and [`Subscribe::retain_handling`]
/// speak of the Topic Filter named last, and are left out in MQTT 3.x.
///
/// # Cancellation
/// Dropped before it was first polled, nothing happens. Dropped later, the subscription is ended
/// again in the background.
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    shared: Arc<Shared>,
    receive_maximum: u16,
    subscriptions: Result<Vec<FilterWithOptions>, SubscribeError>,
    user_properties: UserProperties,
    messages: usize,
    bytes: usize,
    overflow: Overflow,
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a subscription with a stream of its own; see [`Subscribe`].
    ///
    /// A message that matches several subscriptions of this client comes out of each of their
    /// streams. With MQTT 3.x, and Servers without Subscription Identifiers, streams are told
    /// apart by Topic Filter alone: where filters overlap and the Server sends one copy for each,
    /// every stream gets every copy.
    ///
    /// Subscribing again to the same Topic Filter replaces its options at the Server; both streams
    /// get its messages, and it is unsubscribed when the last of them is gone.
    ///
    /// A Topic Filter that is not legal is told when this is awaited.
    pub fn subscribe(
        &self,
        topic_filter: impl TryInto<TopicFilter, Error: Into<SubscribeError>>,
        qos: QoS,
    ) -> Subscribe {
        Subscribe {
            shared: self.shared().clone(),
            receive_maximum: self.receive_maximum(),
            subscriptions: Ok(Vec::new()),
            user_properties: UserProperties::new(),
            messages: BUFFER_MESSAGES,
            bytes: BUFFER_BYTES,
            overflow: Overflow::default(),
        }
        .and(topic_filter, qos)
    }

    /// Ends the subscription to this Topic Filter for every stream of this client; a stream
    /// without further Topic Filters ends. Resolves at the Server's answer.
    ///
    /// Cancellation safe: once polled the Topic Filter is unsubscribed whether or not this is
    /// awaited to the end.
    ///
    /// # Errors
    /// [`SubscribeError`]; [`SubscribeError::Refused`] when the Server refuses.
    pub async fn unsubscribe(
        &self,
        topic_filter: impl TryInto<TopicFilter, Error: Into<SubscribeError>>,
    ) -> Result<(), SubscribeError> {
        let topic_filters = vec![topic_filter.try_into().map_err(Into::into)?];
        let (reply, outcome) = oneshot::channel();
        end(self.shared(), Control::Unsubscribe { topic_filters, reply }, outcome).await
    }
}

async fn end(
    shared: &Shared,
    control: Control,
    outcome: oneshot::Receiver<Result<Vec<ReasonCode>, SubscribeError>>,
) -> Result<(), SubscribeError> {
    shared.push_control(control).map_err(|_| SubscribeError::Disconnected)?;
    outcome.await.unwrap_or(Err(SubscribeError::Disconnected)).map(drop)
}

impl Subscribe {
    /// Adds another Topic Filter to the same stream.
    pub fn and(
        mut self,
        topic_filter: impl TryInto<TopicFilter, Error: Into<SubscribeError>>,
        qos: QoS,
    ) -> Self {
        match (&mut self.subscriptions, topic_filter.try_into()) {
            (Ok(subscriptions), Ok(topic_filter)) => {
                let options = SubscriptionOptions { maximum_qos: qos, ..Default::default() };
                subscriptions.push(FilterWithOptions { topic_filter, options });
            }
            (Ok(_), Err(error)) => self.subscriptions = Err(error.into()),
            (Err(_), _) => {}
        }
        self
    }

    fn with_options(mut self, set: impl FnOnce(&mut SubscriptionOptions)) -> Self {
        if let Ok(subscriptions) = &mut self.subscriptions
            && let Some(last) = subscriptions.last_mut()
        {
            set(&mut last.options);
        }
        self
    }

    /// Don't get the messages that this client publishes itself. Default: get them. A Shared
    /// Subscription must not ask for it [MQTT-3.8.3-4].
    pub fn no_local(self, no_local: bool) -> Self {
        self.with_options(|options| options.no_local = no_local)
    }

    /// Keep the RETAIN flag as it was published. Default: it tells retained messages.
    pub fn retain_as_published(self, retain_as_published: bool) -> Self {
        self.with_options(|options| options.retain_as_published = retain_as_published)
    }

    /// Which retained messages to get at once. Default: all that match.
    pub fn retain_handling(self, retain_handling: RetainHandling) -> Self {
        self.with_options(|options| options.retain_handling = retain_handling)
    }

    /// Adds a User Property to the SUBSCRIBE. MQTT 5.0; left out in 3.x.
    pub fn user_property(
        mut self,
        name: impl TryInto<Text, Error: Into<SubscribeError>>,
        value: impl TryInto<Text, Error: Into<SubscribeError>>,
    ) -> Self {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => self.user_properties.push((name, value)),
            (Err(error), _) => self.subscriptions = Err(error.into()),
            (_, Err(error)) => self.subscriptions = Err(error.into()),
        }
        self
    }

    /// How many messages the stream holds, at least 1. Default: 1,024.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.messages = messages.max(1);
        self
    }

    /// How many bytes of messages the stream holds; a single larger message still fits. Default:
    /// 64 MiB.
    pub const fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// What happens to messages that the buffer has no room for. Default:
    /// [`Overflow::BackPressure`].
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    async fn run(self) -> Result<Subscription, SubscribeError> {
        let subscriptions = self.subscriptions?;
        let topic_filters: Vec<_> =
            subscriptions.iter().map(|subscription| subscription.topic_filter.clone()).collect();
        let queue = Arc::new(StreamQueue::new(Bound {
            messages: self.messages,
            bytes: self.bytes,
            overflow: self.overflow,
            withheld: usize::from(self.receive_maximum),
        }));
        let id = RouteId(self.shared.next_route.fetch_add(1, Ordering::Relaxed));
        let (reply, outcome) = oneshot::channel();
        let mut subscription = Subscription {
            shared: self.shared.clone(),
            id,
            queue: queue.clone(),
            topic_filters,
            reason_codes: Vec::new(),
        };
        let route =
            NewRoute { id, subscriptions, user_properties: self.user_properties, queue, reply };
        self.shared
            .push_control(Control::Subscribe(Box::new(route)))
            .map_err(|_| SubscribeError::Disconnected)?;
        // From here on dropping the subscription ends it at the Server.
        let reason_codes = outcome.await.unwrap_or(Err(SubscribeError::Disconnected))?;
        subscription.reason_codes = reason_codes;
        Ok(subscription)
    }
}

/// The future of a [`Subscribe`].
pub struct Subscribing(Pin<Box<dyn Future<Output = Result<Subscription, SubscribeError>> + Send>>);

impl fmt::Debug for Subscribing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribing").finish_non_exhaustive()
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = Subscribing;

    fn into_future(self) -> Subscribing {
        Subscribing(Box::pin(self.run()))
    }
}

impl Future for Subscribing {
    type Output = Result<Subscription, SubscribeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// The messages of one subscription, as a stream.
///
/// It ends after [`Subscription::unsubscribe`] or [`Client::unsubscribe`], and when the client has
/// disconnected for good; what waits in its buffer is given out before. A reconnect does not end
/// it. It does not keep the connection: that ends gracefully with the last [`Client`].
///
/// Unless acknowledgement is manual, a message is acknowledged when the stream gives it out.
///
/// Dropping it unsubscribes in the background; what waited in it is acknowledged and lost.
pub struct Subscription {
    shared: Arc<Shared>,
    id: RouteId,
    queue: Arc<StreamQueue>,
    topic_filters: Vec<TopicFilter>,
    reason_codes: Vec<ReasonCode>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic_filters", &self.topic_filters)
            .field("reason_codes", &self.reason_codes)
            .field("waiting", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next message; `None` once the stream has ended.
    ///
    /// Cancellation safe: a message is taken, and acknowledged, only when it is given.
    pub async fn next(&mut self) -> Option<Received> {
        poll_fn(|cx| self.poll_received(cx)).await
    }

    /// The next message, if it waits already.
    pub fn try_next(&mut self) -> Option<Received> {
        self.queue.try_pop().map(|delivered| delivered.hand_over(&self.shared))
    }

    fn poll_received(&self, cx: &Context<'_>) -> Poll<Option<Received>> {
        let popped = self.queue.poll_pop(cx);
        popped.map(|delivered| delivered.map(|delivered| delivered.hand_over(&self.shared)))
    }

    /// The Topic Filters that were asked for, in their order.
    pub fn topic_filters(&self) -> &[TopicFilter] {
        &self.topic_filters
    }

    /// The Server's answer for each Topic Filter: a granted QoS, or why it was refused. At least
    /// one was granted.
    pub fn reason_codes(&self) -> &[ReasonCode] {
        &self.reason_codes
    }

    /// The QoS that was granted to the first Topic Filter; `None` when it was refused.
    pub fn granted_qos(&self) -> Option<QoS> {
        QoS::new(self.reason_codes.first()?.value())
    }

    /// How many messages were dropped because the buffer was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// How many messages wait in the buffer.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Unsubscribes and resolves at the Server's answer; messages that wait can still be read.
    /// A Topic Filter that another stream of this client has as well stays subscribed for it.
    ///
    /// Cancellation safe: once polled the subscription ends whether or not this is awaited.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn unsubscribe(&mut self) -> Result<(), SubscribeError> {
        if self.queue.is_ended() {
            return Ok(());
        }
        let (reply, outcome) = oneshot::channel();
        end(&self.shared, Control::Detach { id: self.id, reply: Some(reply) }, outcome).await
    }
}

impl Stream for Subscription {
    type Item = Received;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.poll_received(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for delivered in self.queue.detach() {
            if let Some(settled) = delivered.ack.and_then(|ack| ack.settle(ReasonCode::Success)) {
                self.shared.push_ack(settled);
            }
        }
        // Without a driver there is nothing left to end.
        let _ = self.shared.push_control(Control::Detach { id: self.id, reply: None });
    }
}
