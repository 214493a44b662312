//! The normative statements of MQTT 5.0 and 3.1.1, as data.

use serde::Deserialize;

/// One normative statement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `MQTT-x.y.z-n`; for 3.1.1 `MQTT3-x.y.z-n`.
    pub id: String,
    /// The section of the standard.
    pub section: String,
    /// Who must keep it.
    pub binds: Binds,
    /// What it says, in our words.
    pub text: String,
    /// Why nothing tests it, where nothing can.
    pub reason: Option<String>,
}

/// Who must keep a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binds {
    /// The Client.
    Client,
    /// The Server.
    Server,
    /// Either.
    Both,
}

#[derive(Deserialize)]
struct List {
    statement: Vec<Statement>,
}

/// The statements of MQTT 5.0, in the order of the standard.
pub fn v5() -> Vec<Statement> {
    read(include_str!("../statements/v5.toml"))
}

/// The statements of MQTT 3.1.1, in the order of the standard.
pub fn v311() -> Vec<Statement> {
    read(include_str!("../statements/v311.toml"))
}

fn read(text: &str) -> Vec<Statement> {
    let list: List = toml::from_str(text).expect("the list is part of the program");
    list.statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_statement_is_there_once() {
        for (statements, count) in [(v5(), 251), (v311(), 142)] {
            let ids: BTreeSet<&str> = statements.iter().map(|found| found.id.as_str()).collect();
            assert_eq!((statements.len(), ids.len()), (count, count));
        }
    }
}
