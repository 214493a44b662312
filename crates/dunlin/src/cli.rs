//! The command line.

use crate::acl::AclArgs;
use crate::bench::BenchArgs;
use crate::broker::BrokerArgs;
use crate::cert::CertArgs;
use crate::client::publish::PubArgs;
use crate::client::subscribe::SubArgs;
use crate::conformance::ConformanceArgs;
use crate::decode::DecodeArgs;
use crate::failure::{EXIT_CODES, Failure};
use crate::passwd::PasswdArgs;
use crate::store::StoreArgs;
use clap::{Parser, Subcommand};

/// MQTT 3.1, 3.1.1 and 5.0: a broker, and the tools to talk to any broker.
///
/// Without a command, `dunlin` runs the broker.
#[derive(Debug, Parser)]
#[command(
    name = "dunlin",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXIT_CODES,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}")
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    Broker(BrokerArgs),
    /// Publish messages; the flags are those of mosquitto_pub.
    Pub(Box<PubArgs>),
    /// Print messages; the flags are those of mosquitto_sub.
    Sub(Box<SubArgs>),
    /// Print the packets in hex digits or a capture file.
    Decode(DecodeArgs),
    /// Check a broker, or a client, against the statements of the standard.
    Conformance(ConformanceArgs),
    /// Put load on a broker, and check what arrives.
    Bench(Box<BenchArgs>),
    /// Make certificates for a trial of TLS.
    Cert(CertArgs),
    /// Add, change or remove a user of a password file.
    Passwd(PasswdArgs),
    /// Ask who may do what by a file of rules, or make such a file of Mosquitto's.
    Acl(AclArgs),
    /// Look after a broker's data folder: stat, check, forget, compact, export, import, backup.
    Store(StoreArgs),
}

const EXAMPLES: &str = "\
Examples:
  dunlin                                        a broker on 127.0.0.1:1883
  dunlin --listen mqtt://0.0.0.0:1883 --allow-anonymous
  dunlin sub -t 'sensors/#' -v                  print what arrives
  dunlin pub -t sensors/kitchen -m 21.5 -q 1    publish one message
  dunlin decode 30 05 00 01 61 68 69            explain bytes
  dunlin conformance mqtt://localhost:1883      check any broker
  dunlin bench fan-in mqtt://localhost          load, checked and measured
  dunlin cert --out certs                       certificates for a trial of TLS
  dunlin passwd passwords gauge                 a user, for auth.password_file
  dunlin acl explain -u gauge publish a/b       who may do what, and by which rule
  dunlin store stat /var/lib/dunlin             what a broker has stored";

impl Cli {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            None => self.broker.run(),
            Some(Command::Broker(args)) => args.run(),
            Some(Command::Pub(args)) => args.run(),
            Some(Command::Sub(args)) => args.run(),
            Some(Command::Decode(args)) => args.run(),
            Some(Command::Conformance(args)) => args.run(),
            Some(Command::Bench(args)) => args.run(),
            Some(Command::Cert(args)) => args.run(),
            Some(Command::Passwd(args)) => args.run(),
            Some(Command::Acl(args)) => args.run(),
            Some(Command::Store(args)) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_can_be_done_with_a_store_is_named_in_the_list_of_commands() {
        let mut command = Cli::command();
        let store = command.find_subcommand_mut("store").expect("a command");
        let tasks: Vec<_> = store.get_subcommands().map(clap::Command::get_name).collect();
        let about = store.get_about().expect("a description").to_string();
        assert!(about.ends_with(&format!(": {}", tasks.join(", "))), "{about}: {tasks:?}");
    }
}
