//! How the other end closed a connection.

use crate::{Passed, Stop, Verdict, failed};
use dunlin_codec::ReasonCode;
use std::fmt;

/// How the other end closed a connection: every way that the standard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Without a word.
    Closed,
    /// A DISCONNECT with this code of 0x80 or more, then closed. Only MQTT 5.0.
    Disconnect(ReasonCode),
    /// A CONNACK with this code of 0x80 or more, or its return code in MQTT 3.1.1, then closed.
    Refused(ReasonCode),
}

impl End {
    /// The code, if one was sent.
    pub const fn reason_code(self) -> Option<ReasonCode> {
        match self {
            Self::Closed => None,
            Self::Disconnect(reason_code) | Self::Refused(reason_code) => Some(reason_code),
        }
    }

    /// The check passes, and this is the behaviour that was seen.
    ///
    /// # Errors
    /// Never: it is a [`Verdict`] to end a check with.
    pub fn passed(self) -> Verdict {
        Ok(Passed { seen: Some(self.to_string()) })
    }

    /// If a code was sent, it has to be one of these.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is another.
    pub fn with_code_of(self, allowed: &[ReasonCode]) -> Result<Self, Stop> {
        match self.reason_code() {
            Some(reason_code) if !allowed.contains(&reason_code) => {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                failed(format!("{self}; the code is to be {}", allowed.join(" or ")))
            }
            _ => Ok(self),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closes without a word"),
            Self::Disconnect(reason_code) => write!(f, "DISCONNECT with {reason_code}, closes"),
            Self::Refused(reason_code) => write!(f, "CONNACK with {reason_code}, closes"),
        }
    }
}
