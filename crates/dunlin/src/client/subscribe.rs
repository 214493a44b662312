//! `dunlin sub`: subscribes and prints what arrives.

use super::args::{ConnectArgs, Target, parse_qos};
use super::{Link, block_on, stop_signal};
use crate::arguments::positive;
use crate::failure::{EXIT_CODES, Failure};
use crate::format::{Arrival, Format};
use clap::Args;
use dunlin_codec::{Disconnect, QoS, ReasonCode, Subscription, SubscriptionOptions, TopicFilter};
use dunlin_protocol::{AckToken, ClientEvent, ConnectionEnd, Message, PublishEvent, Session};
use std::io::{self, Write as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

/// The exit code when the time of -W is over, as mosquitto_sub has it.
const TIMED_OUT: u8 = 27;
/// The pause before the first attempt to connect again.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to connect again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Formats (-F): %t topic, %p payload, %x %X payload in hex, %l its length, %q QoS,
  %r retained, %m packet id, %j %J JSON, %I %U time, %C content type, %E expiry,
  %F payload format, %D correlation data, %P user properties, %R response topic,
  %S subscription id, %A topic alias; %10t %-10t %.3t %05l pad and cut; @Y @H ...
  are conversions of dates, @N nanoseconds; \\n \\t \\0 \\e are escapes.

Examples:
  dunlin sub -t 'sensors/#' -v
  dunlin sub -t a -t b/+ -q 1 -F '%I %t %p'
  dunlin sub -t state -C 1 -W 5                     one message, at most 5 s
  dunlin sub -t '#' -c -i me -q 1                   what was missed as well
  dunlin sub 'mqtt://host/$SYS/#' -v

A lost connection is made again. Messages are acknowledged once printed.";

/// Print messages; the flags are those of mosquitto_sub.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct SubArgs {
    /// A Topic Filter to subscribe to; repeat for more
    #[arg(short, long = "topic", value_name = "FILTER")]
    topics: Vec<String>,
    /// Don't print what matches this Topic Filter; repeat for more
    #[arg(short = 'T', long, value_name = "FILTER")]
    filter_out: Vec<String>,
    /// Unsubscribe from this Topic Filter of a kept session; repeat for more
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// The highest QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", value_parser = parse_qos, default_value = "0")]
    qos: QoS,
    /// Print the topic before each message
    #[arg(short, long)]
    verbose: bool,
    /// Print each message like this; see below
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true)]
    format: Option<String>,
    /// Print JSON (%j, %J) over several lines
    #[arg(long)]
    pretty: bool,
    /// Print no line end after a message
    #[arg(short = 'N')]
    no_line_end: bool,
    /// Exit after this many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = positive)]
    count: Option<u64>,
    /// Exit after this many seconds, with code 27
    #[arg(short = 'W', value_name = "SECS", value_parser = positive)]
    timeout_secs: Option<u64>,
    /// Exit once the subscriptions are acknowledged
    #[arg(short = 'E')]
    exit_after_suback: bool,
    /// Don't print retained messages
    #[arg(short = 'R', conflicts_with = "retained_only")]
    no_retained: bool,
    /// Print retained messages only, and exit with the first that isn't
    #[arg(long)]
    retained_only: bool,
    /// Remove each retained message that arrives from the broker
    #[arg(long)]
    remove_retained: bool,
    /// Show messages as retained if they were published so (MQTT 5)
    #[arg(long)]
    retain_as_published: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl SubArgs {
    /// Prints messages until told to stop.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let target = self.connect.target()?;
        let filters = self.topics.iter().chain(target.topic.as_ref());
        let filters = parse_filters("-t", filters)?;
        let unsubscribe = parse_filters("-U", self.unsubscribe.iter())?;
        let filter_out = parse_filters("-T", self.filter_out.iter())?;
        if filters.is_empty() && unsubscribe.is_empty() {
            return Err(Failure::usage("no topic; add -t FILTER"));
        }
        let format = match &self.format {
            Some(format) => {
                Format::parse(format).map_err(|error| Failure::usage(format!("-F: {error}")))?
            }
            None if self.verbose => Format::verbose(),
            None => Format::payload(),
        };
        let quiet = self.connect.quiet;
        let left = self.count;
        let mut subscriber = Subscriber {
            args: self,
            target,
            filters,
            unsubscribe,
            filter_out,
            format,
            left,
            was_accepted: false,
            printed: Vec::new(),
        };
        let done = block_on(subscriber.run());
        done.map_err(|failure| if quiet { failure.silenced() } else { failure })
    }
}

fn parse_filters<'a>(
    flag: &str,
    filters: impl Iterator<Item = &'a String>,
) -> Result<Vec<TopicFilter>, Failure> {
    let parse = |text: &String| {
        TopicFilter::from_str(text)
            .map_err(|error| Failure::usage(format!("{flag} {text:?}: {error}")))
    };
    filters.map(parse).collect()
}

struct Subscriber {
    args: SubArgs,
    target: Target,
    filters: Vec<TopicFilter>,
    unsubscribe: Vec<TopicFilter>,
    filter_out: Vec<TopicFilter>,
    format: Format,
    /// Messages to print before the end.
    left: Option<u64>,
    /// Whether the broker accepted a connection already: from then on, what passes is waited for.
    was_accepted: bool,
    /// What was printed and waits to be written out.
    printed: Vec<u8>,
}

/// What comes after an event.
enum Next {
    GoOn,
    /// All that was asked for is done.
    Done,
}

impl Subscriber {
    async fn run(&mut self) -> Result<(), Failure> {
        let stop = stop_signal();
        tokio::pin!(stop);
        let mut session = Session::new();
        let mut deadline = None;
        let mut pause = Duration::ZERO;
        loop {
            let link = tokio::select! {
                link = self.open(session, pause) => link?,
                () = &mut stop => return Ok(()),
                () = sleep_until(deadline) => return Err(Failure::silent(TIMED_OUT)),
            };
            // The time of -W begins with the first connection.
            deadline = deadline.or_else(|| {
                let secs = self.args.timeout_secs?;
                tokio::time::Instant::now().checked_add(Duration::from_secs(secs))
            });
            let mut link = link;
            let (ended, code) = tokio::select! {
                ended = self.serve(&mut link) => (ended, None),
                () = &mut stop => (Ok(()), None),
                () = sleep_until(deadline) => (Ok(()), Some(TIMED_OUT)),
            };
            match ended {
                Ok(()) => {
                    self.write_out()?;
                    let properties = self.target.properties.disconnect.clone();
                    link.close(&Disconnect { reason_code: ReasonCode::Success, properties }).await;
                    return code.map_or(Ok(()), |code| Err(Failure::silent(code)));
                }
                Err(Interruption::Final(failure)) => {
                    link.finish().await;
                    return Err(failure);
                }
                Err(Interruption::Refused(why)) => {
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    if !self.args.connect.quiet {
                        eprintln!("{why}; trying again");
                    }
                    session = link.finish().await;
                }
                Err(Interruption::Lost(why)) => {
                    pause = RETRY_PAUSE_MIN;
                    if !self.args.connect.quiet {
                        eprintln!("{why}; connecting again");
                    }
                    session = link.finish().await;
                }
            }
        }
    }

    /// Connects, and after the first time tries again until it works.
    async fn open(&self, session: Session, mut pause: Duration) -> Result<Link, Failure> {
        let again = !pause.is_zero();
        let mut session = Some(session);
        loop {
            tokio::time::sleep(pause).await;
            // A Session is lost to an attempt that fails; the broker then sends again what it
            // has no acknowledgement for.
            let session = session.take().unwrap_or_default();
            let opened = Link::open(&self.target, session, self.args.connect.debug).await;
            if opened.is_ok() || !again {
                return opened;
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Subscribes, and prints until the end.
    async fn serve(&mut self, link: &mut Link) -> Result<(), Interruption> {
        if let Err(failure) = link.accepted().await {
            return Err(match link.connection.end() {
                Some(end) if self.was_accepted && passes(end) => Interruption::Refused(told(end)),
                _ => Interruption::Final(failure),
            });
        }
        if std::mem::replace(&mut self.was_accepted, true) && !self.args.connect.quiet {
            eprintln!("connected again");
        }
        let mut answers = self.subscribe(link)?;
        let mut to_acknowledge = Vec::new();
        // QoS 2 messages that were printed and not yet released.
        let mut unreleased: usize = 0;
        let mut is_done = false;
        loop {
            while let Some(event) = link.poll_event() {
                match event {
                    // What comes after the last message stays unacknowledged: a kept session gets
                    // it again.
                    Ok(ClientEvent::Publish(_)) if is_done => {}
                    Ok(ClientEvent::Publish(publish)) => {
                        is_done = matches!(self.print(link, &publish)?, Next::Done);
                        unreleased += usize::from(publish.message.qos == QoS::ExactlyOnce);
                        to_acknowledge.extend(publish.ack);
                    }
                    Ok(ClientEvent::Released(ack)) => {
                        unreleased = unreleased.saturating_sub(1);
                        to_acknowledge.push(ack);
                    }
                    Ok(ClientEvent::SubAck(suback)) => {
                        self.check_granted(&suback.reason_codes)?;
                        answers -= 1;
                    }
                    Ok(ClientEvent::UnsubAck(_)) => answers -= 1,
                    Ok(_) => {}
                    Err(end) => return Err(Interruption::of(link, &end)),
                }
                is_done |= self.args.exit_after_suback && answers == 0;
            }
            self.write_out()?;
            let held_back = !to_acknowledge.is_empty();
            acknowledge(link, &mut to_acknowledge);
            if is_done && unreleased == 0 {
                return Ok(());
            }
            // Packets that waited for an acknowledgement may be there already.
            if !held_back {
                link.turn().await;
            }
        }
    }

    /// Sends SUBSCRIBE and UNSUBSCRIBE; gives how many answers to expect.
    fn subscribe(&self, link: &mut Link) -> Result<usize, Failure> {
        let now = link.now();
        let (connection, output) = (&mut link.connection, &mut link.output);
        let failed = |error| Failure::new(format!("can't subscribe: {error}"));
        let options = SubscriptionOptions {
            maximum_qos: self.args.qos,
            retain_as_published: self.args.retain_as_published,
            ..SubscriptionOptions::default()
        };
        let properties = &self.target.properties;
        let mut answers = 0;
        if !self.filters.is_empty() {
            let subscription =
                |filter: &TopicFilter| Subscription { topic_filter: filter.clone(), options };
            let subscriptions = self.filters.iter().map(subscription).collect();
            let properties = properties.subscribe.clone();
            connection.subscribe(now, properties, subscriptions, output).map_err(failed)?;
            answers += 1;
        }
        if !self.unsubscribe.is_empty() {
            let (properties, filters) = (properties.unsubscribe.clone(), self.unsubscribe.clone());
            connection.unsubscribe(now, properties, filters, output).map_err(failed)?;
            answers += 1;
        }
        Ok(answers)
    }

    fn check_granted(&self, reason_codes: &[ReasonCode]) -> Result<(), Failure> {
        let refused = self.filters.iter().zip(reason_codes).filter(|(_, code)| code.is_error());
        let refused: Vec<_> = refused.collect();
        let Some((_, first)) = refused.first() else { return Ok(()) };
        let reasons: Vec<String> =
            refused.iter().map(|(filter, code)| format!("{filter}: {code}")).collect();
        let message = format!("the broker refused the subscription to {}", reasons.join(", "));
        if refused.len() == self.filters.len() {
            return Err(Failure::refused(**first, message));
        }
        if !self.args.connect.quiet {
            eprintln!("warning: {message}");
        }
        Ok(())
    }

    fn print(&mut self, link: &mut Link, publish: &PublishEvent) -> Result<Next, Failure> {
        let message = &publish.message;
        let is_out =
            |filter: &TopicFilter| dunlin_topics::topic_matches(filter, &message.topic_name);
        if self.filter_out.iter().any(is_out) {
            return Ok(Next::GoOn);
        }
        if message.retain && self.args.remove_retained {
            remove_retained(link, message);
        }
        if self.args.retained_only && !message.retain {
            return Ok(Next::Done);
        }
        if self.args.no_retained && message.retain {
            return Ok(Next::GoOn);
        }
        let arrival = Arrival {
            time: &jiff::Zoned::now(),
            topic_name: &message.topic_name,
            payload: &message.payload,
            qos: message.qos.value(),
            retain: message.retain,
            packet_identifier: publish.ack.map_or(0, |ack| ack.packet_identifier().value()),
            message_expiry_interval: message.message_expiry_interval(link.now()),
            subscription_identifiers: &publish.subscription_identifiers,
            properties: message.properties.as_deref(),
        };
        // Without content there is nothing to show, unless a format asks for other parts.
        let is_empty = message.payload.is_empty() && self.args.format.is_none();
        let shown = match (is_empty, self.args.verbose) {
            (false, _) => self.format.print(&arrival, self.args.pretty, &mut self.printed),
            (true, true) => {
                self.printed.extend_from_slice(message.topic_name.as_bytes());
                self.printed.extend_from_slice(b" (null)");
                Ok(())
            }
            (true, false) => Ok(()),
        };
        match shown {
            Ok(()) if is_empty && !self.args.verbose => {}
            Ok(()) if self.args.no_line_end => {}
            Ok(()) => self.printed.push(b'\n'),
            Err(error) => eprintln!("error: {error}"),
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(Next::Done);
            }
        }
        Ok(Next::GoOn)
    }

    fn write_out(&mut self) -> Result<(), Failure> {
        if self.printed.is_empty() {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        let written = output.write_all(&self.printed).and_then(|()| output.flush());
        self.printed.clear();
        written.map_err(|error| match error.kind() {
            // Whoever reads the output has seen enough.
            io::ErrorKind::BrokenPipe => Failure::silent(0),
            _ => Failure::new(format!("standard output: {error}")),
        })
    }
}

/// Why serving a connection ended before all was done.
enum Interruption {
    Final(Failure),
    /// The connection is lost, for the reason given, and another one may do.
    Lost(String),
    /// The same before it was accepted.
    Refused(String),
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl Interruption {
    fn of(link: &Link, end: &ConnectionEnd) -> Self {
        if passes(end) { Self::Lost(told(end)) } else { Self::Final(link.ended(end)) }
    }
}

/// Whether a connection that ended like this may be made again later: the network failed, or the
/// broker is away for a while. What it has against this client stays.
fn passes(end: &ConnectionEnd) -> bool {
    let passing = |reason_code: ReasonCode| {
        matches!(
            reason_code,
            ReasonCode::ServerUnavailable
                | ReasonCode::ServerBusy
                | ReasonCode::ServerShuttingDown
                | ReasonCode::KeepAliveTimeout
                | ReasonCode::ConnectionRateExceeded
        )
    };
    match end {
        ConnectionEnd::Network
        | ConnectionEnd::KeepAliveTimeout
        | ConnectionEnd::ConnectTimeout => true,
        ConnectionEnd::Peer(disconnect) => passing(disconnect.reason_code),
        ConnectionEnd::Refused(reason_code) => passing(*reason_code),
        _ => false,
    }
}

/// The end of a connection in a user's words.
fn told(end: &ConnectionEnd) -> String {
    match end {
        ConnectionEnd::Peer(disconnect) => {
            format!("the broker ended the connection: {}", disconnect.reason_code)
        }
        ConnectionEnd::Refused(reason_code) => {
            format!("the broker refused the connection: {reason_code}")
        }
        other => other.to_string(),
    }
}

fn acknowledge(link: &mut Link, tokens: &mut Vec<AckToken>) {
    let now = link.now();
    for token in tokens.drain(..) {
        // It fails only when the connection is over, which the next event tells.
        let _ = link.connection.acknowledge(now, token, ReasonCode::Success, &mut link.output);
    }
}

/// An empty retained message takes the place of the one that arrived.
fn remove_retained(link: &mut Link, message: &Message) {
    let mut empty = Message::new(message.topic_name.detached(), bytes::Bytes::new());
    empty.retain = true;
    let now = link.now();
    if let Err(error) = link.connection.publish(now, &Arc::new(empty), &mut link.output) {
        eprintln!("error: {} is not removed: {error}", message.topic_name);
    }
}

/// Completes at this time; never when there is none.
async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
