//! `dunlin acl`, and a broker that keeps to a file of rules: with Mosquitto's clients, too.

use crate::broker::Broker;
use crate::program::{command, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const RULES: &str = r##"# Meters write below their own name.
groups = { operators = ["alice"] }

[[rule]]
deny = ["subscribe"]
topics = ["devices/+/secret"]
unless_group = "operators"

[[rule]]
allow = ["publish", "subscribe"]
topics = ["devices/%c/#"]
qos_max = 1
"##;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

#[test]
fn the_deciding_rule_is_named_with_its_line() {
    let folder = Folder::new();
    let file = folder.file("rules.toml", RULES);
    let name = file.display();
    let explain = |args: &[&str]| {
        run(&[&["acl", "explain", "--rules", text(&file), "--client", "dev-7"], args].concat())
    };
    let rule = "    [[rule]]\n    allow = [\"publish\", \"subscribe\"]\n    topics = \
                [\"devices/%c/#\"]\n    qos_max = 1\n";
    explain(&["publish", "devices/dev-7/state"]).check(
        0,
        &format!("allowed by {name}:9\n{rule}"),
        "",
    );
    let ended = explain(&["publish", "devices/dev-7/state", "-q", "2"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.ends_with("but denied with QoS 2: `qos_max` is 1\n"), "{ended:?}");
    let ended = explain(&["publish", "devices/dev-8/state"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("denied: no rule matches\n"), "{ended:?}");
    assert!(ended.stdout.contains(&format!("not by {name}:9: ")), "{ended:?}");
    let ended = explain(&["publish", "devices/dev-7/state", "--retain"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("retain:\ndenied: no rule matches\n"), "{ended:?}");
    assert!(ended.stdout.contains("it does not name `retain`"), "{ended:?}");
    let ended = explain(&["subscribe", "devices/dev-7/#", "-q", "2"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("but for what a rule before denies or caps"), "{ended:?}");
    assert!(ended.stdout.contains("granted with QoS 1, its `qos_max`"), "{ended:?}");
    let ended = explain(&["--user", "alice", "subscribe", "devices/dev-7/#"]);
    assert!(!ended.stdout.contains("but for what a rule before denies or caps"), "{ended:?}");
}

#[test]
fn rules_are_found_by_the_configuration() {
    let folder = Folder::new();
    let rules = folder.file("rules.toml", RULES);
    let config = folder.file("dunlin.toml", &format!("[rights]\nfile = {rules:?}\n"));
    let explain = ["acl", "explain", "-c", "a", "publish", "devices/a/b"];
    let ended = run(&[&explain[..], &["--config", text(&config)]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut by_variable = command(&explain);
    by_variable.env("DUNLIN_RIGHTS_FILE", &rules);
    assert!(by_variable.output().expect("it can be started").status.success());
    let ended = run(&explain);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("--rules"), "{ended:?}");
    let bad = folder.file("bad.toml", "[[rule]]\n");
    let ended = run(&["acl", "explain", "--rules", text(&bad), "publish", "a"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("bad.toml:1:1"), "{ended:?}");
}

#[test]
fn an_acl_file_of_mosquitto_becomes_rules_that_a_broker_starts_with() {
    let folder = Folder::new();
    let acl = folder.file(
        "acl",
        "topic read news/#\nuser gauge\ntopic write meters/gauge\npattern readwrite own/%c/#\n\
         topic write meters/a#b\n",
    );
    let ended = run(&["acl", "import-mosquitto", text(&acl)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("acl: line 5: \"meters/a#b\" is left out"), "{ended:?}");
    let rules = folder.file("rules.toml", &ended.stdout);
    let asked = |args: &[&str]| {
        run(&[&["acl", "explain", "--rules", text(&rules), "-c", "dev"], args].concat()).code
    };
    assert_eq!(asked(&["subscribe", "news/#"]), Some(0));
    assert_eq!(asked(&["publish", "news/a"]), Some(1));
    assert_eq!(asked(&["-u", "gauge", "publish", "meters/gauge"]), Some(0));
    assert_eq!(asked(&["-u", "gauge", "subscribe", "news/#"]), Some(1));
    assert_eq!(asked(&["-u", "gauge", "publish", "own/dev/x"]), Some(0));
    let broker = Broker::start(&["--set", &format!("rights.file={}", rules.display())]);
    let to = ["pub", "-p", &broker.port, "-q", "1", "-V", "5", "-m", "x", "-i", "dev", "-t"];
    assert_eq!(run(&[&to[..], &["own/dev/x"]].concat()).code, Some(0));
    // The Reason Code, 0x87.
    assert_eq!(run(&[&to[..], &["own/other/x"]].concat()).code, Some(135));

    let other = folder.file("other", "listener 1883\n");
    let ended = run(&["acl", "import-mosquitto", text(&other)]);
    let expected =
        format!("error: {}: line 1: expected `user`, `topic` or `pattern`\n", other.display());
    ended.check(1, "", &expected);
}

#[test]
fn rules_of_no_use_are_one_message_and_exit_code_2() {
    let folder = Folder::new();
    let file = folder.file("rules.toml", "[[rule]]\nallow = [\"publsh\"]\ntopics = [\"#\"]\n");
    let setting = format!("rights.file={}", file.display());
    let ended = run(&["--set", &setting, "--listen", "mqtt://127.0.0.1:0"]);
    let expected = format!(
        "error: rights.file: {}:2:10: unknown action `publsh`; did you mean `publish`?\n",
        file.display()
    );
    ended.check(2, "", &expected);
}

#[test]
fn mosquitto_clients_meet_the_rules_and_their_change() {
    let folder = Folder::new();
    let own = "[[rule]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"own/%c/#\"]\n";
    let file = folder.file("rules.toml", own);
    let broker = Broker::start(&["--set", &format!("rights.file={}", file.display())]);
    let publishes = |topic_name: &str| {
        let mut client = Command::new("mosquitto_pub");
        client.args(["-V", "mqttv5", "-p", &broker.port, "-i", "dev", "-q", "1", "-m", "x"]);
        let output = client.args(["-t", topic_name]).output().expect("mosquitto_pub is there");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || !told.is_empty());
        !told.to_lowercase().contains("not authorized")
    };
    assert!(publishes("own/dev/a"));
    assert!(!publishes("own/other/a"));
    let mut client = Command::new("mosquitto_sub");
    client.args(["-V", "mqttv5", "-p", &broker.port, "-i", "dev", "-E"]);
    let output = client.args(["-t", "own/#"]).output().expect("mosquitto_sub is there");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.to_lowercase().contains("not authorized") || told.contains("denied"), "{told}");

    fs::write(&file, own.replace("own/%c/#", "own/#")).expect("written");
    broker.running.signal("HUP");
    broker.running.wait_for_within("the file of rules was read again");
    // Its worker is about to take them up.
    while !publishes("own/other/a") {}
    fs::write(&file, "").expect("written");
    broker.running.signal("HUP");
    broker.running.wait_for_within("the rules stay in force as they were");
    assert!(publishes("own/other/a"));
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));
}

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("the page is there");
    let open = format!("```{language}\n");
    let blocks = text.split(&open).skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_rules_to_copy_say_what_the_pages_say() {
    let folder = Folder::new();
    let rules = folder.file("rules.toml", &blocks("rights.md", "toml")[0]);
    let lines = blocks("rights.md", "sh").concat();
    let explained = lines.lines().filter(|line| line.starts_with("dunlin acl explain"));
    let codes: Vec<_> = explained
        .map(|line| {
            let line = line.replace("rules.toml", text(&rules)).replace('\'', "");
            run(&line.split_whitespace().skip(1).collect::<Vec<_>>()).code
        })
        .collect();
    assert_eq!(codes, [Some(0), Some(1), Some(0)]);
    let rules = folder.file("users.toml", &blocks("security.md", "toml")[1]);
    for (user, code) in [("gauge", 0), ("pump", 1)] {
        let args = ["acl", "explain", "--rules", text(&rules), "-u", user];
        let ended = run(&[&args[..], &["subscribe", "users/gauge/#"]].concat());
        assert_eq!(ended.code, Some(code), "{user}: {ended:?}");
    }
}
