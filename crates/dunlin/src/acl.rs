//! `dunlin acl`: asks a file of rules, and makes one of another broker's.

use crate::broker::environment;
use crate::failure::Failure;
use crate::output::print;
use clap::{Args, Subcommand, ValueEnum};
use dunlin_broker::config::LoadedConfig;
use dunlin_broker::rights;
use dunlin_codec::{QoS, Text, TopicFilter, TopicName};
use dunlin_rights::{Action, Explanation, Identity, Question, Rules, Subject, mosquitto};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Ask who may do what by a file of rules, or make such a file.
#[derive(Debug, Args)]
pub(crate) struct AclArgs {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// Say whether somebody may publish or subscribe, and which rule decides.
    Explain(ExplainArgs),
    /// Print the rules that a Mosquitto `acl_file` comes to.
    ImportMosquitto(ImportArgs),
}

/// Say whether somebody may publish or subscribe, and which rule decides.
///
/// Names the deciding rule by its line, and the rules before it that lacked one thing. The rules are
/// those of the broker that the configuration describes, unless --rules names others. A broker that
/// runs is not asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ExplainArgs {
    /// What is asked about
    #[arg(value_name = "ACTION")]
    action: AskedAction,
    /// The Topic Name to publish to, or the Topic Filter to subscribe to
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The user; without one the client is anonymous
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// The Client Identifier
    #[arg(short, long, value_name = "ID", default_value = "")]
    client: String,
    /// A group that its login vouches for, beside those of the file; repeat for more
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// The address that it comes from
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The listener that it comes in by, as the broker prints it: mqtts://0.0.0.0:8883
    #[arg(long, value_name = "URL")]
    listener: Option<String>,
    /// The QoS of the message, or that is asked for
    #[arg(short, long, value_name = "0|1|2", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// The message is to be retained
    #[arg(short, long)]
    retain: bool,
    /// The message is a Will
    #[arg(long)]
    will: bool,
    /// Read this file of rules, and no configuration
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Take `rights.file` of this configuration (or of the one that DUNLIN_CONFIG names)
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AskedAction {
    /// Publish to a Topic Name
    Publish,
    /// Subscribe to a Topic Filter
    Subscribe,
}

/// Print the rules that a Mosquitto `acl_file` comes to.
///
/// What has no equal here, or means something else, is told on standard error with its line.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
struct ImportArgs {
    /// The file
    #[arg(value_name = "ACLFILE")]
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  dunlin acl explain --rules rules.toml --user gauge --client dev-7 publish devices/dev-7/state
  dunlin acl explain --config /etc/dunlin.toml -u alice --group operators subscribe 'devices/#'
  dunlin acl explain --rules rules.toml --client dev-7 publish devices/dev-7/state -q 1 --retain

Exit codes:
  0  allowed
  1  denied
  2  wrong arguments, or no rules";

const IMPORT_EXAMPLES: &str = "\
Example:
  dunlin acl import-mosquitto /etc/mosquitto/acl > rules.toml
  dunlin --set rights.file=rules.toml

Exit codes:
  0  rules were printed, all that the file says or with remarks on what it says otherwise
  1  the file can't be read, or comes to no rule";

impl AclArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            AclCommand::Explain(args) => args.run(),
            AclCommand::ImportMosquitto(args) => args.run(),
        }
    }
}

impl ExplainArgs {
    fn run(self) -> Result<(), Failure> {
        let file = self.file()?;
        let rules = rights::read(&file).map_err(|error| Failure::usage(error.to_string()))?;
        let subject = self.subject()?;
        let name = file.display().to_string();
        let (is_allowed, text) = match self.action {
            AskedAction::Subscribe => self.subscribe(&rules, &subject, &name)?,
            AskedAction::Publish => self.publish(&rules, &subject, &name)?,
        };
        print(&text)?;
        if is_allowed { Ok(()) } else { Err(Failure::silent(1)) }
    }

    /// Where the rules are.
    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(rules) = &self.rules {
            return Ok(rules.clone());
        }
        let loaded = LoadedConfig::load(self.config.as_deref(), &environment(), &[])
            .map_err(|error| Failure::usage(error.to_string()))?;
        loaded.config.rights.file.ok_or_else(|| {
            Failure::usage(
                "there are no rules, so everybody who is let in may do everything; name a file of \
                 them with --rules, or a configuration that sets rights.file with --config",
            )
        })
    }

    fn subject(&self) -> Result<Subject, Failure> {
        let groups = self.group.iter().map(String::as_str);
        let identity = Identity::new(self.user.as_deref(), groups)
            .map_err(|error| Failure::usage(crate::failure::causes(&error)))?;
        let client_identifier: Text = self
            .client
            .parse()
            .map_err(|error| Failure::usage(format!("--client {}: {error}", self.client)))?;
        let mut subject = Subject::new(Arc::new(identity), client_identifier);
        if let Some(address) = self.address {
            subject = subject.with_address(address);
        }
        if let Some(listener) = &self.listener {
            subject = subject.with_listener(listener.as_str().into());
        }
        Ok(subject)
    }

    fn qos(&self) -> QoS {
        QoS::new(self.qos).unwrap_or(QoS::ExactlyOnce)
    }

    fn subscribe(
        &self,
        rules: &Rules,
        subject: &Subject,
        name: &str,
    ) -> Result<(bool, String), Failure> {
        if self.retain || self.will {
            return Err(Failure::usage("--retain and --will are about publishing"));
        }
        let topic_filter: TopicFilter = self
            .topic
            .parse()
            .map_err(|error| Failure::usage(format!("{:?}: {error}", self.topic)))?;
        let explanation = rules.explain(subject, Question::Subscribe(&topic_filter));
        let mut text = rules.describe(&explanation, name);
        let (is_allowed, caps) = (explanation.decision.is_allowed(), explanation.decision.caps());
        if is_allowed && self.qos() > caps.qos_max {
            // Writing to a string can't fail.
            let _ = writeln!(text, "granted with QoS {}, its `qos_max`", caps.qos_max.value());
        }
        Ok((is_allowed, text))
    }

    fn publish(
        &self,
        rules: &Rules,
        subject: &Subject,
        name: &str,
    ) -> Result<(bool, String), Failure> {
        let topic_name: TopicName = self
            .topic
            .parse()
            .map_err(|error| Failure::usage(format!("{:?}: {error}", self.topic)))?;
        // The first that is denied decides.
        let needed = [
            self.will.then_some((Action::Will, Question::Will(&topic_name))),
            Some((Action::Publish, Question::Publish(&topic_name))),
            self.retain.then_some((Action::Retain, Question::Retain(&topic_name))),
        ];
        let mut text = String::new();
        for (action, question) in needed.into_iter().flatten() {
            if self.will || self.retain {
                let _ = writeln!(text, "{action}:");
            }
            let explanation = rules.explain(subject, question);
            text.push_str(&rules.describe(&explanation, name));
            if !explanation.decision.is_allowed() {
                return Ok((false, text));
            }
            if let Some(refused) = self.refused_by_cap(&explanation) {
                text.push_str(&refused);
                return Ok((false, text));
            }
        }
        Ok((true, text))
    }

    fn refused_by_cap(&self, explanation: &Explanation) -> Option<String> {
        let qos_max = explanation.decision.caps().qos_max;
        let refused =
            format!("but denied with QoS {}: `qos_max` is {}\n", self.qos, qos_max.value());
        (self.qos() > qos_max).then_some(refused)
    }
}

impl ImportArgs {
    fn run(self) -> Result<(), Failure> {
        let at_file = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}", self.file.display()))
        };
        let text = fs::read_to_string(&self.file).map_err(|error| at_file(&error))?;
        let import = mosquitto::import(&text).map_err(|error| at_file(&error))?;
        for remark in &import.remarks {
            eprintln!("{}: {remark}", self.file.display());
        }
        print(&import.rules)
    }
}
