//! How the program fails: one line on standard error and an exit code that scripts rely on.

use dunlin_codec::ReasonCode;
use std::process::ExitCode;

/// The exit codes, as `--help` shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0         success
  1         failure: no connection, address in use, bytes that are no packet, ...
  2         wrong arguments or configuration
  27        sub: the time of -W was over
  128..162  the broker refused: its Reason Code (128 + n is 0x80 + n)";

/// Why the program ends without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: Option<String>,
}

impl Failure {
    /// Something went wrong while running.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: Some(message.into()) }
    }

    /// Something went wrong while running: the error with all its causes.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::new(causes(error))
    }

    /// The arguments or the configuration are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: Some(message.into()) }
    }

    /// The user stopped the program: the code that shells give for it.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self { code: 130, message: Some(message.into()) }
    }

    /// What is to be said was said; only the exit code remains.
    pub(crate) const fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    /// The broker refused, with this Reason Code.
    pub(crate) fn refused(reason_code: ReasonCode, message: impl Into<String>) -> Self {
        let code = if reason_code.is_error() { reason_code.value() } else { 1 };
        Self { code, message: Some(message.into()) }
    }

    /// The same without words.
    pub(crate) fn silenced(self) -> Self {
        Self { message: None, ..self }
    }

    /// Says why, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("error: {message}");
        }
        ExitCode::from(self.code)
    }
}

/// An error with all its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
