//! `cargo xtask conformance`: every normative statement of the standard has a test that names it,
//! or a reason why nothing can test it.
//!
//! A test names a statement by writing its id, `MQTT-3.1.2-1` or for MQTT 3.1.1 `MQTT3-3.1.2-1`,
//! beside what it asserts. Code that is not a test may name statements as well: that counts for
//! nothing, but an id that the standard does not have is a mistake wherever it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::text_files::{TextFile, text_files};
use crate::workspace::Workspace;

/// The lists of the two versions.
const LISTS: [(&str, &str); 2] = [
    ("MQTT 5.0", "crates/dunlin-conformance/statements/v5.toml"),
    ("MQTT 3.1.1", "crates/dunlin-conformance/statements/v311.toml"),
];

/// This file, whose tests make ids up.
const OWN_PATH: &str = "xtask/src/statements.rs";

/// What proves a statement, in the order of the columns that are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// A check of servers by `dunlin conformance`.
    ServerCheck,
    /// A check of clients by `dunlin conformance --client`.
    ClientCheck,
    /// Bytes that every decoder must judge alike.
    Vector,
    /// The judge of the simulation.
    Judge,
    /// Any other test.
    Test,
}

const PROOFS: [(Proof, &str); 5] = [
    (Proof::ServerCheck, "server checks"),
    (Proof::ClientCheck, "client checks"),
    (Proof::Vector, "vectors"),
    (Proof::Judge, "simulation"),
    (Proof::Test, "other tests"),
];

/// One statement as the list has it.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    version: &'static str,
    text: String,
    reason: Option<String>,
}

/// Where an id stands, and whether a test names it there.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    id: String,
    place: String,
    proof: Option<Proof>,
}

/// Prints what proves the statements.
///
/// # Errors
/// When a statement has neither a test nor a reason, when one has both, or when an id is unknown.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let statements = read_lists(&workspace.root)?;
    let files = text_files(&workspace.root)?;
    let mentions: Vec<Mention> = files.iter().flat_map(mentions).collect();
    print_table(&statements, &mentions);
    let gaps = Gaps::find(&statements, &mentions);
    gaps.print(&statements);
    match gaps.count() {
        0 => Ok(()),
        1 => bail!("1 gap between the standard and its tests"),
        many => bail!("{many} gaps between the standard and its tests"),
    }
}

fn read_lists(root: &Path) -> Result<BTreeMap<String, Statement>> {
    let mut statements = BTreeMap::new();
    for (version, path) in LISTS {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
        let table: toml::Table = text.parse().with_context(|| path.to_owned())?;
        let list = table.get("statement").and_then(toml::Value::as_array);
        for entry in list.with_context(|| format!("{path} has no [[statement]]"))? {
            let field = |name: &str| entry.get(name)?.as_str().map(str::to_owned);
            let id = field("id").with_context(|| format!("{path}: a statement without id"))?;
            let text = field("text").unwrap_or_default();
            statements.insert(id, Statement { version, text, reason: field("reason") });
        }
    }
    Ok(statements)
}

/// The ids that a file names, each once for each line.
fn mentions(file: &TextFile) -> Vec<Mention> {
    let path = file.path.to_string_lossy();
    if path == OWN_PATH || LISTS.iter().any(|(_, list)| path == *list) {
        return Vec::new();
    }
    let mut proof = proof_of(&path);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        if line.trim() == "#[cfg(test)]" && proof.is_none() {
            // Tests beside the code stand at its end.
            proof = Some(Proof::Test);
        }
        for id in ids(line) {
            // A check names its statements in its table; what comments say of it proves nothing.
            let is_named = !matches!(proof, Some(Proof::ServerCheck | Proof::ClientCheck))
                || line.contains(&format!("\"{id}\""));
            let proof = proof.filter(|_| is_named);
            found.push(Mention { id, place: format!("{path}:{number}"), proof });
        }
    }
    found
}

/// What the mentions in a file prove; `None` for a file that is not a test as a whole.
fn proof_of(path: &str) -> Option<Proof> {
    let is_rust = path.ends_with(".rs");
    let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs");
    // How the checks of `dunlin conformance` are tested themselves proves nothing of the standard.
    if path.starts_with("crates/dunlin-conformance/tests/") {
        None
    } else if path.starts_with("crates/dunlin-conformance/src/server/") && is_rust {
        Some(Proof::ServerCheck)
    } else if path.starts_with("crates/dunlin-conformance/src/client/") && is_rust {
        Some(Proof::ClientCheck)
    } else if path.contains("/vectors/") && path.ends_with(".toml") {
        Some(Proof::Vector)
    } else if path.starts_with("crates/dunlin-sim/src/judge/")
        || path.starts_with("crates/dunlin-testkit/src/observer")
    {
        Some(Proof::Judge)
    } else if is_test && is_rust {
        Some(Proof::Test)
    } else {
        None
    }
}

/// The ids in a line: `MQTT-` or `MQTT3-`, numbers with dots, a hyphen, a number.
fn ids(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("MQTT") {
        let rest = &line[at..];
        let prefix = if rest.starts_with("MQTT3-") { "MQTT3-" } else { "MQTT-" };
        let Some(numbers) = rest.strip_prefix(prefix) else { continue };
        let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        let end = numbers.find(|c| !is_part(c)).unwrap_or(numbers.len());
        let numbers = numbers[..end].trim_end_matches(['.', '-']);
        let Some((section, number)) = numbers.split_once('-') else { continue };
        let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        if section.split('.').all(is_number) && is_number(number) && section.contains('.') {
            found.push(format!("{prefix}{numbers}"));
        }
    }
    found
}

fn print_table(statements: &BTreeMap<String, Statement>, mentions: &[Mention]) {
    print!("{:<12}{:>11}{:>8}", "", "statements", "tested");
    for (_, name) in PROOFS {
        print!("{name:>15}");
    }
    println!("{:>11}", "reasoned");
    for (version, _) in LISTS {
        let of_version =
            |id: &str| statements.get(id).is_some_and(|found| found.version == version);
        let tested = |wanted: &dyn Fn(Proof) -> bool| {
            let by_test = mentions.iter().filter(|mention| mention.proof.is_some_and(wanted));
            let ids: BTreeSet<&str> = by_test.map(|mention| mention.id.as_str()).collect();
            ids.into_iter().filter(|id| of_version(id)).count()
        };
        let all = statements.values().filter(|found| found.version == version);
        let reasoned = all.clone().filter(|found| found.reason.is_some()).count();
        print!("{version:<12}{:>11}{:>8}", all.count(), tested(&|_| true));
        for (proof, _) in PROOFS {
            print!("{:>15}", tested(&|found| found == proof));
        }
        println!("{reasoned:>11}");
    }
}

/// What is wrong between the lists and the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Gaps {
    /// Statements without a test and without a reason.
    untested: Vec<String>,
    /// Statements with a reason why nothing tests them, that something tests.
    excused: Vec<String>,
    /// Places that name an id which is not in the lists.
    unknown: Vec<String>,
}

impl Gaps {
    fn find(statements: &BTreeMap<String, Statement>, mentions: &[Mention]) -> Self {
        let by_test = mentions.iter().filter(|mention| mention.proof.is_some());
        let tested: BTreeSet<&str> = by_test.map(|mention| mention.id.as_str()).collect();
        let mut gaps = Self::default();
        for (id, statement) in statements {
            match (tested.contains(id.as_str()), &statement.reason) {
                (false, None) => gaps.untested.push(id.clone()),
                (true, Some(_)) => gaps.excused.push(id.clone()),
                _ => {}
            }
        }
        for mention in mentions {
            if !statements.contains_key(&mention.id) {
                gaps.unknown.push(format!("{}: {}", mention.place, mention.id));
            }
        }
        gaps
    }

    const fn count(&self) -> usize {
        self.untested.len() + self.excused.len() + self.unknown.len()
    }

    fn print(&self, statements: &BTreeMap<String, Statement>) {
        println!("\nstatements without a test: {}", self.untested.len());
        for id in &self.untested {
            println!("  {id}  {}", statements[id].text);
        }
        println!("tests and code that name an unknown statement: {}", self.unknown.len());
        for place in &self.unknown {
            println!("  {place}");
        }
        if !self.excused.is_empty() {
            println!("statements that are tested, so their `reason` must go:");
            for id in &self.excused {
                println!("  {id}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.to_owned() }
    }

    fn statement(reason: Option<&str>) -> Statement {
        Statement { version: "MQTT 5.0", text: String::new(), reason: reason.map(str::to_owned) }
    }

    #[test]
    fn ids_are_found_among_words() {
        let line = "see [MQTT-3.1.2-1], MQTT3-4.8.0-2. not MQTT-5 MQTT-3.x.2-1 MQTT-3.1 MQTT-4.2-1";
        assert_eq!(ids(line), ["MQTT-3.1.2-1", "MQTT3-4.8.0-2", "MQTT-4.2-1"]);
    }

    #[test]
    fn only_tests_prove() {
        let proofs = |path: &str| {
            let text = "// MQTT-1.1.1-1\n#[cfg(test)]\n// MQTT-1.1.1-2\n";
            let found = mentions(&file(path, text));
            found.into_iter().map(|mention| mention.proof).collect::<Vec<_>>()
        };
        assert_eq!(proofs("crates/a/src/b.rs"), [None, Some(Proof::Test)]);
        assert_eq!(proofs("crates/a/src/tests/b.rs"), [Some(Proof::Test); 2]);
        assert_eq!(proofs("crates/a/vectors/b.toml"), [Some(Proof::Vector); 2]);
        assert_eq!(proofs("crates/dunlin-sim/src/judge/b.rs"), [Some(Proof::Judge); 2]);
        let checks = "crates/dunlin-conformance/src/server/b.rs";
        assert_eq!(proofs(checks), [None; 2], "only what a table names");
        let table = "statements: &[\"MQTT-1.1.1-1\", \"MQTT-1.1.1-2\"],";
        let found = mentions(&file(checks, table));
        assert!(found.iter().all(|mention| mention.proof == Some(Proof::ServerCheck)), "{found:?}");
        assert_eq!(proofs(LISTS[0].1), []);
    }

    #[test]
    fn gaps_are_named() {
        let statements = BTreeMap::from([
            ("MQTT-1.1.1-1".to_owned(), statement(None)),
            ("MQTT-1.1.1-2".to_owned(), statement(Some("needs a telescope"))),
            ("MQTT-1.1.1-3".to_owned(), statement(Some("needs a telescope"))),
            ("MQTT-1.1.1-4".to_owned(), statement(None)),
        ]);
        let text = "MQTT-1.1.1-3 MQTT-1.1.1-4 MQTT-1.1.1-5";
        let gaps = Gaps::find(&statements, &mentions(&file("a/tests/b.rs", text)));
        assert_eq!(
            gaps,
            Gaps {
                untested: vec!["MQTT-1.1.1-1".into()],
                excused: vec!["MQTT-1.1.1-3".into()],
                unknown: vec!["a/tests/b.rs:1: MQTT-1.1.1-5".into()],
            }
        );
    }
}
