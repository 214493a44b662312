//! A connection to a broker: a socket, and the state machine that speaks MQTT over it.

use super::advice::{Asked, is_closed};
use super::args::ScramLogin;
use super::args::Target;
use super::trace::Trace;
use crate::failure::Failure;
use bytes::{Bytes, BytesMut};
use dunlin_client::{Authenticator as _, ByteStream, Foreign, Scram, TlsFault, Transport as _};
use dunlin_codec::{Auth, AuthProperties, ConnAck, Disconnect, ReasonCode, Text, TransmitBuf};
use dunlin_protocol::{
    ClientConfig, ClientConnection, ClientEvent, ConnectionEnd, Instant, Progress, Session,
};
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a farewell may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What is read at once, at most.
const READ_BYTES: usize = 64 * 1024;

/// A connection to a broker.
pub(super) struct Link {
    stream: Box<dyn ByteStream>,
    /// Whether something was written that the stream may still hold.
    needs_flush: bool,
    pub(super) connection: ClientConnection,
    /// An exchange of enhanced authentication, if one was begun.
    exchange: Option<Scram>,
    input: BytesMut,
    pub(super) output: TransmitBuf,
    began: std::time::Instant,
    trace: Option<Trace>,
    asked: Asked,
    /// What ended the connection, as the system or TLS has it; nothing if it was just closed.
    failure: Option<io::Error>,
    /// What the other end speaks in place of MQTT.
    foreign: Option<Foreign>,
    /// Whether anything of MQTT came.
    is_answered: bool,
}

impl Link {
    /// Connects and sends CONNECT; the answer comes as an event.
    pub(super) async fn open(
        target: &Target,
        session: Session,
        debug: bool,
    ) -> Result<Self, Failure> {
        let asked = target.asked.clone();
        let mut transport = target.transport.clone();
        let opening = tokio::time::timeout(CONNECT_TIMEOUT, transport.connect());
        let stream = match opening.await {
            Ok(opened) => opened.map_err(|error| asked.unconnected(&error))?,
            Err(_) => {
                let (peer, secs) = (asked.peer, CONNECT_TIMEOUT.as_secs());
                return Err(Failure::new(format!("{peer} doesn't answer within {secs} s")));
            }
        };
        let began = std::time::Instant::now();
        let mut output = TransmitBuf::new();
        let mut connect = target.connect.clone();
        let mut exchange = target.scram.as_ref().map(ScramLogin::exchange);
        if let Some(exchange) = &mut exchange {
            let Some(data) = exchange.begin() else {
                return Err(Failure::usage(
                    "SCRAM forbids a character of the user or the password",
                ));
            };
            connect.properties.authentication_method = Some(exchange.method());
            connect.properties.authentication_data = Some(data);
        }
        let config = ClientConfig {
            connect,
            connect_timeout: CONNECT_TIMEOUT,
            in_flight_max: 1000,
            topic_alias_outbound_max: 16,
        };
        let connection = ClientConnection::new(Instant::ZERO, config, session, &mut output)
            .map_err(|error| Failure::usage(format!("the CONNECT can't be sent: {error}")))?;
        let trace = debug.then(|| Trace::new(target.connect.protocol_version));
        Ok(Self {
            stream,
            needs_flush: false,
            connection,
            exchange,
            input: BytesMut::new(),
            output,
            began,
            trace,
            asked,
            failure: None,
            foreign: None,
            is_answered: false,
        })
    }

    /// The time on the connection's clock.
    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What was received and not yet seen; `None` when [`Link::turn`] has to bring more.
    pub(super) fn poll_event(&mut self) -> Option<Result<ClientEvent, ConnectionEnd>> {
        loop {
            let now = self.now();
            match self.connection.handle_input(now, &mut self.input, &mut self.output) {
                Progress::Event(event) => {
                    self.is_answered = true;
                    return Some(Ok(event));
                }
                Progress::Packet => {}
                Progress::NeedInput => break,
                Progress::Closed => {
                    let end = self.connection.end().cloned();
                    return Some(Err(end.unwrap_or(ConnectionEnd::Network)));
                }
            }
        }
        let now = self.now();
        let mut too_large = Vec::new();
        self.connection.poll_transmit(now, &mut self.output, &mut too_large);
        None
    }

    /// Waits until something could be read or written, or is due, and does it.
    ///
    /// Cancellation safe: what was read or written is accounted for.
    pub(super) async fn turn(&mut self) {
        let due = self.connection.poll_timeout().map(|deadline| {
            let wait = deadline.saturating_since(self.now());
            tokio::time::Instant::now() + wait
        });
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            moved = std::future::poll_fn(|cx| self.poll_move(cx)) => {
                if let Err(error) = moved {
                    let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
                    self.failure = (!is_end).then_some(error);
                    self.connection.handle_network_closed();
                }
            }
            () = timer => {
                let now = self.now();
                self.connection.handle_timeout(now, &mut self.output);
            }
        }
    }

    /// The next event, or why there is none any more. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<ClientEvent, ConnectionEnd> {
        loop {
            if let Some(event) = self.poll_event() {
                return event;
            }
            self.turn().await;
        }
    }

    /// Waits for the broker's answer to CONNECT.
    pub(super) async fn accepted(&mut self) -> Result<Box<ConnAck>, Failure> {
        let mut answer = self.next().await;
        while let (Ok(ClientEvent::Auth(auth)), true) = (&answer, self.exchange.is_some()) {
            let challenge = auth.properties.authentication_data.clone();
            self.respond(challenge.as_ref())?;
            answer = self.next().await;
        }
        match answer {
            Ok(ClientEvent::Connected { connack, .. }) => {
                if let Some(exchange) = &mut self.exchange {
                    let data = connack.properties.authentication_data.as_ref();
                    exchange.finish(data).map_err(|reason| distrusted(&reason))?;
                }
                Ok(connack)
            }
            Ok(ClientEvent::Refused(connack)) => {
                let version = self.connection.version();
                let mut why = format!("the broker refused the connection: {}", connack.reason_code);
                if let Some(words) = &connack.properties.reason_string {
                    why.push_str(&format!(" ({words})"));
                }
                if connack.reason_code == ReasonCode::UnsupportedProtocolVersion && version.is_v5()
                {
                    why.push_str("; try -V 311");
                }
                if connack.reason_code == ReasonCode::BadAuthenticationMethod
                    && self.exchange.is_some()
                {
                    why.push_str(
                        "; leave out --scram, or give the broker users for it (`dunlin passwd --scram`)",
                    );
                }
                Err(Failure::refused(connack.reason_code, why))
            }
            Ok(ClientEvent::Auth(_)) => Err(Failure::new(
                "the broker asks for an authentication exchange that was not begun",
            )),
            Ok(_) => Err(Failure::new("the broker answered with something else than CONNACK")),
            Err(end) => Err(self.ended(&end)),
        }
    }

    /// Answers a challenge of the broker.
    fn respond(&mut self, challenge: Option<&Bytes>) -> Result<(), Failure> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        let answer = exchange.respond(challenge).map_err(|reason| distrusted(&reason))?;
        let properties =
            AuthProperties { authentication_data: answer, ..AuthProperties::default() };
        let auth = Auth { reason_code: ReasonCode::ContinueAuthentication, properties };
        let now = self.now();
        // It fails only on a connection that has just ended, which is told of by what comes next.
        let _ = self.connection.auth(now, auth, &mut self.output);
        Ok(())
    }

    /// Why the connection is over, for the user.
    pub(super) fn ended(&self, end: &ConnectionEnd) -> Failure {
        if let Some(foreign) = self.foreign {
            return Failure::new(self.asked.foreign(foreign));
        }
        match end {
            ConnectionEnd::Peer(disconnect) => Failure::refused(
                disconnect.reason_code,
                format!("the broker ended the connection: {}", disconnect.reason_code),
            ),
            ConnectionEnd::Violation(violation) => Failure::new(format!(
                "the broker broke the protocol: {violation} ({})",
                violation.statement()
            )),
            ConnectionEnd::Network => Failure::new(self.cut_off()),
            other => Failure::new(format!("{}: {other}", self.asked.peer)),
        }
    }

    /// Why the network has ended the connection.
    fn cut_off(&self) -> String {
        let is_closed = self.failure.as_ref().is_none_or(is_closed);
        let unanswered = || (is_closed && !self.is_answered).then(|| self.asked.unanswered());
        match &self.failure {
            Some(failure) if TlsFault::of(failure).is_some() => self.asked.no_tls(failure),
            failure => unanswered().flatten().unwrap_or_else(|| {
                let (peer, end) = (&self.asked.peer, ConnectionEnd::Network);
                match failure {
                    Some(failure) => format!("{peer}: {end}: {failure}"),
                    None => format!("{peer}: {end}"),
                }
            }),
        }
    }

    /// Writes all that waits, while reading goes on.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        while !self.is_written() {
            if let Some(end) = self.connection.end() {
                return Err(self.ended(end));
            }
            self.turn().await;
        }
        Ok(())
    }

    /// Says farewell and closes the connection.
    pub(super) async fn close(mut self, disconnect: &Disconnect) {
        let now = self.now();
        if self.connection.disconnect(now, disconnect, &mut self.output).is_err() {
            let plain = Disconnect::new(ReasonCode::Success);
            let _ = self.connection.disconnect(now, &plain, &mut self.output);
        }
        self.finish().await;
    }

    /// Writes what waits, as far as the broker still takes it, and gives the Session back.
    pub(super) async fn finish(mut self) -> Session {
        let has_left = matches!(self.connection.end(), Some(ConnectionEnd::Local(_)));
        let leaving = async {
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
            // A socket that is closed with unread input takes back what is still on its way, so
            // the broker, which has the DISCONNECT, closes first.
            if has_left {
                loop {
                    std::future::poll_fn(|cx| self.poll_read(cx)).await?;
                    self.input.clear();
                }
            }
            io::Result::Ok(())
        };
        // However it ends, there is nothing more to do.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, leaving).await;
        self.connection.into_session()
    }

    fn is_written(&self) -> bool {
        self.output.is_empty() && !self.needs_flush
    }

    /// Writes and reads what can be; ready when something was.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = (self.output.len(), self.needs_flush);
        let unwritten = match self.poll_write(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        let has_written = waiting != (self.output.len(), self.needs_flush);
        match (self.poll_read(cx), unwritten) {
            // What the other end has said before it left tells more than that it left.
            (Poll::Ready(Ok(())), Some(_)) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(error)), Some(_)) if TlsFault::of(&error).is_some() => {
                Poll::Ready(Err(error))
            }
            (_, Some(error)) => Poll::Ready(Err(error)),
            (Poll::Pending, None) if has_written => Poll::Ready(Ok(())),
            (read, None) => read,
        }
    }

    /// Writes all that waits.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let mut pieces: [&[u8]; 16] = [&[]; 16];
            let count = self.output.pieces(&mut pieces);
            let slices = pieces.map(IoSlice::new);
            let stream = Pin::new(&mut self.stream);
            let written = match stream.poll_write_vectored(cx, &slices[..count]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written?,
            };
            if let Some(trace) = &mut self.trace {
                let mut left = written;
                for piece in &pieces[..count] {
                    let part = &piece[..left.min(piece.len())];
                    trace.sent(part);
                    left -= part.len();
                }
            }
            self.output.advance(written);
            self.needs_flush = true;
        }
        if self.needs_flush {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.reserve(READ_BYTES);
        let before = self.input.len();
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if std::task::ready!(read)? == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(trace) = &mut self.trace {
            trace.received(&self.input[before..]);
        }
        if !self.is_answered {
            self.foreign = self.foreign.or(Foreign::of(&self.input));
        }
        Poll::Ready(Ok(()))
    }
}

/// The broker has not shown that it knows the password.
fn distrusted(reason: &Text) -> Failure {
    Failure::new(format!("the broker is not the one that was meant: {reason}"))
}
