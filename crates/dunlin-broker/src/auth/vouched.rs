//! Identities that somebody else vouches for: an issuer by its token, a back end by its answer.

use crate::core::{Identity, Rules};
use dunlin_identity::UserName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why there is no such identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unvouched {
    /// A name is none that may be.
    Name,
    /// There are rules, and nobody heeds them: they would give rights, or take some, and do neither.
    Unheeded,
    /// The rules are not legal.
    Rules,
}

/// A user with the groups and rules that come with its proof. Rules count beside a file of rules alone.
pub(super) fn identity<'a>(
    user: &str,
    groups: impl IntoIterator<Item = &'a UserName>,
    rules: Option<&Value>,
    heeds_rules: bool,
) -> Result<Identity, Unvouched> {
    let groups = groups.into_iter().map(UserName::as_str);
    let identity = Identity::new(Some(user), groups).map_err(|_| Unvouched::Name)?;
    let Some(rules) = rules else { return Ok(identity) };
    if !heeds_rules {
        return Err(Unvouched::Unheeded);
    }
    let text = match rules.as_str() {
        Some(text) => text.to_owned(),
        None => {
            toml::to_string(&BTreeMap::from([("rule", rules)])).map_err(|_| Unvouched::Rules)?
        }
    };
    match Rules::parse(&text) {
        Ok(rules) => Ok(identity.with_rules(Arc::new(rules))),
        Err(error) => {
            tracing::debug!("rules that came with a login are not legal: {}", error.mistake);
            Err(Unvouched::Rules)
        }
    }
}
