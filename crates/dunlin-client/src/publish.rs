//! Publishing: the builder, and the futures that wait for room and for the outcome.

use crate::shared::{NotQueued, Queued, Shared};
use crate::{Client, PublishError};
use bytes::Bytes;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{MessageProperties, QoS, ReasonCode, Text, TopicName};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// Bytes of the largest message that surely fits into a packet, whatever lies around them.
const STORABLE_SIZE_MAX: usize = 268_435_455 - 256;

/// A message in the making. Await it to publish it and learn the outcome:
///
/// | QoS | the future resolves when |
/// |---|---|
/// | 0 | the message was written to the transport |
/// | 1 | the Server has acknowledged it (PUBACK) |
/// | 2 | the exchange is complete (PUBCOMP) |
///
/// While the connection is away messages wait for the next one; those of QoS 1 and 2 survive its
/// loss at any moment, a QoS 0 message that was being written then is lost.
///
/// To have many messages under way from one task, use [`Publish::send`], which waits for room in
/// the queue alone.
///
/// # Cancellation
/// Dropped before it was first polled, or while it waits for room, the message is not published.
/// Dropped later, the message is published all the same, and its outcome is not told.
#[must_use = "nothing is published until this is awaited or sent"]
pub struct Publish {
    shared: Arc<Shared>,
    message: Result<Message, PublishError>,
    properties: MessageProperties,
    deadline: Option<Instant>,
}

/// The Server, or at QoS 0 the transport, has the message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishAck {
    /// The Server's Reason Code, below 0x80: [`ReasonCode::Success`], or
    /// [`ReasonCode::NoMatchingSubscribers`].
    pub reason_code: ReasonCode,
    /// The Server's words for it.
    pub reason_string: Option<Text>,
}

impl PublishAck {
    pub(crate) const fn success() -> Self {
        Self { reason_code: ReasonCode::Success, reason_string: None }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").field("message", &self.message).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a message, by default of QoS 0 and not retained; see [`Publish`].
    ///
    /// A Topic Name that is not legal is told when the message is sent.
    pub fn publish(
        &self,
        topic_name: impl TryInto<TopicName, Error: Into<PublishError>>,
        payload: impl Into<Bytes>,
    ) -> Publish {
        let topic_name = topic_name.try_into().map_err(Into::into);
        Publish {
            shared: self.shared().clone(),
            message: topic_name.map(|topic_name| Message::new(topic_name, payload)),
            properties: MessageProperties::default(),
            deadline: None,
        }
    }
}

impl Publish {
    fn with(mut self, set: impl FnOnce(&mut Message)) -> Self {
        if let Ok(message) = &mut self.message {
            set(message);
        }
        self
    }

    fn with_text<T: TryInto<Text, Error: Into<PublishError>>>(
        mut self,
        text: T,
        set: impl FnOnce(&mut MessageProperties, Text),
    ) -> Self {
        match text.try_into() {
            Ok(text) => set(&mut self.properties, text),
            Err(error) => self.message = Err(error.into()),
        }
        self
    }

    /// How hard to try. Default: QoS 0.
    pub fn qos(self, qos: QoS) -> Self {
        self.with(|message| message.qos = qos)
    }

    /// Whether the Server keeps the message for later subscribers. Default: no.
    pub fn retain(self, retain: bool) -> Self {
        self.with(|message| message.retain = retain)
    }

    /// How long the message is worth delivering, in whole seconds, counted from now; the time
    /// that it waits in this client counts. MQTT 5.0 tells it to the Server as well.
    pub fn message_expiry_interval(self, interval: Duration) -> Self {
        let now = self.shared.clock.now();
        let secs = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
        self.with(|message| message.expire_after(now, secs))
    }

    /// What the payload is, for its receivers. MQTT 5.0; left out in 3.x.
    pub fn content_type(self, content_type: impl TryInto<Text, Error: Into<PublishError>>) -> Self {
        self.with_text(content_type, |properties, text| properties.content_type = Some(text))
    }

    /// Where an answer is expected. MQTT 5.0; left out in 3.x.
    pub fn response_topic(
        mut self,
        response_topic: impl TryInto<TopicName, Error: Into<PublishError>>,
    ) -> Self {
        match response_topic.try_into() {
            Ok(topic_name) => self.properties.response_topic = Some(topic_name),
            Err(error) => self.message = Err(error.into()),
        }
        self
    }

    /// What the answer must repeat so that it finds its request. MQTT 5.0; left out in 3.x.
    pub fn correlation_data(mut self, correlation_data: impl Into<Bytes>) -> Self {
        self.properties.correlation_data = Some(correlation_data.into());
        self
    }

    /// Says of the payload whether it is UTF-8 text. MQTT 5.0; left out in 3.x.
    pub const fn payload_format_indicator(mut self, is_utf8: bool) -> Self {
        self.properties.payload_format_indicator = Some(is_utf8);
        self
    }

    /// Adds a User Property, after those that were added before. MQTT 5.0; left out in 3.x.
    pub fn user_property(
        mut self,
        name: impl TryInto<Text, Error: Into<PublishError>>,
        value: impl TryInto<Text, Error: Into<PublishError>>,
    ) -> Self {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => self.properties.user_properties.push((name, value)),
            (Err(error), _) => self.message = Err(error.into()),
            (_, Err(error)) => self.message = Err(error.into()),
        }
        self
    }

    /// Gives up after this time, counted from now, with [`PublishError::Timeout`]. A message that
    /// waits for room then is not published; one that is queued or under way still is.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now().checked_add(timeout);
        self
    }

    fn queued(self) -> Result<(Arc<Shared>, Queued, Delivery), PublishError> {
        let mut message = self.message?;
        if !self.properties.is_empty() {
            message.properties = Some(Arc::new(self.properties));
        }
        if self.shared.has_store && message.qos != QoS::AtMostOnce {
            check_storable(&message)?;
        }
        let (reply, outcome) = oneshot::channel();
        let queued = self.shared.queued(message, reply);
        Ok((self.shared, queued, Delivery(outcome)))
    }

    /// Hands the message over if there is room for it now. It is not waited for until a Session
    /// Store has the message.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] when there is none and the policy is not to drop the oldest;
    /// [`PublishError::Disconnected`]; an illegal setting. The message is not published then.
    pub fn try_send(self) -> Result<Delivery, PublishError> {
        let (shared, queued, delivery) = self.queued()?;
        match shared.try_enqueue(queued) {
            Ok(()) => Ok(delivery),
            Err(NotQueued::Full(_)) => Err(PublishError::QueueFull),
            Err(NotQueued::Error(error)) => Err(error),
        }
    }

    /// Hands the message over as soon as there is room for it; the outcome comes from the
    /// [`Delivery`] that this resolves to.
    ///
    /// With a [`crate::ClientBuilder::session_store`] a QoS 1 or 2 message is handed over when the
    /// store has it: from then on it arrives even if this process is killed, or its device loses
    /// power, once a program goes on with the store.
    ///
    /// Cancellation safe: dropped before it is done, the message is not published; with a Session
    /// Store it may be.
    pub fn send(self) -> Sending {
        let deadline = self.deadline;
        let state = match self.queued() {
            Ok((shared, mut queued, delivery)) => {
                let mut stored = None;
                if shared.has_store && queued.message.qos != QoS::AtMostOnce {
                    let (accepted, outcome) = oneshot::channel();
                    queued.accepted = Some(accepted);
                    stored = Some(outcome);
                }
                SendState::Ready { shared, queued, accepted: Accepted { stored, delivery } }
            }
            Err(error) => SendState::Failed(error),
        };
        Sending { state, deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))) }
    }
}

impl IntoFuture for Publish {
    type Output = Result<PublishAck, PublishError>;
    type IntoFuture = Publishing;

    fn into_future(self) -> Publishing {
        Publishing { send: self.send(), delivery: None }
    }
}

/// The outcome of a message that was handed over: a future. Dropping it changes nothing about the
/// message.
///
/// Cancellation safe: the outcome is given once, to the poll that sees it.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<PublishAck, PublishError>>);

impl Future for Delivery {
    type Output = Result<PublishAck, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(outcome.unwrap_or(Err(PublishError::Disconnected)))
    }
}

/// Waits for room in the queue; see [`Publish::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sending {
    state: SendState,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum SendState {
    Ready { shared: Arc<Shared>, queued: Queued, accepted: Accepted },
    Waiting { queueing: Queueing, accepted: Accepted },
    Storing(Accepted),
    Failed(PublishError),
    Done,
}

/// A message that is accepted once it is stored.
struct Accepted {
    /// Set while the Session Store is to say so.
    stored: Option<oneshot::Receiver<()>>,
    delivery: Delivery,
}

type Queueing = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl Sending {
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<PublishError> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx).map(|()| PublishError::Timeout),
            None => Poll::Pending,
        }
    }
}

impl Future for Sending {
    type Output = Result<Delivery, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = std::mem::replace(&mut self.state, SendState::Done);
        if let SendState::Ready { shared, queued, accepted } = state {
            state = match shared.try_enqueue(queued) {
                Ok(()) => SendState::Storing(accepted),
                Err(NotQueued::Error(error)) => SendState::Failed(error),
                Err(NotQueued::Full(queued)) => {
                    let queueing = Box::pin(shared.enqueue(queued));
                    SendState::Waiting { queueing, accepted }
                }
            };
        }
        if let SendState::Waiting { mut queueing, accepted } = state {
            state = match queueing.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => SendState::Storing(accepted),
                Poll::Ready(Err(error)) => SendState::Failed(error),
                Poll::Pending => SendState::Waiting { queueing, accepted },
            };
        }
        if let SendState::Storing(mut accepted) = state {
            match accepted.poll(cx) {
                Poll::Ready(outcome) => return Poll::Ready(outcome.map(|()| accepted.delivery)),
                Poll::Pending => state = SendState::Storing(accepted),
            }
        }
        match state {
            SendState::Failed(error) => return Poll::Ready(Err(error)),
            SendState::Done => panic!("polled after it was ready"),
            state => self.state = state,
        }
        self.poll_deadline(cx).map(Err)
    }
}

impl Accepted {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        if let Some(stored) = &mut self.stored {
            if ready!(Pin::new(stored).poll(cx)).is_ok() {
                return Poll::Ready(Ok(()));
            }
            // It never will be, and its outcome says why.
            return match ready!(Pin::new(&mut self.delivery).poll(cx)) {
                Ok(_) => Poll::Ready(Err(PublishError::Disconnected)),
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether a Session Store can write it: as a packet.
fn check_storable(message: &Message) -> Result<(), PublishError> {
    let correlation_data =
        message.properties.as_ref().and_then(|properties| properties.correlation_data.as_ref());
    if correlation_data.is_some_and(|data| data.len() > usize::from(u16::MAX)) {
        return Err(PublishError::PropertyTooLong);
    }
    if message.size() > STORABLE_SIZE_MAX {
        return Err(PublishError::PacketTooLarge);
    }
    Ok(())
}

/// Publishes a message and waits for its outcome; see [`Publish`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Publishing {
    send: Sending,
    delivery: Option<Delivery>,
}

impl Future for Publishing {
    type Output = Result<PublishAck, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.delivery.is_none() {
            let delivery = ready!(Pin::new(&mut self.send).poll(cx))?;
            self.delivery = Some(delivery);
        }
        if let Some(delivery) = &mut self.delivery
            && let Poll::Ready(outcome) = Pin::new(delivery).poll(cx)
        {
            return Poll::Ready(outcome);
        }
        self.send.poll_deadline(cx).map(Err)
    }
}
