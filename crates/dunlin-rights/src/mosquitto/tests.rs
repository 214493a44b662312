//! An `acl_file` and the rules that it comes to.

use super::*;
use crate::{Identity, Rules, Subject};
use std::sync::Arc;

const ACL_FILE: &str = "\
# before the first user: those without one
topic read $SYS/#
topic news/#

user ann
topic write devices/ann/+
topic readwrite 100%/done
topic deny devices/ann/secret
topic read two words/#
topic read wrong/#/filter

user a*b
topic read left/out

pattern readwrite users/%u/#
pattern write text/x%c
pattern read all/#
";

fn imported() -> Import {
    import(ACL_FILE).unwrap()
}

fn may(user: Option<&str>, client: &str, ask: impl Fn(&Rules, &crate::Profile) -> bool) -> bool {
    let rules = Rules::parse(&imported().rules).unwrap();
    let identity = Arc::new(Identity::new(user, []).unwrap());
    let profile = rules.profile(&Subject::new(identity, client.parse().unwrap()));
    ask(&rules, &profile)
}

fn publish(user: Option<&str>, client: &str, topic_name: &str) -> bool {
    may(user, client, |rules, profile| {
        let verdict = rules.publish(profile, topic_name);
        verdict.check(dunlin_codec::QoS::ExactlyOnce, 1, true).is_ok()
    })
}

fn subscribe(user: Option<&str>, client: &str, filter: &str) -> bool {
    may(user, client, |rules, profile| rules.covers(profile, &filter.parse().unwrap()).is_allowed())
}

#[test]
fn what_was_allowed_there_is_allowed_here_and_nothing_else() {
    assert!(imported().rules.ends_with("\n\n# end\n"));
    assert!(subscribe(None, "c", "$SYS/#") && !publish(None, "c", "$SYS/x"));
    assert!(subscribe(None, "c", "news/#") && publish(None, "c", "news/x"));
    assert!(!subscribe(Some("ann"), "c", "news/#"));
    assert!(publish(Some("ann"), "c", "devices/ann/state"));
    assert!(!subscribe(Some("ann"), "c", "devices/ann/state"));
    assert!(!publish(Some("bob"), "c", "devices/ann/state"));
    assert!(publish(Some("ann"), "c", "100%/done"));
    assert!(subscribe(Some("ann"), "c", "two words/#"));
    assert!(publish(Some("bob"), "c", "users/bob/x") && subscribe(Some("bob"), "c", "users/bob/#"));
    assert!(!publish(Some("bob"), "c", "users/ann/x") && !publish(None, "c", "users//x"));
    assert!(publish(None, "c", "text/xc") && !publish(None, "d", "text/xc"));
    assert!(subscribe(Some("bob"), "c", "all/#"));
}

#[test]
fn a_denial_wins_though_it_comes_later() {
    assert!(!publish(Some("ann"), "c", "devices/ann/secret"));
    let first = imported().rules.find("deny = ").unwrap();
    assert!(imported().rules.find("allow = ").is_some_and(|allow| first < allow));
}

#[test]
fn what_has_no_equal_is_told() {
    let lines: Vec<usize> = imported().remarks.iter().map(|remark| remark.line).collect();
    assert_eq!(lines, [10, 12, 16, 17]);
    let remarks: Vec<String> = imported().remarks.iter().map(ToString::to_string).collect();
    assert!(remarks[0].contains("is left out"), "{remarks:?}");
    assert!(remarks[1].starts_with("line 12: the user \"a*b\" has a `*`"), "{remarks:?}");
    assert!(!subscribe(Some("a*b"), "c", "left/out"));
}

#[test]
fn another_file_is_not_taken_for_one() {
    assert_eq!(import("[[rule]]\n"), Err(ImportError::UnknownWord(1)));
    assert_eq!(import(""), Err(ImportError::Nothing));
    assert_eq!(import("user ann\n# topic a\n"), Err(ImportError::Nothing));
}
