//! `dunlin pub`: publishes messages.

use super::args::{ConnectArgs, Target, parse_qos, topic_name};
use super::keep::{Keeper, with_properties};
use super::{Link, block_on, stop_signal};
use crate::arguments::number;
use crate::failure::{EXIT_CODES, Failure};
use bytes::Bytes;
use clap::Args;
use dunlin_codec::{Disconnect, QoS, ReasonCode, TopicName};
use dunlin_protocol::{ClientEvent, Message, PublishError, Session};
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes that wait to be written before the next message is made.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

const EXAMPLES: &str = "\
Examples:
  dunlin pub -t sensors/kitchen -m 21.5
  dunlin pub -t state -m on -q 1 -r                 retained, acknowledged
  dunlin pub -t state -n -r                         forget the retained one
  tail -f log | dunlin pub -t log -l                a message for each line
  dunlin pub mqtt://user:secret@host/a/topic -f photo.jpg
  dunlin pub -t a -m x -D publish content-type text/plain
  dunlin pub -t meter -l -q 2 -i meter-7 --session-file meter.session

With --session-file a message that was taken arrives even if this program is killed or the machine
loses power: the next run with the same file and ID sends what is left, also one with nothing to
publish (-l < /dev/null). Messages are taken once the broker was reached: a run that never reaches it
takes none and fails. One that was killed doesn't tell how many lines of -l it took.

Ends when all is sent and, above QoS 0, acknowledged.";

/// Publish messages; the flags are those of mosquitto_pub.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
    group = clap::ArgGroup::new("content")
)]
pub(crate) struct PubArgs {
    /// The Topic Name to publish to
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", group = "content", allow_hyphen_values = true)]
    message: Option<String>,
    /// Publish the content of this file
    #[arg(short, long, value_name = "FILE", group = "content")]
    file: Option<PathBuf>,
    /// Publish each line of standard input
    #[arg(short = 'l', long, group = "content")]
    stdin_line: bool,
    /// Publish standard input as one message
    #[arg(short = 's', long, group = "content")]
    stdin_file: bool,
    /// Publish a message without content
    #[arg(short = 'n', long, group = "content")]
    null_message: bool,
    /// The QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", value_parser = parse_qos, default_value = "0")]
    qos: QoS,
    /// Have the broker retain it for later subscribers
    #[arg(short, long)]
    retain: bool,
    /// Publish it this many times
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "stdin_line",
          value_parser = number::<u64>)]
    repeat: u64,
    /// Seconds between two times
    #[arg(long, value_name = "SECS", default_value_t = 0.0, value_parser = parse_delay)]
    repeat_delay: f64,
    /// Keep the session in this file, so that no message is lost with this program. Needs --id,
    /// and a QoS above 0
    #[arg(long, value_name = "FILE", conflicts_with = "debug")]
    session_file: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn parse_delay(text: &str) -> Result<f64, String> {
    let secs: Option<f64> = text.parse().ok();
    let valid = secs.filter(|secs| Duration::try_from_secs_f64(*secs).is_ok());
    valid.ok_or_else(|| "seconds are expected, like 0.5".to_owned())
}

impl PubArgs {
    /// Publishes and waits for the acknowledgements.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let target = self.connect.target()?;
        let topic = self.topic.clone().or_else(|| target.topic.clone());
        let Some(topic) = topic else {
            return Err(Failure::usage("no topic; add -t TOPIC"));
        };
        let topic = topic_name("-t", &topic)?;
        let has_content = self.message.is_some()
            || self.file.is_some()
            || self.stdin_line
            || self.stdin_file
            || self.null_message;
        if !has_content {
            return Err(Failure::usage("no message; add -m TEXT, -f FILE, -l, -s or -n"));
        }
        let quiet = self.connect.quiet;
        if self.session_file.is_some() && self.qos == QoS::AtMostOnce {
            return Err(Failure::usage("--session-file is of no use at QoS 0; add -q 1 or -q 2"));
        }
        let done = match &self.session_file {
            Some(path) => block_on(self.publish_kept(&target, &topic, path)),
            None => block_on(self.publish(&target, &topic)),
        };
        done.map_err(|failure| if quiet { failure.silenced() } else { failure })
    }

    async fn publish(&self, target: &Target, topic_name: &TopicName) -> Result<(), Failure> {
        let mut lines = self.contents()?;
        let link = Link::open(target, Session::new(), self.connect.debug).await?;
        let mut publisher = Publisher { link, unacknowledged: 0, refused: None };
        publisher.link.accepted().await?;
        let stop = stop_signal();
        tokio::pin!(stop);
        let sending = async {
            let mut is_first = true;
            while let Some(payload) = publisher.next_content(&mut lines).await? {
                if !std::mem::take(&mut is_first) && self.repeat_delay > 0.0 {
                    publisher.settle().await?;
                    publisher.pause(Duration::from_secs_f64(self.repeat_delay)).await?;
                }
                let message = self.message(target, topic_name, payload, &publisher.link);
                publisher.send(&Arc::new(message)).await?;
            }
            publisher.settle().await
        };
        let outcome = tokio::select! {
            outcome = sending => outcome,
            () = &mut stop => Err(Failure::new("interrupted before all was sent")),
        };
        let Publisher { link, refused, .. } = publisher;
        if outcome.is_ok() || link.connection.is_connected() {
            let properties = target.properties.disconnect.clone();
            let reason_code = ReasonCode::Success;
            link.close(&Disconnect { reason_code, properties }).await;
        }
        outcome?;
        refused.map_or(Ok(()), Err)
    }

    async fn publish_kept(
        &self,
        target: &Target,
        topic_name: &TopicName,
        path: &Path,
    ) -> Result<(), Failure> {
        let contents = self.contents()?;
        let keeper = Keeper::connect(target, path).await?;
        let delay = Duration::from_secs_f64(self.repeat_delay);
        let properties = &target.properties;
        let message = |client: &dunlin_client::Client, payload: Bytes| {
            let publish = client.publish(topic_name.clone(), payload);
            let publish = publish.qos(self.qos).retain(self.retain);
            with_properties(publish, &properties.publish, properties.publish_expiry_interval)
        };
        keeper.publish(contents, delay, message, path).await
    }

    fn message(
        &self,
        target: &Target,
        topic_name: &TopicName,
        payload: Bytes,
        link: &Link,
    ) -> Message {
        let mut message = Message::new(topic_name.clone(), payload);
        message.qos = self.qos;
        message.retain = self.retain;
        let properties = &target.properties;
        if !properties.publish.is_empty() {
            message.properties = Some(Arc::new(properties.publish.clone()));
        }
        if let Some(secs) = properties.publish_expiry_interval {
            message.expire_after(link.now(), secs);
        }
        message
    }

    /// Where the contents of the messages come from.
    fn contents(&self) -> Result<Contents, Failure> {
        let once = if let Some(text) = &self.message {
            Bytes::from(text.clone())
        } else if let Some(path) = &self.file {
            let content = std::fs::read(path)
                .map_err(|error| Failure::new(format!("can't read {}: {error}", path.display())));
            Bytes::from(content?)
        } else if self.stdin_file {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut content);
            read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
            Bytes::from(content)
        } else if self.stdin_line {
            return Ok(Contents::Lines(read_lines()));
        } else {
            Bytes::new()
        };
        Ok(Contents::Repeated { payload: once, left: self.repeat })
    }
}

pub(super) enum Contents {
    Repeated { payload: Bytes, left: u64 },
    Lines(mpsc::Receiver<Result<Bytes, String>>),
}

impl Contents {
    /// The next one; `None` after the last. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Repeated { left: 0, .. } => Ok(None),
            Self::Repeated { payload, left } => {
                *left -= 1;
                Ok(Some(payload.clone()))
            }
            Self::Lines(lines) => {
                let line = lines.recv().await.transpose();
                line.map_err(|error| Failure::new(format!("standard input: {error}")))
            }
        }
    }
}

/// Reads standard input in a thread of its own, a bounded number of lines ahead.
fn read_lines() -> mpsc::Receiver<Result<Bytes, String>> {
    let (sender, receiver) = mpsc::channel(256);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    if line.last() == Some(&b'\n') {
                        line.pop();
                    }
                    Ok(Bytes::from(line))
                }
                Err(error) => Err(error.to_string()),
            };
            let is_error = read.is_err();
            if sender.blocking_send(read).is_err() || is_error {
                return;
            }
        }
    });
    receiver
}

struct Publisher {
    link: Link,
    unacknowledged: usize,
    /// The first refusal.
    refused: Option<Failure>,
}

impl Publisher {
    fn on_event(&mut self, event: ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Acknowledged(outcome) => {
                self.unacknowledged -= 1;
                if outcome.reason_code.is_error() {
                    let words = outcome.reason_string.map(|words| format!(" ({words})"));
                    let code = outcome.reason_code;
                    let why = format!(
                        "the broker refused the message: {code}{}",
                        words.unwrap_or_default()
                    );
                    self.refused.get_or_insert(Failure::refused(code, why));
                }
                Ok(())
            }
            // What an earlier session subscribed to isn't asked for here: it stays
            // unacknowledged, for whoever resumes the session.
            _ => Ok(()),
        }
    }

    async fn wait(&mut self) -> Result<(), Failure> {
        match self.link.next().await {
            Ok(event) => self.on_event(event),
            Err(end) => Err(self.link.ended(&end)),
        }
    }

    /// The next content to publish, while the connection is kept alive.
    async fn next_content(&mut self, contents: &mut Contents) -> Result<Option<Bytes>, Failure> {
        loop {
            tokio::select! {
                biased;
                content = contents.next() => return content,
                waited = self.wait() => waited?,
            }
        }
    }

    async fn send(&mut self, message: &Arc<Message>) -> Result<(), Failure> {
        loop {
            let now = self.link.now();
            match self.link.connection.publish(now, message, &mut self.link.output) {
                Ok(packet_identifier) => {
                    self.unacknowledged += usize::from(packet_identifier.is_some());
                    break;
                }
                Err(PublishError::QuotaExhausted) => self.wait().await?,
                Err(error) => {
                    return Err(Failure::new(format!("the message can't be sent: {error}")));
                }
            }
        }
        if self.link.output.len() > OUTPUT_BYTES_MAX {
            self.link.flush().await?;
        }
        Ok(())
    }

    /// Waits until all is written and acknowledged.
    async fn settle(&mut self) -> Result<(), Failure> {
        while self.unacknowledged > 0 {
            self.wait().await?;
        }
        self.link.flush().await
    }

    async fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                waited = self.wait() => waited?,
            }
        }
    }
}
