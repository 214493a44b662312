//! Files of rules as operators write them, and questions to them; then any rules and any questions,
//! beside the reference.

use super::*;
use crate::reference::Expected::{self, All, Holes, No};
use crate::{Identity, Subject, fuzzing};
use dunlin_codec::{Text, TopicFilter};
use proptest::prelude::*;
use std::sync::Arc;

fn subject(user: Option<&str>, client: &str) -> Subject {
    let identity = Identity::new(user, ["staff"]).unwrap();
    Subject::new(Arc::new(identity), client.parse::<Text>().unwrap())
}

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The line of the rule that decides about publishing, negative if it denies; 0 if there is none.
fn publish(rules: &Rules, subject: &Subject, topic_name: &str) -> isize {
    fuzzing::check(rules, subject, topic_name);
    let decision = rules.publish(&rules.profile(subject), topic_name).publish;
    let line = decision.rule().map_or(0, |rule| rules.rule(rule).unwrap().line()) as isize;
    if decision.is_allowed() { line } else { -line }
}

fn covers(rules: &Rules, subject: &Subject, topic_filter: &str) -> Expected {
    fuzzing::check(rules, subject, topic_filter);
    rules.covers(&rules.profile(subject), &topic_filter.parse().unwrap()).into()
}

fn number(number: u32) -> RuleNumber {
    RuleNumber::at(number - 1).unwrap()
}

const EXAMPLE: &str = r##"# The first rule that matches decides.
groups = { operators = ["alice", "bob", "op-*"] }

[[rule]]
deny   = ["publish", "subscribe"]
topics = ["devices/+/secret/#"]
unless_group = "operators"

[[rule]]
allow  = ["publish", "retain", "will"]
topics = ["devices/%c/#"]
user   = "sensor-*"
qos_max = 1
size_max = "64KiB"

[[rule]]
allow  = ["subscribe"]
topics = ["devices/#", "$share/+/devices/#"]
group  = "operators"
"##;

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = rules(EXAMPLE);
    let sensor = subject(Some("sensor-7"), "c1");
    assert_eq!(publish(&rules, &sensor, "devices/c1/state"), 9);
    assert_eq!(publish(&rules, &sensor, "devices/c1"), 9);
    assert_eq!(publish(&rules, &sensor, "devices/c1/secret/key"), -4);
    assert_eq!(publish(&rules, &sensor, "devices/c2/state"), 0);
    assert_eq!(publish(&rules, &subject(Some("meter-7"), "c1"), "devices/c1/state"), 0);
    assert_eq!(publish(&rules, &subject(None, "c1"), "devices/c1/state"), 0);
    for operator in ["alice", "op-3"] {
        let operator = subject(Some(operator), "c9");
        assert_eq!(covers(&rules, &operator, "devices/+/secret/#"), All(2));
        assert_eq!(covers(&rules, &operator, "$share/g/devices/#"), All(2));
        assert_eq!(covers(&rules, &operator, "#"), No(None));
    }
    assert_eq!(covers(&rules, &sensor, "devices/c1/secret/#"), No(Some(0)));
}

#[test]
fn caps_and_actions_of_the_deciding_rules_are_in_force() {
    let rules = rules(EXAMPLE);
    let verdict = rules.publish(&rules.profile(&subject(Some("sensor-7"), "c1")), "devices/c1/x");
    let rule = Some(number(2));
    assert_eq!(verdict.check(QoS::AtLeastOnce, 65_536, true), Ok(()));
    assert_eq!(verdict.check_will(QoS::AtLeastOnce, 65_536, true), Ok(()));
    let qos_max = QoS::AtLeastOnce;
    let too_high = verdict.check(QoS::ExactlyOnce, 1, false);
    assert_eq!(too_high, Err(Refusal::QoS { rule, qos_max }));
    let too_long = verdict.check_will(QoS::AtLeastOnce, 65_537, false);
    assert_eq!(too_long, Err(Refusal::Size { rule, size_max: 65_536 }));

    let rules = super::Rules::parse("[[rule]]\nallow = 'publish'\ntopics = '#'\n").unwrap();
    let verdict = rules.publish(&rules.profile(&subject(None, "c")), "a");
    assert_eq!(verdict.check(QoS::ExactlyOnce, usize::MAX >> 33, false), Ok(()));
    let denied = |action| Err(Refusal::Denied { action, rule: None });
    assert_eq!(verdict.check(QoS::AtMostOnce, 0, true), denied(Action::Retain));
    assert_eq!(verdict.check_will(QoS::AtMostOnce, 0, false), denied(Action::Will));
}

#[test]
fn a_name_of_the_client_is_compared_and_never_pasted() {
    let rules = rules(
        "[[rule]]\nallow = ['publish', 'subscribe']\n\
         topics = ['u/%u/#', 'c/%c', 't/x-%c-y', '%u', 'p/%%c/50%%']\n",
    );
    let longest = "x".repeat(65_535);
    for name in ["", "+", "#", "a/b", "a+", "$SYS", "$", "/", "$share/g/x", "a#"] {
        // Not as user names, which could not be empty; as Client Identifiers all are legal.
        let client = subject(None, name);
        for topic in ["c/x", "c/+", "c/#", "c/", "c/a/b", "#", "t/x--y", "c/$SYS", "$SYS", "$"] {
            if !topic.contains(['+', '#']) {
                assert_eq!(publish(&rules, &client, topic), 0, "{name:?} {topic}");
            }
            assert_eq!(covers(&rules, &client, topic), No(None), "{name:?} {topic}");
        }
        if !name.is_empty() {
            let user = subject(Some(name), "x");
            for topic in ["u/x", "u/+/a", "u/#", "u/a/b/c", "$SYS", "u/$SYS/a", "$SYS/a"] {
                assert_eq!(covers(&rules, &user, topic), No(None), "{name:?} {topic}");
            }
        }
    }
    let client = subject(Some("ann"), &longest);
    assert_eq!(publish(&rules, &client, &format!("c/{}", &longest[..65_533])), 0);
    assert_eq!(publish(&rules, &client, "u/ann/x/y"), 1);
    assert_eq!(publish(&rules, &client, "u/bob"), 0);
    assert_eq!(publish(&rules, &client, "ann"), 1);
    assert_eq!(publish(&rules, &client, "p/%c/50%"), 1);
    let client = subject(None, "7");
    assert_eq!(publish(&rules, &client, "t/x-7-y"), 1);
    assert_eq!(publish(&rules, &client, "t/x-7"), 0);
    assert_eq!(publish(&rules, &client, "t/x-y"), 0);
    assert_eq!(covers(&rules, &client, "c/7"), All(0));
    assert_eq!(covers(&rules, &client, "c/+"), No(None));
    // A `%u` without a user fits nowhere, not even where text stands beside it.
    assert_eq!(publish(&rules, &client, "u//x"), 0);
}

#[test]
fn names_with_a_dollar_need_rules_that_write_it() {
    let rules = rules(
        "[[rule]]\nallow = ['publish', 'subscribe']\ntopics = ['#', '+/x', '+/#']\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['$SYS/#', '$dev-%c/+']\nclient = 'm*'\n",
    );
    let (any, monitor) = (subject(None, "c"), subject(None, "m1"));
    assert_eq!(publish(&rules, &any, "$SYS/x"), 0);
    assert_eq!(publish(&rules, &any, "a/$SYS"), 1);
    assert_eq!(covers(&rules, &any, "#"), All(0));
    assert_eq!(covers(&rules, &any, "+/#"), All(0));
    assert_eq!(covers(&rules, &any, "$SYS/#"), No(None));
    assert_eq!(covers(&rules, &monitor, "$SYS/#"), All(1));
    assert_eq!(covers(&rules, &monitor, "$dev-m1/a"), All(1));
    assert_eq!(covers(&rules, &monitor, "$dev-m2/a"), No(None));
}

#[test]
fn a_filter_wider_than_its_rule_is_refused_and_a_denied_part_is_a_hole() {
    let rules = rules(
        "[[rule]]\ndeny = ['subscribe']\ntopics = ['a/+/secret', 'x/#']\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['a/#', 'b/+', 'x/+']\n\
         [[rule]]\ndeny = ['subscribe']\ntopics = ['a/late']\n",
    );
    let subject = subject(None, "c");
    for (filter, expected) in [
        ("a/#", Holes(1)),
        ("a/+/+", Holes(1)),
        ("a/b/#", Holes(1)),
        ("a/b/secret", No(Some(0))),
        ("a/+/secret", No(Some(0))),
        ("a/b/secret/deeper", All(1)),
        ("a/b/open", All(1)),
        ("a/late", All(1)),
        ("a", All(1)),
        ("b/+", All(1)),
        ("b/#", No(None)),
        ("+/b", No(None)),
        ("#", No(None)),
        ("x/1", No(Some(0))),
        ("$share/g/a/b", No(None)),
        ("$share/g/x/1", No(Some(0))),
    ] {
        assert_eq!(covers(&rules, &subject, filter), expected, "{filter}");
    }
    let receive = |name| rules.receive(&rules.profile(&subject), None, name).is_allowed();
    assert!(receive("a/b/open") && !receive("a/b/secret"));
}

#[test]
fn a_part_that_has_a_lower_qos_by_a_rule_before_is_a_hole() {
    let rules = rules(
        "[[rule]]\nallow = ['subscribe']\ntopics = ['a/low', 'b/#', '$share/g/a/+']\nqos_max = 0\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['a/middle', 'c/+']\nqos_max = 1\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['a/#', '$share/g/#']\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['+/#']\nqos_max = 1\n",
    );
    let subject = subject(None, "c");
    for (filter, expected) in [
        ("a/#", Holes(2)),
        ("a/low", All(0)),
        ("a/middle", All(1)),
        ("a/middle/deeper", All(2)),
        ("a/+/deeper", All(2)),
        ("b/+", All(0)),
        ("$share/g/a/#", Holes(2)),
        ("$share/g/a/b/c", All(2)),
        // All of it has the lower one.
        ("#", Holes(3)),
        ("c/#", All(3)),
    ] {
        assert_eq!(covers(&rules, &subject, filter), expected, "{filter}");
    }
}

#[test]
fn only_what_can_be_met_is_a_hole() {
    let rules = rules(
        "[[rule]]\ndeny = ['subscribe']\ntopics = ['c/%c', '$dev-%c/a', '$x/#', 'u/%u/x']\n\
         [[rule]]\nallow = ['subscribe']\ntopics = ['#']\n",
    );
    for (client, filter, expected) in [
        ("7", "c/+", Holes(1)),
        ("7", "c/#", Holes(1)),
        ("7", "c/8", All(1)),
        ("7", "u/#", All(1)),
        ("7", "+/a", All(1)),
        ("+", "c/+", All(1)),
        ("#", "c/#", All(1)),
        ("a/b", "c/#", All(1)),
        ("+", "#", All(1)),
        ("7", "d/#", All(1)),
        ("7", "+/7", Holes(1)),
        ("7", "#", Holes(1)),
    ] {
        let subject = subject(None, client);
        assert_eq!(covers(&rules, &subject, filter), expected, "{client:?} {filter}");
    }
}

#[test]
fn a_shared_subscription_is_allowed_by_its_own_topics_and_denied_by_any() {
    let rules = rules(
        "[[rule]]\ndeny = ['subscribe']\ntopics = ['jobs/secret']\n\
         [[rule]]\nallow = ['subscribe', 'publish']\ntopics = ['jobs/#', '$share/%c/jobs/+']\n",
    );
    let subject = subject(None, "g");
    assert_eq!(covers(&rules, &subject, "$share/g/jobs/+"), Holes(1));
    assert_eq!(covers(&rules, &subject, "$share/g/jobs/a"), All(1));
    assert_eq!(covers(&rules, &subject, "$share/other/jobs/a"), No(None));
    assert_eq!(covers(&rules, &subject, "$share/g/jobs/#"), No(None));
    let profile = rules.profile(&subject);
    let receive = |share, name| rules.receive(&profile, share, name).is_allowed();
    assert!(receive(Some("g"), "jobs/a") && receive(None, "jobs/a/b"));
    assert!(!receive(Some("g"), "jobs/a/b") && !receive(Some("h"), "jobs/a"));
    assert!(!receive(Some("g"), "jobs/secret") && !receive(None, "jobs/secret"));
    // Publishing to a name that looks like one is publishing to another name.
    assert_eq!(publish(&rules, &subject, "$share/g/jobs/a"), 0);
}

#[test]
fn all_conditions_of_a_rule_hold_or_it_does_not_match() {
    let rules = rules(
        "[[rule]]\nallow = ['publish']\ntopics = ['a']\nuser = ['ann', '*-bot']\n\
         client = '*x*'\ngroup = 'staff'\naddress = ['10.0.0.0/8', 'fd00::/8', '::1']\n\
         listener = 'lan*'\nunless_user = 'bad-*'\nunless_address = '10.9.0.0/16'\n",
    );
    let who = |user, client, address: &str, listener: &str| {
        let subject = subject(Some(user), client).with_address(address.parse().unwrap());
        publish(&rules, &subject.with_listener(listener.into()), "a")
    };
    assert_eq!(who("ann", "axa", "10.1.2.3", "lan-1"), 1);
    assert_eq!(who("a-bot", "x", "::ffff:10.1.2.3", "lan"), 1);
    assert_eq!(who("ann", "x", "fdab::1", "lan"), 1);
    assert_eq!(who("ann", "x", "::1", "lan"), 1);
    assert_eq!(who("bad-bot", "x", "10.1.2.3", "lan"), 0);
    assert_eq!(who("bob", "x", "10.1.2.3", "lan"), 0);
    assert_eq!(who("ann", "y", "10.1.2.3", "lan"), 0);
    assert_eq!(who("ann", "x", "11.1.2.3", "lan"), 0);
    assert_eq!(who("ann", "x", "10.9.2.3", "lan"), 0);
    assert_eq!(who("ann", "x", "::2", "lan"), 0);
    assert_eq!(who("ann", "x", "10.1.2.3", "wan"), 0);
    // Of whom no address is known, none matches.
    assert_eq!(publish(&rules, &subject(Some("ann"), "x"), "a"), 0);
}

#[test]
fn a_profile_of_other_rules_is_denied_everything() {
    let text = "[[rule]]\nallow = ['publish', 'subscribe']\ntopics = ['#']\n";
    let (old, new) = (rules(text), rules(text).with_generation(7));
    let profile = old.profile(&subject(None, "c"));
    assert!(old.publish(&profile, "a").publish.is_allowed());
    assert!(!profile.is_current(&new));
    assert!(!new.publish(&profile, "a").publish.is_allowed());
    assert!(!new.receive(&profile, None, "a").is_allowed());
    assert!(!new.covers(&profile, &TopicFilter::from_static("a")).is_allowed());
}

#[test]
fn rules_of_the_identity_decide_where_none_of_the_file_does() {
    let file = rules(
        "[[rule]]\ndeny = ['publish', 'subscribe']\ntopics = ['a/secret']\n\
         [[rule]]\nallow = ['publish']\ntopics = ['b']\nqos_max = 0\n",
    );
    let token = rules(
        "[[rule]]\nallow = ['publish', 'subscribe', 'retain']\ntopics = ['a/%u/#', 'a/+', 'b']\n",
    );
    let identity = Identity::new(Some("ann"), []).unwrap().with_rules(Arc::new(token));
    let subject = Subject::new(Arc::new(identity), Text::from_static("c"));
    let profile = file.profile(&subject);
    let by_identity = |decision: Decision| {
        decision.is_allowed().then(|| decision.rule().is_some_and(RuleNumber::is_of_identity))
    };
    let publish = |name| file.publish(&profile, name);
    assert_eq!(by_identity(publish("a/ann/x").publish), Some(true));
    assert_eq!(by_identity(publish("a/secret").publish), None);
    let verdict = publish("b");
    assert_eq!(by_identity(verdict.publish), Some(false));
    assert_eq!(by_identity(verdict.retain), Some(true));
    assert_eq!(verdict.publish.caps().qos_max, QoS::AtMostOnce);
    assert_eq!(publish("c").publish, Decision::NO_RULE);
    assert_eq!(by_identity(file.receive(&profile, None, "a/x")), Some(true));
    assert_eq!(by_identity(file.receive(&profile, None, "a/secret")), None);
    let covers = |filter| file.covers(&profile, &TopicFilter::from_static(filter));
    assert!(matches!(covers("a/ann/#"), Covers::All(_)));
    assert!(matches!(covers("a/+"), Covers::Holes(_)));
    assert!(matches!(covers("a/secret"), Covers::No(_)));
    assert!(matches!(covers("#"), Covers::No(_)));
    let number = covers("a/+").decision().rule().unwrap();
    assert!(number.is_of_identity() && file.rule(number).is_none());
    let explanation = file.explain(&subject, Question::Publish("a/x"));
    let expected = "allowed by rule 1 of those of the identity\n\
                    not by rules.toml:1: \"a/secret\" differs at level 2\n";
    assert_eq!(file.describe(&explanation, "rules.toml"), expected);
    // New rules of the file void the profile as a whole.
    let newer = file.clone().with_generation(1);
    assert_eq!(newer.publish(&profile, "a/ann/x").publish, Decision::NO_RULE);
}

#[test]
fn an_explanation_names_the_rule_and_those_that_nearly_matched() {
    let rules = rules(EXAMPLE);
    let sensor = subject(Some("sensor-7"), "c1");
    let check = |subject: &Subject, question, expected: &str| {
        let explanation = rules.explain(subject, question);
        assert_eq!(rules.describe(&explanation, "rules.toml"), expected);
    };
    check(
        &sensor,
        Question::Publish("devices/c1/state"),
        "allowed by rules.toml:9\n    [[rule]]\n    allow  = [\"publish\", \"retain\", \"will\"]\n    \
         topics = [\"devices/%c/#\"]\n    user   = \"sensor-*\"\n    qos_max = 1\n    size_max = \
         \"64KiB\"\nnot by rules.toml:4: \"devices/+/secret/#\" differs at level 3\n",
    );
    check(
        &subject(Some("sensor-7"), "a/b"),
        Question::Publish("devices/a/b"),
        "denied: no rule matches\n\
         not by rules.toml:4: \"devices/+/secret/#\" differs at level 3\n\
         not by rules.toml:9: the value for %c fits no level: it is missing, begins with '$', or \
         holds '+', '#' or '/'\n",
    );
    check(
        &subject(Some("meter-7"), "c1"),
        Question::Retain("devices/c1"),
        "denied: no rule matches\nnot by rules.toml:9: its `user` does not match\n",
    );
    let alice = subject(Some("alice"), "c9");
    let all = TopicFilter::from_static("#");
    check(
        &alice,
        Question::Subscribe(&all),
        "denied: no rule matches\nnot by rules.toml:16: the Topic Filter is wider than \
         \"devices/#\"\n",
    );
    check(
        &alice,
        Question::Receive("devices/1/secret/key"),
        "allowed by rules.toml:16\n    [[rule]]\n    allow  = [\"subscribe\"]\n    topics = \
         [\"devices/#\", \"$share/+/devices/#\"]\n    group  = \"operators\"\nnot by \
         rules.toml:4: its `unless_group` matches\n",
    );
}

#[test]
fn a_mistake_is_named_with_its_place_and_its_mend() {
    let rule = "[[rule]]\nallow = ['publish']\ntopics = ['a']\n";
    for (text, expected) in [
        ("", "line 1, column 1: there is no rule, so nobody"),
        ("# nothing\n", "line 2, column 1: there is no rule"),
        ("rule = []", "line 1, column 10: there is no rule"),
        ("[[rule]]\nallow = ['publish'\n", "line 2, column 19: "),
        ("[rule]\nallow = ['publish']\n", "line 1, column 2: `rule` has a value of another type"),
        ("[[rules]]\n", "line 1, column 3: unknown key `rules`; did you mean `rule`?"),
        ("[[rule]]\nallow = 'will'\n", "line 1, column 1: the rule has no topics"),
        (
            "[[rule]]\nqos_max = 1\ntopics = '$share/g/a'\nalow = 'subscribe'",
            "line 4, column 1: unknown key `alow`; did you mean `allow`?",
        ),
        (
            "[[rule]]\nallow = 'will'\ntopcs = 'a'",
            "line 3, column 1: unknown key `topcs`; did you mean `topics`?",
        ),
        ("[[rule]]\ntopics = ['a']\n", "line 1, column 1: the rule says neither"),
        ("[[rule]]\ntopics = []\nallow='will'", "line 2, column 10: `topics` is an empty list"),
        (
            "[[rule]]\nallow = ['pubish']\ntopics = 'a'",
            "line 2, column 10: unknown action `pubish`; \
          did you mean `publish`?",
        ),
        (
            "[[rule]]\nallow = ['write']\ntopics = 'a'",
            "line 2, column 10: unknown action `write`; \
          did you mean `publish`?",
        ),
        (
            "[[rule]]\nallow = 'will'\ndeny = 'will'\ntopics = 'a'",
            "line 1, column 1: the rule both \
          allows and denies `will`",
        ),
        (
            "[[rule]]\ndeny = 'will'\ntopics = 'a'\nqos_max = 1",
            "line 4, column 1: `qos_max` limits",
        ),
    ] {
        let error = Rules::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
    for (line, column, expected) in [
        ("usr = 'a'", 1, "unknown key `usr`; did you mean `user`?"),
        ("priority = 1", 1, "unknown key `priority`; there are allow, deny, topics"),
        ("user = 1", 8, "`user` has a value of another type; expected a string, or a list"),
        ("user = ''", 8, "in `user`: a name has at least one character"),
        ("user = ['é', 'a*b']", 14, "in `user`: a '*' stands at the start or the end only"),
        ("address = '10.1.0.0/8'", 11, "in `address`: the network with this prefix is 10.0.0.0/8"),
        ("address = '10.0.0.0/33'", 11, "in `address`: the length of the prefix is at most 32"),
        ("address = '::ffff:10.0.0.0/104'", 11, "in `address`: an IPv4 network is written as one"),
        ("address = 'localhost'", 11, "in `address`: expected an address or a network"),
        ("qos_max = 3", 11, "`qos_max` is 0, 1 or 2"),
        ("size_max = '64kB'", 12, "`size_max` is a number of bytes"),
        ("size_max = '256MiB'", 12, "`size_max` is a number of bytes"),
        ("size_max = -1", 12, "`size_max` is a number of bytes"),
    ] {
        let error = Rules::parse(&format!("{rule}{line}\n")).unwrap_err();
        assert_eq!((error.line, error.column), (4, column), "{line}: {error}");
        let text = error.mistake.to_string();
        assert!(text.starts_with(expected), "{line}: {text}");
    }
    for topic in [
        "",
        "a#",
        "a/#/b",
        "#/",
        "a+/b",
        "%",
        "%x",
        "%c%u",
        "$share/g",
        "$share//a",
        "$share/#/a",
        "$share/g/",
        &"a/".repeat(32),
        "a\0",
    ] {
        let text = format!("[[rule]]\nallow = ['subscribe']\ntopics = ['b', {topic:?}]\n")
            .replace("\\0", "\\u0000");
        let error = Rules::parse(&text).unwrap_err();
        assert!(matches!(error.mistake, Mistake::Topic(_)), "{topic:?}: {error}");
        assert_eq!((error.line, error.column), (3, 16), "{topic:?}");
    }
    for deep in ["[".repeat(100_000), "{ a = ".repeat(100_000)] {
        let error = Rules::parse(&format!("rule = {deep}")).unwrap_err();
        assert!(matches!(error.mistake, Mistake::Syntax(_)), "{error}");
    }
    let long = "#".repeat((16 << 20) + 1);
    assert_eq!(Rules::parse(&long).unwrap_err().mistake, Mistake::TooLong);
    let shared = "[[rule]]\nallow = ['publish']\ntopics = ['a', '$share/g/a']\n";
    let error = Rules::parse(shared).unwrap_err();
    assert_eq!((error.column, error.mistake), (16, Mistake::ShareWithoutSubscribe));
}

fn level() -> impl Strategy<Value = String> {
    let levels = ["a", "a", "b", "", "+", "+", "%c", "%u", "x%c", "$s"];
    prop::sample::select(levels.to_vec()).prop_map(str::to_owned)
}

fn topic() -> impl Strategy<Value = String> {
    let share = prop::sample::select(&["", "", "", "$share/+/", "$share/g/", "$share/%c/"][..]);
    (share, prop::collection::vec(level(), 1..=3), any::<bool>()).prop_map(
        |(share, levels, rest)| {
            let mut levels = levels;
            if rest && let Some(last) = levels.last_mut() {
                *last = "#".to_owned();
            }
            let topic = levels.join("/");
            let topic = if topic.is_empty() { "a".to_owned() } else { topic };
            format!("{share}{topic}")
        },
    )
}

fn rule() -> impl Strategy<Value = String> {
    let condition = [
        "",
        "",
        "",
        "user = 'a'",
        "user = ['a', 'b']",
        "user = '*'",
        "client = 'c1'",
        "client = 'c*'",
        "group = 'staff'",
        "group = 'g*'",
        "unless_user = 'a'",
        "unless_group = 'gang'",
        "user = 'a'\nunless_client = 'c1'",
        "client = 'c1'\ngroup = 'gang'",
        "user = ['a', 'b']\ngroup = 'gang'\nclient = 'c*'",
        "group = ['gang', 'staff']\nunless_user = '*'",
    ];
    let actions = [
        "allow = ['subscribe']",
        "deny = ['subscribe']",
        "allow = ['publish', 'subscribe']",
        "deny = ['publish', 'subscribe', 'retain']",
        "allow = ['subscribe', 'retain']\ndeny = ['will', 'publish']",
        "allow = ['publish', 'retain']\ndeny = ['subscribe']",
        "allow = ['subscribe']\nqos_max = 0",
        "allow = ['subscribe']\nqos_max = 1",
    ];
    let topics = prop::collection::vec(topic(), 1..=3);
    let (actions, condition) =
        (prop::sample::select(actions.to_vec()), prop::sample::select(condition.to_vec()));
    (actions, topics, condition).prop_map(|(actions, topics, condition)| {
        format!("[[rule]]\n{actions}\ntopics = {topics:?}\n{condition}\n")
    })
}

fn asked() -> impl Strategy<Value = String> {
    let levels = ["a", "a", "b", "", "+", "c1", "xc1", "$s", "z"];
    let level = prop::sample::select(levels.to_vec());
    let share = prop::sample::select(&["", "", "", "$share/g/", "$share/c1/"][..]);
    (share, prop::collection::vec(level, 1..=3), any::<bool>()).prop_map(|(share, levels, rest)| {
        let mut levels = levels;
        if rest && let Some(last) = levels.last_mut() {
            *last = "#";
        }
        format!("{share}{}", levels.join("/"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tries_say_what_the_reference_says(
        file in prop::collection::vec(rule(), 1..8),
        user in prop::sample::select(&[None, Some("a"), Some("b"), Some("$s"), Some("+")][..]),
        client in prop::sample::select(&["c1", "a", "#", "$s", ""][..]),
        asked in prop::collection::vec(asked(), 1..6),
    ) {
        let text = format!("groups = {{ gang = ['a'], g2 = ['b', '$*'] }}\n{}", file.concat());
        let rules = rules(&text);
        let subject = subject(user, client);
        for topic in &asked {
            fuzzing::check(&rules, &subject, topic);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::rules(text.as_bytes());
        fuzzing::rules(&data);
    }
}

#[test]
fn a_text_that_may_be_half_written_is_told_from_one_that_is_whole() {
    use super::HalfWritten::{BehindEnd, EndMissing, LastLine, Shortened};
    const ONE: &str = "[[rule]]\nallow = \"publish\"\ntopics = \"a\"\n";
    const TWO: &str = "[[rule]]\nallow = \"publish\"\ntopics = \"b\"\nuser = \"ann\"\n";
    let two = format!("{ONE}{TWO}");
    let ended = format!("{two}\n# end\n\n");
    // Beside nothing only the last line tells.
    assert_eq!(rules(ONE).check_whole(None), Ok(()));
    assert_eq!(rules(ONE.trim_end()).check_whole(None), Err(LastLine));
    let check = |text: &str, before: &str, expected| {
        let told = rules(text).check_whole(Some(&rules(before)));
        assert_eq!(told, expected, "{before}\n->\n{text}");
    };
    check(two.trim_end(), ONE, Err(LastLine));
    check(&two, &two, Ok(()));
    check(&two, ONE, Ok(()));
    check(ONE, &two, Err(Shortened));
    check(&two.replace("user = \"ann\"\n", ""), &two, Err(Shortened));
    check(TWO, &two, Ok(()));
    check(&format!("{ONE}# end\n"), &two, Ok(()));
    check(&format!("{ONE}# the end\n"), &format!("{ONE}# the end\n{TWO}"), Err(Shortened));
    check(&two, &format!("{two}\n# what is left\n"), Ok(()));
    // Who has ended a file has to end each after it, however much they differ.
    check(&ended, &two, Ok(()));
    check(&format!("# more\n{ended}"), &ended, Ok(()));
    check(&ended.replace('\n', "\r\n"), &ended, Ok(()));
    check(&two, &ended, Err(EndMissing));
    check(&format!("# more\n{two}"), &ended, Err(EndMissing));
    check(&format!("# end\n{two}"), &ended, Err(BehindEnd));
    check(&format!("{ONE}# end\n{TWO}# end\n"), ONE, Err(BehindEnd));
    assert_eq!(rules(&format!("{ONE}# end\n{TWO}")).check_whole(None), Err(BehindEnd));
}
