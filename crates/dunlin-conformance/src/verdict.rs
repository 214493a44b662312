//! What a check answers: passed and with what behaviour, failed, or not applicable.

use std::fmt::Display;

/// The answer of a check. `?` ends a check that can't go on.
pub type Verdict = Result<Passed, Stop>;

/// The statements are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Which of several allowed behaviours was seen, where the standard leaves a choice.
    pub seen: Option<String>,
}

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A statement is broken, or what should have come did not.
    Failed(String),
    /// The check says nothing about this peer, which may lack what is tested.
    Skipped(String),
}

/// The statements are kept.
///
/// # Errors
/// Never: it is a [`Verdict`] to end a check with.
pub const fn passed() -> Verdict {
    Ok(Passed { seen: None })
}

/// The statements are kept, in one of the ways that the standard allows.
///
/// # Errors
/// Never: it is a [`Verdict`] to end a check with.
pub fn seen(behaviour: impl Display) -> Verdict {
    Ok(Passed { seen: Some(behaviour.to_string()) })
}

/// A statement is broken. The reason says what was expected and what came.
///
/// # Errors
/// Always [`Stop::Failed`]: it ends a check.
pub fn failed<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(reason.into()))
}

/// The check says nothing about this peer.
///
/// # Errors
/// Always [`Stop::Skipped`]: it ends a check.
pub fn skipped<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(reason.into()))
}

/// Goes on if `holds`; the reason says what was expected and what came.
///
/// # Errors
/// [`Stop::Failed`] if not.
pub fn ensure(holds: bool, reason: impl Into<String>) -> Result<(), Stop> {
    if holds { Ok(()) } else { failed(reason) }
}
