//! Reads the command line, and answers what it doesn't know in terms of this program.

use crate::cli::Cli;
use crate::client::join_properties;
use crate::failure::Failure;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Error, Parser as _};
use std::ffi::OsString;
use std::str::FromStr;

/// Flags of the Mosquitto tools that have no equal here; a trailing `-` stands for any ending.
const ABSENT: &[(&str, &str)] = &[
    ("--capath", "TLS"),
    ("--keyform", "TLS"),
    ("--ciphers", "TLS"),
    ("--tls-", "TLS"),
    ("--psk", "TLS"),
    ("--psk-", "TLS"),
    ("-A", "a local address"),
    ("-M", "a limit of messages in flight"),
    ("-S", "SRV lookup"),
    ("--unix", "a Unix socket"),
    ("--proxy", "SOCKS"),
];

/// Reads the command line. Help that was asked for, and mistakes, end the program.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, Failure> {
    let args = join_properties(args);
    let is_tool = args.get(1).is_some_and(|command| command == "pub" || command == "sub");
    Cli::try_parse_from(args).map_err(|mut error| {
        if is_tool && let Some(message) = absent(&error) {
            return Failure::usage(message);
        }
        remove_value_tip(&mut error);
        error.exit()
    })
}

/// What to say when the error is about a flag that only the Mosquitto tools have.
fn absent(error: &Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let is_meant = |name: &str| match name.strip_suffix('-') {
        Some(_) => flag.starts_with(name),
        None => flag == name,
    };
    let (_, what) = ABSENT.iter().find(|(name, _)| is_meant(name))?;
    Some(format!("{flag} ({what}) is not in this version"))
}

/// Takes away the tip how to pass an unknown flag as a value: nobody means that.
fn remove_value_tip(error: &mut Error) {
    let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) else {
        return;
    };
    tips.retain(|tip: &StyledStr| !tip.to_string().contains("as a value"));
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
}

/// Reads a number from 0.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !text.is_empty() {
            "the number is too large"
        } else {
            "a number is expected"
        }
        .to_owned()
    })
}

/// Reads a number from 1.
pub(crate) fn positive(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("a number from 1 is expected".to_owned()),
        positive => Ok(positive),
    }
}
