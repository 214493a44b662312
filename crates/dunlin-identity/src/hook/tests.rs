//! Questions as a back end gets them, and answers as it may give them.

use super::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use serde_json::json;

fn question(question: Question<'_>) -> Value {
    serde_json::from_str(&question.to_json()).expect("JSON")
}

#[test]
fn a_question_says_all_that_is_known() {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "gauge-7");
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("ASCII"));
    parameters.subject_alt_names = vec![dns("a.example"), dns("b.example")];
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let asked = question(Question {
        listener: Some("mqtts://0.0.0.0:8883"),
        address: Some("192.0.2.1".parse().expect("an address")),
        client_identifier: "seven",
        user_name: Some("ga\"uge\n"),
        password: Some("öffne dich".as_bytes()),
        certificate: Some(certificate.der()),
    });
    let names = &asked["certificate"];
    assert_eq!(names["common_name"], "gauge-7");
    assert!(names["subject"].as_str().is_some_and(|subject| subject.contains("CN=gauge-7")));
    assert_eq!(names.get("dns"), None, "there are two");
    assert_eq!(
        asked,
        json!({
            "listener": "mqtts://0.0.0.0:8883",
            "address": "192.0.2.1",
            "client_identifier": "seven",
            "user_name": "ga\"uge\n",
            "password": "öffne dich",
            "certificate": names,
        })
    );
    let nothing = question(Question::default());
    let (text, none) = (json!(""), Value::Null);
    assert_eq!(
        nothing,
        json!({
            "listener": none,
            "address": none,
            "client_identifier": text,
            "user_name": none,
            "password": none,
            "certificate": none,
        })
    );
}

#[test]
fn a_password_that_is_no_text_is_base64() {
    let asked = question(Question { password: Some(b"\xff\x00\x01"), ..Question::default() });
    assert_eq!((&asked["password"], &asked["password_base64"]), (&Value::Null, &json!("/wAB")));
    let asked = question(Question { password: Some(b""), ..Question::default() });
    assert_eq!((&asked["password"], asked.get("password_base64")), (&json!(""), None));
}

fn allowed(json: &str) -> Vouched {
    match parse(json.as_bytes()) {
        Ok(Answer::Allow(vouched)) => vouched,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn answers_that_allow() {
    let vouched = allowed(
        r#"{"allow":true,"user":"gauge","groups":["pumps","x"],
            "rules":[{"allow":["publish"]}],"expires_in":60}"#,
    );
    assert_eq!(vouched.user.as_ref().map(UserName::as_str), Some("gauge"));
    assert_eq!(vouched.groups.iter().map(UserName::as_str).collect::<Vec<_>>(), ["pumps", "x"]);
    assert_eq!(vouched.rules, Some(json!([{"allow": ["publish"]}])));
    assert_eq!(vouched.expires_in_secs, Some(60));
    // What is in rules is for who reads rules.
    let rules = r#"[null,true,-1,18446744073709551615,1.5,"a",[],{"a":{"b":[{"a":1},{"a":2}]}}]"#;
    let read = allowed(&format!(r#"{{"allow":true,"rules":{rules}}}"#)).rules;
    assert_eq!(read, Some(serde_json::from_str(rules).expect("JSON")));
    let nothing = Vouched { user: None, groups: Vec::new(), rules: None, expires_in_secs: None };
    for json in [r#"{"allow":true}"#, r#" {"allow":true,"groups":[]} "#] {
        assert_eq!(allowed(json), nothing, "{json}");
    }
}

#[test]
fn answers_that_deny() {
    for json in [r#"{"allow":false}"#, r#"{"allow":false,"user":5,"why":"nobody knows it"}"#] {
        assert_eq!(parse(json.as_bytes()), Ok(Answer::Deny), "{json}");
    }
}

#[test]
fn answers_that_are_none() {
    use InvalidAnswer as Wrong;
    for (json, expected) in [
        ("", Wrong::NotAnObject),
        ("true", Wrong::NotAnObject),
        ("[true]", Wrong::NotAnObject),
        ("<html>", Wrong::NotAnObject),
        (r#"{"allow":true"#, Wrong::NotAnObject),
        (r#"{"allow":true} x"#, Wrong::NotAnObject),
        (r#"{"allow":false,"allow":true}"#, Wrong::NotAnObject),
        (r#"{"allow":true,"rules":[{"allow":[],"allow":["publish"]}]}"#, Wrong::NotAnObject),
        (r#"{"allow":false,"why":{"a":[{"b":{"c":1,"\u0063":1}}]}}"#, Wrong::NotAnObject),
        ("{}", Wrong::Missing),
        (r#"{"allow":true,"user":null}"#, Wrong::WrongType("user")),
        (r#"{"allow":true,"groups":null}"#, Wrong::WrongType("groups")),
        (r#"{"allow":true,"rules":null}"#, Wrong::WrongType("rules")),
        (r#"{"allow":true,"expires_in":null}"#, Wrong::WrongType("expires_in")),
        (r#"{"user":"gauge"}"#, Wrong::Missing),
        (r#"{"allow":"true"}"#, Wrong::WrongType("allow")),
        (r#"{"allow":1}"#, Wrong::WrongType("allow")),
        (r#"{"allow":null}"#, Wrong::WrongType("allow")),
        (r#"{"allow":true,"user":5}"#, Wrong::WrongType("user")),
        (r#"{"allow":true,"groups":"pumps"}"#, Wrong::WrongType("groups")),
        (r#"{"allow":true,"groups":[1]}"#, Wrong::WrongType("groups")),
        (r#"{"allow":true,"expires_in":"60"}"#, Wrong::WrongType("expires_in")),
        (r#"{"allow":true,"expires_in":0}"#, Wrong::WrongType("expires_in")),
        (r#"{"allow":true,"expires_in":-1}"#, Wrong::WrongType("expires_in")),
        (r#"{"allow":true,"expires_in":1.5}"#, Wrong::WrongType("expires_in")),
        (r#"{"allow":true,"expire_in":60}"#, Wrong::Unknown("expire_in".to_owned())),
        (r#"{"allow":true,"user":""}"#, Wrong::Name(InvalidUserName::Empty)),
        (r#"{"allow":true,"user":"a\nb"}"#, Wrong::Name(InvalidUserName::ControlCharacter)),
        (r#"{"allow":true,"groups":["a\u0000"]}"#, Wrong::Name(InvalidUserName::ControlCharacter)),
    ] {
        assert_eq!(parse(json.as_bytes()), Err(expected), "{json}");
    }
    let many = format!(r#"{{"allow":true,"groups":{:?}}}"#, ["g"; GROUPS_MAX + 1]);
    assert_eq!(parse(many.as_bytes()), Err(InvalidAnswer::TooManyGroups));
    let long = format!(r#"{{"allow":true}}{}"#, " ".repeat(ANSWER_LEN_MAX));
    assert_eq!(parse(long.as_bytes()), Err(InvalidAnswer::TooLong));
    let deep = format!(r#"{{"allow":{}"#, "[".repeat(10_000));
    assert_eq!(parse(deep.as_bytes()), Err(InvalidAnswer::NotAnObject));
}
