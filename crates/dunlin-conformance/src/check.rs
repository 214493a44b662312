//! Checks as entries of tables, and the cases that they make, one for each version.

use crate::Verdict;
use dunlin_codec::ProtocolVersion;

/// MQTT 5.0 alone.
pub const V5: &[ProtocolVersion] = &[ProtocolVersion::V5];
/// MQTT 3.1.1 alone.
pub const V3: &[ProtocolVersion] = &[ProtocolVersion::V3_1_1];
/// MQTT 3.1.1 and 5.0.
pub const BOTH: &[ProtocolVersion] = &[ProtocolVersion::V3_1_1, ProtocolVersion::V5];

/// One question about a peer. `B` is what the check works with, such as
/// [`server::Bench`](crate::server::Bench).
#[derive(Debug)]
pub struct Check<B> {
    /// `part/what-is-right` in kebab case, unique among the checks of a kind of peer.
    pub name: &'static str,
    /// The versions that it is asked for: [`V5`], [`V3`] or [`BOTH`].
    pub versions: &'static [ProtocolVersion],
    /// The statements that it tests, `MQTT-…` of 5.0 and `MQTT3-…` of 3.1.1.
    pub statements: &'static [&'static str],
    /// In one line, what it looks for.
    pub looks_for: &'static str,
    /// Asks the question.
    pub run: fn(&mut B) -> Verdict,
}

/// A check for one version.
#[derive(Debug)]
pub struct Case<B: 'static> {
    /// What is asked.
    pub check: &'static Check<B>,
    /// In which version.
    pub version: ProtocolVersion,
}

impl<B> Clone for Case<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Case<B> {}

impl<B> Case<B> {
    /// `v5/part/what-is-right` or `v311/…`.
    pub fn name(&self) -> String {
        let version = if self.version.is_v5() { "v5" } else { "v311" };
        format!("{version}/{}", self.check.name)
    }

    /// The statements of this version that it tests.
    pub fn statements(&self) -> impl Iterator<Item = &'static str> + use<B> {
        let is_v5 = self.version.is_v5();
        self.check.statements.iter().copied().filter(move |id| id.starts_with("MQTT-") == is_v5)
    }

    /// Whether the pattern means this case: the beginning of its name, with or without the
    /// version, or of the id of a statement; or, with `*` for anything, the whole of one.
    pub fn matches(&self, pattern: &str) -> bool {
        let name = self.name();
        let names = [name.as_str(), self.check.name];
        if pattern.contains('*') {
            let is_meant = |text: &str| glob(pattern, text);
            return names.into_iter().any(is_meant) || self.statements().any(is_meant);
        }
        // `MQTT-3.1.2-1` is not the beginning of `MQTT-3.1.2-10`.
        let begins = |id: &str| {
            id.strip_prefix(pattern)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        names.into_iter().any(|name| name.starts_with(pattern)) || self.statements().any(begins)
    }
}

/// The cases of these tables for these versions, in the order of the tables.
pub fn cases<B>(tables: &[&'static [Check<B>]], versions: &[ProtocolVersion]) -> Vec<Case<B>> {
    let checks = tables.iter().copied().flatten();
    checks
        .flat_map(|check| {
            let versions = check.versions.iter().filter(|version| versions.contains(version));
            versions.map(move |version| Case { check, version: *version })
        })
        .collect()
}

/// Whether `text` is `pattern` with something, or nothing, for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check<()> = Check {
        name: "connect/second-connect-closes",
        versions: BOTH,
        statements: &["MQTT-3.1.0-2", "MQTT3-3.1.0-2", "MQTT-3.1.2-10"],
        looks_for: "",
        run: |()| crate::passed(),
    };

    #[test]
    fn a_check_makes_a_case_for_each_version_that_is_asked_for() {
        const TABLE: &[Check<()>] = &[CHECK];
        let names = |versions| cases(&[TABLE], versions).iter().map(Case::name).collect::<Vec<_>>();
        assert_eq!(
            names(BOTH),
            ["v311/connect/second-connect-closes", "v5/connect/second-connect-closes"]
        );
        assert_eq!(names(V5), ["v5/connect/second-connect-closes"]);
    }

    #[test]
    fn patterns_mean_names_and_statements() {
        const TABLE: &[Check<()>] = &[CHECK];
        let case = cases(&[TABLE], V5)[0];
        for meant in [
            "v5/",
            "v5/connect/second-connect-closes",
            "connect/",
            "*/second*",
            "v5/*closes",
            "MQTT-3.1.0-2",
            "MQTT-3.1",
            "MQTT-3.1.2-10",
            "MQTT*-2",
        ] {
            assert!(case.matches(meant), "{meant}");
        }
        for other in ["v311/", "second", "MQTT-3.1.2-1", "MQTT3-3.1.0-2", "*/second", "*-1"] {
            assert!(!case.matches(other), "{other}");
        }
    }
}
